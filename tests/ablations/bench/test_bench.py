"""Benchmarks: the order of calls, the comparison and the output. Times are not checked."""

from __future__ import annotations

import pytest

from ablations.bench import table, timing
from ablations.cli.main import main
from ablations.store import load
from tests.factories.configs import TINY_FLAGS


def test_calls_take_turns_and_the_warm_up_round_does_not_count():
    calls, lines = [], []
    names = ("new", "old", "slow")
    seconds = timing.time_in_turns(
        {name: lambda name=name: calls.append(name) for name in names},
        rounds=2,
        report=lines.append,
        at_most={"slow": 1},
    )
    assert calls == ["slow", "old", "new", "new", "old", "slow", "old", "new"]
    assert {name: len(each) for name, each in seconds.items()} == {"new": 2, "old": 2, "slow": 1}
    assert [line.split(":")[0] for line in lines] == ["round 1/2", "round 2/2"]


def test_the_ratio_is_the_median_over_the_rounds():
    result = timing.compare("title", {"new": [2.0, 3.0, 9.0], "old": [1.0, 3.0, 3.0]}, {"old": 2.5})
    assert result.passed
    assert result.lines == [
        "title",
        "  new          median 3.00 s (2.00 to 9.00, n=3)",
        "  old          median 3.00 s (1.00 to 3.00, n=3)",
        "  new / old: median 2.000 (1.000 to 3.000), within the limit of 2.5",
    ]
    result = timing.compare("title", {"new": [2.0], "old": [1.0]}, {"old": 1.02})
    assert not result.passed
    assert "ABOVE the limit of 1.02" in result.lines[-1]


def test_a_process_that_fails_raises_with_its_stderr():
    with pytest.raises(RuntimeError, match="exit code 1: torch was imported"):
        timing.run_python("-c", "import sys; sys.exit('torch was imported')")


def test_the_cost_of_the_tracker_is_measured_on_real_runs(capsys):
    code = main(["bench", "tracker", "--rounds", "1", *TINY_FLAGS, "--optim.epochs=1"])
    printed = capsys.readouterr()
    title, mirrored, alone, ratio = printed.out.splitlines()
    assert title.startswith("tracker: recipe mini, W&B offline, ")
    assert mirrored.split()[:2] == ["wandb", "median"]
    assert alone.split()[:2] == ["none", "median"]
    assert code == ("ABOVE" in ratio)
    assert printed.err.startswith("round 1/1: ")


@pytest.mark.parametrize(
    ("words", "value"), [(["trakcer"], "'tracker'"), (["--rounds", "0"], "--rounds: '0'")]
)
def test_invalid_arguments_are_refused(words, value, capsys):
    assert main(["bench", *words]) == 2
    assert value in capsys.readouterr().err


def test_tables_are_timed_on_records_that_a_table_accepts(monkeypatch, tmp_path, capsys):
    table.write_records(tmp_path / "made", 40, "mini")
    found = load.load_records([tmp_path / "made"])
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
