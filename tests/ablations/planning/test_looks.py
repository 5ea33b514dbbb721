"""The hours of a plan with looks and without."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ablations.analysis.stats.looks import LookPlan, split_error
from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.planning.looks import expected_hours
from tests.factories.configs import TINY_FLAGS
from tests.factories.processes import write_grid
from tests.factories.records import record

LOOKS = LookPlan((3, 4), split_error((3, 4)))
MIXERS = ["pool", "identity"]


def test_rows_that_records_decide_get_no_more_seeds_and_others_all():
    runs = {
        mixer: [resolve("mini", {"seed": s, "model.token_mixers": mixer}) for s in range(4)]
        for mixer in MIXERS
    }
    every = [run for own in runs.values() for run in own]
    # An hour a run, all to train.
    variants = [SimpleNamespace(todo=own, seconds=3600.0, devices=1) for own in runs.values()]
    found = expected_hours(every, variants, [], LOOKS)
    assert (found["device_hours_without"], found["device_hours"]) == (8, 8)
    assert found["device_hours_first_look"] == 6
    noise = [0.2, -0.1, 0.1]
    records = [record(s, 70.0 + s) for s in range(3)]
    records += [record(s, 40 + s + noise[s], model__token_mixers="identity") for s in range(3)]
    for variant in variants:
        variant.todo = variant.todo[3:]
    found = expected_hours(every, variants, records, LOOKS)
    assert (found["device_hours_without"], found["device_hours"]) == (2, 0)
    assert found["decided"] == ["Pooling -> Identity mapping"]


def test_the_plan_prints_the_hours_with_and_without_looks(tmp_path, capsys):
    sweep = write_grid(tmp_path / "mixer.yaml", token_mixers=MIXERS, seed=[0])
    words = ["plan", str(sweep), *TINY_FLAGS, "--results", str(tmp_path / "runs"), "--probes", "1"]
    assert main([*words, "--until-decided", "--looks", "2,3"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Looks at 2, 3 seeds: " in out
    assert "No record decides a row, so all 1 row are assumed" not in out
    assert "without looks" in out
    assert main([*words, "--looks", "2,3"]) == 2


def test_a_margin_of_zero_is_refused(tmp_path, capsys):
    sweep = write_grid(tmp_path / "mixer.yaml", token_mixers=MIXERS, seed=[0])
    assert main(["plan", str(sweep), "--until-decided", "--margin", "0"]) == 2
    assert "--margin 0 must be above 0" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("ABLATIONS_RESULTS", raising=False)
