"""Seeds are added look by look: by one runner or several, resumed, and past failed runs."""

from __future__ import annotations

import json

import pytest

from ablations.analysis.stats.looks import LookPlan, split_error
from ablations.analysis.study_plan import STUDY_FILE, plan_study, read_study_plan
from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.config.sweep import SweepRun
from ablations.scheduling.scheduler import Outcome
from ablations.scheduling.until_decided import run_until_decided
from ablations.store import records
from tests.factories.configs import TINY_FLAGS
from tests.factories.processes import write_grid
from tests.factories.records import record

LOOKS = LookPlan((2, 3, 5), split_error((2, 3, 5)), 0.5)
EFFECTS = {"pool": 0.0, "identity": -20.0, "random": 0.5, "attention": 0.5, "depthwise": 8.0}
NOISE = [0.25, -0.15, 0.2, -0.3, 0.1]


def top1(mixer, seed):
    return 80 + seed + EFFECTS[mixer] + NOISE[(seed * len(mixer) + len(mixer)) % 5]


def runs():
    return [
        SweepRun(resolve("mini", {"seed": seed, "model.token_mixers": mixer}), ("made-up",))
        for seed in range(5)
        for mixer in EFFECTS
    ]


class Lab:
    """Trains nothing: gives each run its made-up record, or what ``special`` makes of it."""

    def __init__(self, special=lambda mixer, seed: None):
        self.special, self.trained = special, []

    def __call__(self, wanted):
        outcome = Outcome()
        for run in wanted:
            mixer, seed = run.config.model.token_mixers, run.config.seed
            self.trained.append((mixer, seed))
            match self.special(mixer, seed):
                case None:
                    made = record(seed, top1(mixer, seed), model__token_mixers=mixer)
                    outcome.records.append(made)
                case "refused":
                    outcome.refused[run.config.run_id] = "a reason"
                case status:
                    made = record(seed, None, status=status, model__token_mixers=mixer)
                    outcome.records.append(made)
        return outcome


@pytest.fixture(scope="module")
def plan():
    return plan_study([run.config for run in runs()], LOOKS)


def test_decided_rows_get_no_more_seeds_and_the_baseline_does(plan):
    lab, looks = Lab(), []
    outcome, progress = run_until_decided(plan, runs(), lab, looks.append)
    assert progress.look is None
    seeds = {mixer: sorted(s for m, s in lab.trained if m == mixer) for mixer in EFFECTS}
    assert seeds["identity"] == seeds["depthwise"] == [0, 1]
    assert len(seeds["pool"]) == max(map(len, seeds.values())) > 2
    assert len(lab.trained) == len(set(lab.trained)) == len(outcome.records)
    assert progress == plan.progress(outcome.records) == looks[-1]


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_failed_and_diverged_runs_do_not_stop_a_look(plan, status):
    lab = Lab(lambda mixer, seed: status if (mixer, seed) == ("random", 1) else None)
    outcome, progress = run_until_decided(plan, runs(), lab)
    assert progress.look is None
    assert ("random", 2) in lab.trained
    assert lab.trained.count(("random", 1)) == 1
    assert outcome.complete == (status == "diverged")


def test_a_look_without_a_record_is_not_taken_and_says_what_it_misses(plan):
    lab, looks = Lab(lambda mixer, seed: "refused" if seed == 2 else None), []
    outcome, progress = run_until_decided(plan, runs(), lab, looks.append)
    assert (progress.look, len(looks)) == (1, 1)
    assert not outcome.complete
    assert all(seeds == [2] for seeds in progress.missing.values())
    # The next command goes on from there.
    again = Lab()
    _, finished = run_until_decided(plan, runs(), again)
    assert finished.look is None


def test_an_interrupted_look_ends_the_study(plan):
    def stop(wanted):
        return Outcome(interrupted=130)

    outcome, progress = run_until_decided(plan, runs(), stop)
    assert (outcome.interrupted, progress.look) == (130, 0)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    return write_grid(folder / "mixer.yaml", token_mixers=["pool", "identity"], seed=[0])


def command(sweep, results, *flags):
    words = ["run", str(sweep), *TINY_FLAGS, "--optim.epochs=1", "--results", str(results)]
    return [*words, "--until-decided", *flags]


def test_two_runners_train_one_planned_study(sweep, tmp_path, capsys, start):
    words = command(sweep, tmp_path, "--looks", "2,3", "--workers", "1")
    ended = [runner.finish() for runner in [start("ablations", *words) for _ in range(2)]]
    assert [each.returncode for each in ended] == [0, 0], ended
    found, _ = records.read_records([tmp_path])
    plan = read_study_plan(tmp_path)
    progress = plan.progress(found)
    assert progress.look is None
    assert len(found) == 2 * max(each.seeds for each in progress.decisions.values())
    for each in ended:
        assert "look at 2 seeds: " in each.stderr
    # The same command again trains nothing and looks again at the same records.
    assert main([*words, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["event"] == "look"
    assert events[-1] | {"trained": 0, "reused": len(found), "cells": len(found)} == events[-1]
    before = (tmp_path / STUDY_FILE).read_bytes()
    assert main(command(sweep, tmp_path, "--looks", "2,4")) == 2
    assert "study.json is of another plan (looks 2,3, not 2,4" in capsys.readouterr().err
    assert (tmp_path / STUDY_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--looks", "1,3"], "--looks 1,3 must be numbers of seeds from 2 on that rise"),
        (["--looks", "5,3"], "--looks 5,3 must be numbers of seeds from 2 on that rise"),
        (["--looks", "3,x"], "--looks '3,x': 'x' is not a whole number, such as 3,5,7,10"),
        (["--margin", "0"], "--margin 0 must be above 0"),
        (["--margin", "nan"], "--margin nan must be above 0"),
        (["--margin", "half"], "--margin 'half': 'half' is not a number"),
        (["--seeds", "0-4"], "the last of the looks needs 10 seeds, and --seeds has 5"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_written(sweep, tmp_path, capsys, flags, message):
    assert main(command(sweep, tmp_path / "new", *flags)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_looks_need_until_decided(sweep, tmp_path, capsys):
    words = ["run", str(sweep), "--results", str(tmp_path), "--looks", "3,5"]
    assert main(words) == 2
    assert "--looks is for --until-decided" in capsys.readouterr().err


def test_a_dry_run_lists_what_the_last_look_may_need_and_writes_nothing(sweep, tmp_path, capsys):
    assert main(command(sweep, tmp_path / "new", "--looks", "2,4", "--dry-run")) == 0
    assert "8 runs, 0 done, 8 to do" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
