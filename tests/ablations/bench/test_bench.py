"""Benchmarks: what is compared, in which order, and what is printed. Not how fast anything is."""

from __future__ import annotations

import pytest

from ablations.bench import table, timing
from ablations.cli.main import main
from ablations.store import load
from tests.factories.configs import TINY_FLAGS


def test_subject_and_peer_take_turns_and_the_first_round_does_not_count():
    calls, lines = [], []
    found = timing.compare(
        ("new", lambda: calls.append("new")),
        ("old", lambda: calls.append("old")),
        rounds=2,
        limit=1.5,
        told=lines.append,
    )
    assert calls == ["old", "new", "new", "old", "old", "new"]
    assert [len(seconds) for seconds in found.seconds] == [2, 2]
    assert [line.split(":")[0] for line in lines] == ["round 1/2", "round 2/2"]


def test_the_ratio_is_the_median_over_the_rounds():
    found = timing.Comparison(("new", "old"), ([2.0, 3.0, 9.0], [1.0, 3.0, 3.0]), 2.5)
    assert found.ratios == [2.0, 1.0, 3.0]
    assert found.ratio == 2.0
    finding = timing.summary("what", found)
    assert finding.kept
    assert finding.lines == [
        "what",
        "  new          median 3.00 s (2.00 to 9.00, n=3)",
        "  old          median 3.00 s (1.00 to 3.00, n=3)",
        "  new / old: median 2.000 (1.000 to 3.000), within the limit of 2.5",
    ]
    above = timing.Comparison(("new", "old"), ([2.0], [1.0]), 1.02)
    finding = timing.summary("what", above)
    assert not finding.kept
    assert "ABOVE the limit of 1.02" in finding.lines[-1]


def test_the_trackers_cost_is_measured_on_runs_that_happen(capsys):
    code = main(["bench", "tracker", "--rounds", "1", *TINY_FLAGS, "--optim.epochs=1"])
    printed = capsys.readouterr()
    title, mirrored, alone, ratio = printed.out.splitlines()
    assert title.startswith("tracker: recipe mini, W&B offline, ")
    assert mirrored.split()[:2] == ["wandb", "median"]
    assert alone.split()[:2] == ["none", "median"]
    assert code == ("ABOVE" in ratio)
    assert printed.err.startswith("round 1/1: ")


@pytest.mark.parametrize(
    ("words", "told"),
    [(["trakcer"], "did you mean 'tracker'"), (["--rounds", "0"], "--rounds 0 must be 1 or more")],
)
def test_wrong_words(words, told, capsys):
    assert main(["bench", *words]) == 2
    assert told in capsys.readouterr().err


def test_the_tables_bench_reads_records_that_a_table_takes(monkeypatch, tmp_path, capsys):
    table.write(tmp_path / "made", 40, "mini")
    found = load.read([tmp_path / "made"])
    assert (len(found.records), found.problems) == (40, [])
    assert len({record.variant for record in found.records}) == 8
    monkeypatch.setattr(table, "COUNTS", [20, 40])
    monkeypatch.setattr(table, "SMALL", 5)
    code = main(["bench", "table", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("table: recipe mini")
    assert "of 5 records" in lines[1]
    assert "20 records from disk to Markdown: median" in lines[2]
    assert "40 records" in lines[3]
    assert code == any("ABOVE" in line for line in lines)
