"""Benchmarks: what is compared, in which order, and what is printed. Not how fast anything is."""

from __future__ import annotations

import pytest

from ablations import bench
from ablations.__main__ import main
from tests.conftest import TINY_FLAGS


def test_subject_and_peer_take_turns_and_the_first_round_does_not_count():
    calls, lines = [], []
    found = bench.compare(
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
    found = bench.Comparison(("new", "old"), ([2.0, 3.0, 9.0], [1.0, 3.0, 3.0]), 2.5)
    assert found.ratios == [2.0, 1.0, 3.0]
    assert found.ratio == 2.0
    text = bench.summary("what", found)
    assert text.splitlines() == [
        "what",
        "  new      median 3.00 s (2.00 to 9.00, n=3)",
        "  old      median 3.00 s (1.00 to 3.00, n=3)",
        "  new / old: median 2.000 (1.000 to 3.000), within the limit of 2.5",
    ]
    above = bench.Comparison(("new", "old"), ([2.0], [1.0]), 1.02)
    assert "ABOVE the limit of 1.02" in bench.summary("what", above)


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
