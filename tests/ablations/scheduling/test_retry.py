"""Which runs are retried and where, which devices are quarantined, and what the records say."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from ablations.scheduling.events import NotStarted, Refused, WorkerDied
from ablations.scheduling.quarantine import QUARANTINE_AFTER, Quarantine
from ablations.scheduling.runner import run_study
from ablations.scheduling.scheduler import MAX_LOSSES
from ablations.store import leases
from ablations.store.records import Record
from tests.factories.launchers import ScriptedLauncher


@pytest.fixture
def run_scripted(tiny, tmp_path):
    """``run_scripted(count, locations, script)``: its outcome and submitted runs."""

    def run(
        count: int,
        locations: list[str],
        script,
        later: Sequence[str] = (),
        max_runs: int = 100,
        **options,
    ):
        runs = [tiny(seed=seed) for seed in range(count)]
        launcher = ScriptedLauncher(tmp_path, locations, script, later, max_runs)
        outcome = run_study(runs, tmp_path, launcher, **options)
        return outcome, launcher.submitted

    return run


def test_a_killed_run_is_tried_three_times_and_the_others_go_on(run_scripted):
    outcome, submitted = run_scripted(
        3, ["cpu"], lambda seed, *_: WorkerDied if seed == 1 else "done"
    )
    assert [seed for seed, *_ in submitted].count(1) == MAX_LOSSES
    (failed,) = outcome.failed
    assert failed.failure["kind"] == "killed"
    assert failed.failure["message"] == "a reason, 3 times in a row"
    assert (outcome.trained, outcome.complete) == (2, False)


def test_an_epoch_resets_the_count_of_lost_processes(run_scripted):
    """On spot instances for days, a run that makes progress is not given up."""

    def script(seed, location, tries):
        return "epoch then death" if tries < 5 else "done"

    outcome, submitted = run_scripted(1, ["cpu"], script)
    assert (len(submitted), outcome.trained) == (6, 1)


def test_an_attempt_that_no_process_began_does_not_count(run_scripted):
    """Nor does it reset the count of those that do."""
    outcome, submitted = run_scripted(
        1, ["cpu"], lambda _, __, tries: NotStarted if tries < 5 else "done"
    )
    assert (len(submitted), outcome.trained) == (6, 1)
    alternating = [NotStarted, WorkerDied]
    outcome, submitted = run_scripted(
        1, ["cpu"], lambda _, __, tries: alternating[tries % 2], reuse=False
    )
    assert (len(submitted), outcome.failed[0].failure["kind"]) == (2 * MAX_LOSSES, "killed")


def test_a_run_out_of_memory_is_retried_once_alone_on_its_device(run_scripted):
    """Two slots share the GPU; the third run fails beside another and succeeds alone."""
    outcome, submitted = run_scripted(
        5, ["gpu 0", "gpu 0"], lambda seed, _, tries: "oom" if (seed, tries) == (2, 0) else "done"
    )
    assert not outcome.failed
    assert [(seed, alone) for seed, _, alone in submitted].count((2, True)) == 1
    assert sum(alone for *_, alone in submitted) == 1


def test_one_device_is_reserved_for_a_run_that_needs_it_alone(run_scripted):
    """Three devices with two slots each; run 1 needs a device alone, run 0 never ends."""

    def script(seed, location, tries):
        if seed == 1 and tries == 0:
            return "oom"
        return None if seed == 0 else "done"  # it occupies gpu 0

    outcome, submitted = run_scripted(
        9, [f"gpu {n}" for n in (0, 1, 2, 0, 1, 2)], script, run_timeout=1.0
    )
    (alone,) = [(seed, location) for seed, location, alone in submitted if alone]
    assert alone[0] == 1
    assert alone[1] != "gpu 0"
    assert outcome.trained == 8
    assert [record.failure["kind"] for record in outcome.failed] == ["timeout"]


def test_a_record_of_another_runner_is_taken_over(run_scripted, tmp_path, tiny):
    """It took over the lease of a killed process before this runner noticed the death."""

    def script(seed, location, tries):
        if tries == MAX_LOSSES - 1:
            Record(tiny(seed=seed).run_id, "finished", tiny(seed=seed).to_json()).write(tmp_path)
        return WorkerDied

    outcome, submitted = run_scripted(1, ["cpu"], script)
    assert len(submitted) == MAX_LOSSES
    assert (outcome.failed, outcome.elsewhere, outcome.complete) == ([], 1, True)


def test_a_run_that_another_runner_trains_is_left_to_it(run_scripted, tmp_path, tiny):
    def script(seed, location, tries):
        if tries == MAX_LOSSES - 1:
            run = tiny(seed=seed)
            lease = leases.acquire_lease(tmp_path, run.run_id)

            def finish() -> None:
                Record(run.run_id, "finished", run.to_json()).write(tmp_path)
                lease.release()

            threading.Timer(0.5, finish).start()
        return WorkerDied

    outcome, submitted = run_scripted(1, ["cpu"], script)
    assert len(submitted) == MAX_LOSSES
    assert (outcome.failed, outcome.elsewhere, outcome.complete) == ([], 1, True)


def test_a_run_out_of_memory_twice_fails(run_scripted):
    outcome, submitted = run_scripted(
        2, ["gpu 0", "gpu 0"], lambda seed, *_: "oom" if seed == 0 else "done"
    )
    assert [record.failure["kind"] for record in outcome.failed] == ["oom"]
    assert [alone for seed, _, alone in submitted if seed == 0] == [False, True]


@pytest.mark.parametrize("kind", ["data", "error"])
def test_errors_are_retried_only_with_retry_failed(run_scripted, kind):
    outcome, submitted = run_scripted(2, ["cpu"], lambda seed, *_: kind if seed == 0 else "done")
    assert len(submitted) == 2
    assert [record.failure["kind"] for record in outcome.failed] == [kind]
    outcome, submitted = run_scripted(2, ["cpu"], lambda *_: "done")
    assert (submitted, len(outcome.failed), outcome.reused) == ([], 1, 1)
    outcome, submitted = run_scripted(2, ["cpu"], lambda *_: "done", retry_failed=True)
    assert (len(submitted), outcome.complete) == (1, True)


def test_a_killed_run_is_tried_again_by_the_next_runner(run_scripted):
    run_scripted(1, ["cpu"], lambda *_: WorkerDied)
    outcome, submitted = run_scripted(1, ["cpu"], lambda *_: "done")
    assert (len(submitted), outcome.complete) == (1, True)


def test_a_run_that_takes_too_long_is_cancelled(run_scripted):
    outcome, submitted = run_scripted(
        2, ["cpu"], lambda seed, *_: None if seed == 0 else "done", run_timeout=0.01
    )
    (failed,) = outcome.failed
    assert failed.failure == {
        "kind": "timeout",
        "message": "longer than --cell-timeout, 0.01 seconds",
    }
    assert len(submitted) == 2


def test_a_refused_run_has_no_record_and_the_others_go_on(run_scripted, tmp_path):
    outcome, submitted = run_scripted(3, ["cpu"], lambda seed, *_: Refused if seed == 1 else "done")
    assert list(outcome.refused.values()) == ["a reason"]
    assert len(list(tmp_path.glob("*/record.json"))) == 2
    outcome, submitted = run_scripted(3, ["cpu"], lambda *_: "done")
    assert (len(submitted), outcome.complete) == (1, True)


def test_a_device_is_quarantined_after_consecutive_failures(run_scripted):
    """Its runs succeed elsewhere."""
    outcome, submitted = run_scripted(
        9, ["gpu 0", "gpu 1"], lambda _, location, __: "error" if location == "gpu 1" else "done"
    )
    assert outcome.complete
    assert list(outcome.quarantined) == ["gpu 1"]
    assert sum(location == "gpu 1" for _, location, _ in submitted) == QUARANTINE_AFTER
    assert outcome.trained == 9


def test_all_runs_of_a_quarantined_node_are_tried_elsewhere(run_scripted):
    """Eight train there at once; three failures are enough to quarantine it."""

    def script(_, location, __):
        return "error" if location == "node a" else "done"

    outcome, submitted = run_scripted(12, ["node a"] * 8 + ["node b"], script)
    assert (outcome.trained, outcome.complete) == (12, True)
    assert sum(location == "node a" for _, location, _ in submitted) >= 8
    assert len(outcome.quarantined["node a"]) >= 8


def test_a_bad_location_is_quarantined_however_few_runs_train_at_once(run_scripted):
    def script(_, location, __):
        return "error" if location == "node a" else "done"

    outcome, _ = run_scripted(6, ["node a", "node b"], script, max_runs=1)
    assert outcome.complete
    assert list(outcome.quarantined) == ["node a"]


def test_bad_runs_count_against_no_device(run_scripted):
    """Three seeds of a variant that cannot be trained: no GPU is lost to them."""
    outcome, submitted = run_scripted(
        12, ["gpu 0", "gpu 1"], lambda seed, *_: "error" if seed % 4 == 1 else "done"
    )
    assert len(outcome.failed) == 3
    assert not outcome.quarantined
    assert outcome.trained == 9
    assert {location for _, location, _ in submitted[-2:]} == {"gpu 0", "gpu 1"}


def test_a_quarantine_ends_when_its_runs_fail_elsewhere_too():
    quarantine = Quarantine()
    assert [quarantine.failed("a", run, others=True) for run in "123"] == [
        [],
        [],
        ["1", "2", "3"],
    ]
    assert list(quarantine.quarantined) == ["a"]
    assert quarantine.failed("b", "1", others=True) == []
    assert not quarantine.quarantined
    assert quarantine.failed("a", "4", others=True) == ["2", "3", "4"]
    quarantine.succeeded("b")
    assert [quarantine.failed("b", run, others=False) for run in "56789"] == [[]] * 5


def test_the_runner_waits_for_slots_only_if_they_may_appear(run_scripted):
    outcome, submitted = run_scripted(2, [], lambda *_: "done", later=["node b"])
    assert ([location for _, location, _ in submitted], outcome.complete) == (["node b"] * 2, True)
    outcome, submitted = run_scripted(4, [], lambda *_: "done")
    assert (submitted, outcome.left, outcome.complete) == ([], 2, False)


def test_the_last_device_is_never_quarantined(run_scripted):
    outcome, submitted = run_scripted(5, ["cpu"], lambda *_: "error")
    assert (len(submitted), len(outcome.failed), outcome.quarantined) == (5, 5, {})


def test_a_failing_machine_leaves_its_runs_to_other_runners(run_scripted, tmp_path):
    with leases.hold_lease(tmp_path, "a run of another runner"):
        outcome, submitted = run_scripted(8, ["cpu"], lambda *_: "error")
    assert len(submitted) == QUARANTINE_AFTER
    assert list(outcome.quarantined) == ["cpu"]
    assert (outcome.left, outcome.complete) == (8 - QUARANTINE_AFTER, False)
