"""study.json: written once, never changed, and read back as it was written."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import replace

import pytest

from ablations.analysis.stats.looks import Conclusion, LookPlan, split_error
from ablations.analysis.study_plan import (
    STUDY_FILE,
    check_study_plan,
    plan_study,
    read_study_plan,
    write_study_plan,
)
from ablations.config.resolve import resolve
from ablations.errors import ConfigError
from tests.factories.records import record

LOOKS = LookPlan((2, 3), split_error((2, 3)), 0.5)
MIXERS = ["pool", "identity", "random"]


def runs(seeds=3, **overrides):
    return [
        resolve("mini", {"seed": seed, "model.token_mixers": mixer, **overrides})
        for seed in range(seeds)
        for mixer in MIXERS
    ]


def test_a_plan_has_the_rows_of_the_table_and_its_baseline():
    plan = plan_study(runs(), LOOKS)
    assert plan.baseline == "Baseline"
    assert list(plan.rows) == [
        "Baseline",
        "Pooling -> Identity mapping",
        "Pooling -> Global random matrix",
    ]
    assert plan.rows["Baseline"] == [resolve("mini", {"seed": s}).run_id for s in range(3)]


def test_a_plan_is_read_as_it_was_written(tmp_path):
    plan = plan_study(runs(), LOOKS)
    assert read_study_plan(tmp_path) is None
    assert write_study_plan(tmp_path, plan) == plan
    before = (tmp_path / STUDY_FILE).read_bytes()
    assert check_study_plan(tmp_path, plan) == read_study_plan(tmp_path) == plan
    write_study_plan(tmp_path, replace(plan, results_before=4))
    assert (tmp_path / STUDY_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [STUDY_FILE]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (plan_study(runs(), LookPlan((2, 3), (0.025, 0.02), 0.5)), "errors 0.01538,0.03462, not"),
        (plan_study(runs(), LookPlan((2, 3), split_error((2, 3)))), "margin 0.5, not none"),
        (plan_study(runs(), LookPlan((3,), split_error((3,)), 0.5)), "looks 2,3, not 3"),
        (plan_study([r for r in runs() if r.model.token_mixers != "random"], LOOKS), "rows 3"),
        (plan_study(runs(**{"optim.epochs": 4}), LOOKS), "other rows or seeds"),
    ],
    ids=["errors", "margin", "looks", "rows", "runs"],
)
def test_another_plan_is_refused_and_the_file_kept(tmp_path, other, message):
    write_study_plan(tmp_path, plan_study(runs(), LOOKS))
    before = (tmp_path / STUDY_FILE).read_bytes()
    with pytest.raises(ConfigError, match=f"study.json is of another plan .*{message}"):
        write_study_plan(tmp_path, other)
    assert (tmp_path / STUDY_FILE).read_bytes() == before


def test_of_several_runners_that_write_at_once_the_first_wins(tmp_path):
    plans = [plan_study(runs(), replace(LOOKS, margin=0.1 * n)) for n in range(1, 7)]
    won = []

    def write(plan):
        with contextlib.suppress(ConfigError):
            won.append(write_study_plan(tmp_path, plan))

    threads = [threading.Thread(target=write, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [read_study_plan(tmp_path)]


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"looks": [{"seeds": 1, "error": 0.05}]},
        {"looks": [{"seeds": 3, "error": 0.5}]},
        {"margin": 0},
        {"margin": "half"},
        {"seeds": [0, 1]},
        {"seeds": [0, 1, 1]},
        {"baseline": "Nothing"},
        {"rows": {"Baseline": []}},
        {"test": "guess"},
    ],
    ids=str,
)
def test_a_file_that_is_no_plan_is_refused_in_one_line(tmp_path, change):
    write_study_plan(tmp_path, plan_study(runs(), LOOKS))
    path = tmp_path / STUDY_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ConfigError, match=r"study.json is not the plan of a study \(.*restore it"):
        read_study_plan(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}'])
def test_a_truncated_plan_is_refused(tmp_path, text):
    (tmp_path / STUDY_FILE).write_text(text)
    with pytest.raises(ConfigError, match="not the plan of a study"):
        read_study_plan(tmp_path)


def test_runs_that_are_no_study_are_refused():
    with pytest.raises(ConfigError, match="form several"):
        plan_study([*runs(), *runs(**{"optim.epochs": 4})], LOOKS)
    with pytest.raises(ConfigError, match="compares rows with a baseline"):
        plan_study([run for run in runs() if run.model.token_mixers == "pool"], LOOKS)
    with pytest.raises(ConfigError, match="needs 3 seeds, and --seeds has 2"):
        plan_study(runs(seeds=2), LOOKS)


def test_progress_follows_from_records_and_failed_ones_stop_nothing():
    plan = plan_study(runs(), LOOKS)
    found = [record(seed, 80 + seed) for seed in range(3)]
    found += [record(s, 60 + s + 0.01 * s, model__token_mixers="identity") for s in range(2)]
    found += [record(0, 79.0, model__token_mixers="random")]
    waiting = plan.progress(found)
    assert (waiting.look, waiting.missing) == (0, {"Pooling -> Global random matrix": [1]})
    failed = record(1, None, status="failed", model__token_mixers="random")
    taken = plan.progress([*found, failed, record(9, 1.0)])
    assert taken.look == 1
    assert taken.decisions["Pooling -> Global random matrix"].verdict is Conclusion.OPEN
    assert taken.missing == {"Pooling -> Global random matrix": [2]}
    assert plan.run_ids(taken.missing) == {plan.rows["Pooling -> Global random matrix"][2]}
