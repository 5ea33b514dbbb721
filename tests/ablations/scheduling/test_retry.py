"""Which cells are tried again and where, and what their records say: rules, then real workers."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from ablations import data
from ablations.cli.main import main
from ablations.config.schema import RunConfig
from ablations.scheduling.events import (
    EpochDone,
    Event,
    NotStarted,
    Recorded,
    Refused,
    RunEnd,
    Started,
    WorkerDied,
)
from ablations.scheduling.local import LocalLauncher
from ablations.scheduling.retry import MAX_LOSSES, QUARANTINE_AFTER, Attempts, Quarantine
from ablations.scheduling.runner import run_study
from ablations.scheduling.scheduler import Scheduler
from ablations.store import failures, leases, records
from ablations.store.records import Record
from tests.factories.configs import TINY_FLAGS


class ScriptedLauncher:
    """A launcher that plays a script: seed, location and number of tries -> what happens.

    Args:
        results: The folder of all runs.
        locations: The location of each slot.
        fate: What happens to a run: None (it never ends), "epoch then death", "done", the kind of a
            failed record ("oom", "data", "error"), or a class of event.
        later: Locations that appear one by one.
        max_runs: How many runs at once.
    """

    on_this_machine = True

    def __init__(
        self, results: Path, locations: list[str], fate, later: Sequence[str], max_runs: int
    ) -> None:
        self.results, self.fate, self.later, self.max_runs = results, fate, list(later), max_runs
        self.all_slots = [ScriptedSlot(location) for location in locations]
        self.submitted: list[tuple[int, str, bool]] = []  # seed, location, alone
        self.happened: deque[Event] = deque()

    @property
    def may_grow(self) -> bool:
        if grows := bool(self.later):
            self.all_slots.append(ScriptedSlot(self.later.pop()))
        return grows

    def check(self, runs) -> None:
        pass

    def start(self, runs, results, reuse) -> None:
        pass

    def stop(self) -> None:
        pass

    def slots(self):
        return self.all_slots

    def cancel(self, run_id: str) -> None:
        self.happened.append(WorkerDied(run_id, "its worker ended with exit code 143"))

    def submit(self, slot, run, alone=False) -> None:
        assert not (alone and any(s.run for s in self.all_slots if s.location == slot.location))
        slot.run = run
        tries = sum(seed == run.seed for seed, _, _ in self.submitted)
        self.submitted.append((run.seed, slot.location, alone))
        self.happened.append(Started(run.run_id))
        match self.fate(run.seed, slot.location, tries):
            case None:
                pass
            case "done":
                images = {"fingerprint": data.load_dataset(run.data).fingerprint}
                self._record(Record(run.run_id, "finished", run.to_json(), data=images))
            case "epoch then death":
                self.happened.append(EpochDone(run.run_id, {}))
                self.happened.append(WorkerDied(run.run_id, "a reason"))
            case str(kind):
                failure = failures.describe_failure(kind, "a reason", self.results / run.run_id)
                self._record(Record(run.run_id, "failed", run.to_json(), failure=failure))
            case kind:
                self.happened.append(kind(run.run_id, "a reason"))

    def _record(self, record: Record) -> None:
        record.write(self.results)
        self.happened.append(Recorded(record.run_id, record))

    def events(self, timeout):
        while self.happened:
            event = self.happened.popleft()
            for slot in self.all_slots:
                if slot.run and slot.run.run_id == event.run_id:
                    event = dataclasses.replace(event, location=slot.location)
                    if isinstance(event, RunEnd):
                        slot.run = None
            yield event


@dataclasses.dataclass
class ScriptedSlot:
    location: str
    run: RunConfig | None = None

    @property
    def device(self) -> str:
        return self.location


@pytest.fixture
def play(tiny, tmp_path):
    """``play(count, locations, fate)``: the outcome of a study, and the runs it submitted."""

    def run(
        count: int,
        locations: list[str],
        fate,
        later: Sequence[str] = (),
        max_runs: int = 100,
        **options,
    ):
        runs = [tiny(seed=seed) for seed in range(count)]
        launcher = ScriptedLauncher(tmp_path, locations, fate, later, max_runs)
        outcome = run_study(runs, tmp_path, launcher, **options)
        return outcome, launcher.submitted

    return run


def test_a_killed_cell_is_tried_three_times_and_the_others_go_on(play):
    outcome, given = play(3, ["cpu"], lambda seed, *_: WorkerDied if seed == 1 else "done")
    assert [seed for seed, *_ in given].count(1) == MAX_LOSSES
    (failed,) = outcome.failed
    assert failed.failure["kind"] == "killed"
    assert failed.failure["message"] == "a reason, 3 times in a row"
    assert (outcome.trained, outcome.complete) == (2, False)


def test_an_epoch_between_two_losses_makes_up_for_the_first(play):
    """Days of spot instances: a cell that goes on in between is not given up."""

    def fate(seed, place, tries):
        return "epoch then death" if tries < 5 else "done"

    outcome, given = play(1, ["cpu"], fate)
    assert (len(given), outcome.trained) == (6, 1)


def test_an_attempt_that_no_process_began_does_not_count(play):
    """Nor does it reset the count of those that do."""
    outcome, given = play(1, ["cpu"], lambda _, __, tries: NotStarted if tries < 5 else "done")
    assert (len(given), outcome.trained) == (6, 1)
    alternating = [NotStarted, WorkerDied]
    outcome, given = play(1, ["cpu"], lambda _, __, tries: alternating[tries % 2], reuse=False)
    assert (len(given), outcome.failed[0].failure["kind"]) == (2 * MAX_LOSSES, "killed")


def test_a_cell_without_memory_is_tried_once_more_and_alone(play):
    """Two slots share the place; the third cell fails beside another and succeeds alone."""
    outcome, given = play(
        5, ["gpu 0", "gpu 0"], lambda seed, _, tries: "oom" if (seed, tries) == (2, 0) else "done"
    )
    assert not outcome.failed
    assert [(seed, alone) for seed, _, alone in given].count((2, True)) == 1
    assert sum(alone for *_, alone in given) == 1


def test_one_device_is_kept_for_a_cell_alone_and_the_others_go_on(play):
    """Three devices with two slots each; one cell without memory, one that never ends beside it."""

    def fate(seed, place, tries):
        if seed == 1 and tries == 0:
            return "oom"
        return None if seed == 0 else "done"  # the first one holds its device, gpu 0

    outcome, given = play(9, [f"gpu {n}" for n in (0, 1, 2, 0, 1, 2)], fate, run_timeout=1.0)
    (alone,) = [(seed, place) for seed, place, alone in given if alone]
    assert alone[0] == 1
    assert alone[1] != "gpu 0"
    assert outcome.trained == 8
    assert [record.failure["kind"] for record in outcome.failed] == ["timeout"]


def test_what_another_runner_has_ended_meanwhile_is_not_failed(play, tmp_path, tiny):
    """It has found the lease of a process that was killed, before this runner heard of that."""

    def fate(seed, place, tries):
        if tries == MAX_LOSSES - 1:
            Record(tiny(seed=seed).run_id, "finished", tiny(seed=seed).to_json()).write(tmp_path)
        return WorkerDied

    outcome, given = play(1, ["cpu"], fate)
    assert len(given) == MAX_LOSSES
    assert (outcome.failed, outcome.elsewhere, outcome.complete) == ([], 1, True)


def test_what_another_runner_trains_meanwhile_is_left_to_it(play, tmp_path, tiny):
    def fate(seed, place, tries):
        if tries == MAX_LOSSES - 1:
            cell = tiny(seed=seed)
            lease = leases.acquire_lease(tmp_path, cell.run_id)

            def finish() -> None:
                Record(cell.run_id, "finished", cell.to_json()).write(tmp_path)
                lease.release()

            threading.Timer(0.5, finish).start()
        return WorkerDied

    outcome, given = play(1, ["cpu"], fate)
    assert len(given) == MAX_LOSSES
    assert (outcome.failed, outcome.elsewhere, outcome.complete) == ([], 1, True)


def test_a_cell_that_has_no_memory_alone_fails(play):
    outcome, given = play(2, ["gpu 0", "gpu 0"], lambda seed, *_: "oom" if seed == 0 else "done")
    assert [record.failure["kind"] for record in outcome.failed] == ["oom"]
    assert [alone for seed, _, alone in given if seed == 0] == [False, True]


@pytest.mark.parametrize("kind", ["data", "error"])
def test_a_cell_whose_code_or_data_fail_is_tried_again_when_asked_for(play, kind):
    outcome, given = play(2, ["cpu"], lambda seed, *_: kind if seed == 0 else "done")
    assert len(given) == 2
    assert [record.failure["kind"] for record in outcome.failed] == [kind]
    outcome, given = play(2, ["cpu"], lambda *_: "done")
    assert (given, len(outcome.failed), outcome.reused) == ([], 1, 1)
    outcome, given = play(2, ["cpu"], lambda *_: "done", retry_failed=True)
    assert (len(given), outcome.complete) == (1, True)


def test_a_killed_cell_is_tried_again_by_the_next_runner(play):
    play(1, ["cpu"], lambda *_: WorkerDied)
    outcome, given = play(1, ["cpu"], lambda *_: "done")
    assert (len(given), outcome.complete) == (1, True)


def test_a_cell_that_takes_too_long_is_ended(play):
    outcome, given = play(
        2, ["cpu"], lambda seed, *_: None if seed == 0 else "done", run_timeout=0.01
    )
    (failed,) = outcome.failed
    assert failed.failure == {
        "kind": "timeout",
        "message": "longer than --cell-timeout, 0.01 seconds",
    }
    assert len(given) == 2


def test_a_refused_cell_has_no_record_and_the_others_go_on(play, tmp_path):
    outcome, given = play(3, ["cpu"], lambda seed, *_: Refused if seed == 1 else "done")
    assert list(outcome.refused.values()) == ["a reason"]
    assert len(list(tmp_path.glob("*/record.json"))) == 2
    outcome, given = play(3, ["cpu"], lambda *_: "done")
    assert (len(given), outcome.complete) == (1, True)


def test_a_place_where_cells_fail_again_and_again_is_set_aside(play):
    """Its cells are tried, and succeed, elsewhere."""
    outcome, given = play(
        9, ["gpu 0", "gpu 1"], lambda _, place, __: "error" if place == "gpu 1" else "done"
    )
    assert outcome.complete
    assert list(outcome.quarantined) == ["gpu 1"]
    assert sum(place == "gpu 1" for _, place, _ in given) == QUARANTINE_AFTER
    assert outcome.trained == 9


def test_all_cells_that_a_bad_place_had_are_tried_elsewhere(play):
    """Eight at once, of which three are enough to set it aside."""

    def fate(_, place, __):
        return "error" if place == "node a" else "done"

    outcome, given = play(12, ["node a"] * 8 + ["node b"], fate)
    assert (outcome.trained, outcome.complete) == (12, True)
    assert sum(place == "node a" for _, place, _ in given) >= 8
    assert len(outcome.quarantined["node a"]) >= 8


def test_a_bad_location_is_quarantined_however_few_runs_train_at_once(play):
    def fate(_, location, __):
        return "error" if location == "node a" else "done"

    outcome, _ = play(6, ["node a", "node b"], fate, max_runs=1)
    assert outcome.complete
    assert list(outcome.quarantined) == ["node a"]


def test_bad_cells_speak_against_no_place(play):
    """Three seeds of a variant that cannot be trained: no GPU is lost to them."""
    outcome, given = play(
        12, ["gpu 0", "gpu 1"], lambda seed, *_: "error" if seed % 4 == 1 else "done"
    )
    assert len(outcome.failed) == 3
    assert not outcome.quarantined
    assert outcome.trained == 9
    assert {place for _, place, _ in given[-2:]} == {"gpu 0", "gpu 1"}


def test_a_place_gets_cells_again_once_they_have_failed_elsewhere_too():
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
    assert [quarantine.failed("b", cell, others=False) for cell in "56789"] == [[]] * 5


def test_a_runner_without_a_place_waits_while_one_may_come(play):
    outcome, given = play(2, [], lambda *_: "done", later=["node b"])
    assert ([place for _, place, _ in given], outcome.complete) == (["node b"] * 2, True)
    outcome, given = play(4, [], lambda *_: "done")
    assert (given, outcome.left, outcome.complete) == ([], 2, False)


def test_the_last_place_is_never_set_aside(play):
    outcome, given = play(5, ["cpu"], lambda *_: "error")
    assert (len(given), len(outcome.failed), outcome.quarantined) == (5, 5, {})


def test_a_machine_that_fails_leaves_its_cells_to_the_other_runners(play, tmp_path):
    with leases.hold_lease(tmp_path, "a cell of theirs"):
        outcome, given = play(8, ["cpu"], lambda *_: "error")
    assert len(given) == QUARANTINE_AFTER
    assert list(outcome.quarantined) == ["cpu"]
    assert (outcome.left, outcome.complete) == (8 - QUARANTINE_AFTER, False)


def test_attempts_are_counted_by_cell():
    attempts = Attempts()
    assert [attempts.retry_after_loss("a") for _ in range(3)] == [True, True, False]
    assert attempts.retry_after_loss("b")
    assert [attempts.retry_after_oom("a"), attempts.retry_after_oom("a")] == [True, False]


# With real workers


@pytest.fixture
def sweep(tmp_path) -> str:
    """Two cells: seeds 0 and 1."""
    path = tmp_path / "seeds.yaml"
    path.write_text(yaml.safe_dump({"method": "grid", "parameters": {"seed": {"values": [0, 1]}}}))
    return str(path)


def run(sweep: str, results: Path, *words: str) -> int:
    return main(["run", sweep, *TINY_FLAGS, "--results", str(results), *words])


def test_a_cell_that_needs_too_much_memory_fails_with_its_own_word(sweep, tmp_path, capsys):
    """A model of terabytes: torch itself has no memory for it."""
    wide = ["--model.dims=[8,8,16,4000000]", "--workers=1", "--seeds=0"]
    assert run(sweep, tmp_path / "runs", *wide) == 1
    (record,) = records.read_records([tmp_path / "runs"])[0]
    assert record.failure["kind"] == "oom"
    assert "can't allocate memory" in record.failure["log"].splitlines()[-2]
    out, err = capsys.readouterr()
    assert "it is tried again" in err
    assert "failed: oom)" in out  # the cell may be folded
    assert "--retry-failed" in err


def test_a_timeout_ends_a_real_cell_which_can_go_on_from_there(
    sweep, tmp_path, monkeypatch, capsys
):
    """The hour is over once the cell has told two epochs."""
    hear, heard = Scheduler._handle, []

    def hearing(self, event):
        hear(self, event)
        heard.append(type(event))
        if heard.count(EpochDone) == 2:
            self.running = dict.fromkeys(self.running, time.monotonic() - 3601)

    monkeypatch.setattr(Scheduler, "_handle", hearing)
    results = tmp_path / "runs"
    words = ["--optim.epochs=400", "--workers=1", "--seeds=0", "--cell-timeout=1h"]
    assert run(sweep, results, *words) == 1
    (record,) = records.read_records([results])[0]
    assert record.failure["kind"] == "timeout"
    assert "epoch 1/400" in record.failure["log"]
    assert not list(results.glob("*/begun.json"))
    assert "timeout: longer than --cell-timeout, 3600 seconds" in capsys.readouterr().err
    assert list(results.glob("*/last.ckpt"))  # --retry-failed goes on from there


def test_events_as_json_lines(sweep, tmp_path, capsys):
    assert run(sweep, tmp_path / "runs", "--json", "--workers=1", "--optim.epochs=1") == 0
    out, _ = capsys.readouterr()
    told = [json.loads(line) for line in out.splitlines()]
    ids = {event["run_id"] for event in told[:-1]}
    assert len(ids) == 2
    for run_id in ids:
        own = [event["event"] for event in told[:-1] if event["run_id"] == run_id]
        assert [kind for kind in own if kind != "batch"] == ["started", "epoch", "done"]
        assert own[1] == "batch"
    assert told[-1] == {
        "event": "end",
        "cells": 2,
        "trained": 2,
        "reused": 0,
        "elsewhere": 0,
        "failed": [],
        "refused": {},
        "aside": {},
        "unfit": {},
        "left": 0,
    }
    done = next(event for event in told if event["event"] == "done")
    assert done["metrics"]["val/top1"]["last"] > 20


def test_a_cell_of_other_code_is_refused_alone(sweep, tiny, tmp_path, capsys):
    """A checkpoint of other code: that cell is told, the other one trained, nothing overwritten."""
    import torch

    from ablations.training.train import train

    results = tmp_path / "runs"
    config = tiny()

    def stop(body):
        if body["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, results, stop)
    checkpoint = results / config.run_id / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"code": {**state["code"], "poolformer/mixers.py": "0"}}, checkpoint)
    before = checkpoint.read_bytes()
    assert run(sweep, results, "--workers=1") == 1
    err = capsys.readouterr().err
    assert "2 runs: 1 trained, 0 reused, 0 failed, 1 refused" in err
    assert "was made by other code than this (poolformer/mixers.py)" in err
    assert checkpoint.read_bytes() == before
    assert not (results / config.run_id / "record.json").exists()


def test_a_worker_killed_for_want_of_memory_is_told_from_others(
    sweep, tmp_path, monkeypatch, capsys
):
    """The system's counter of such kills rises while a worker dies of SIGKILL."""
    give, told = LocalLauncher.events, list[int]()
    monkeypatch.setattr("ablations.scheduling.local.count_oom_kills", lambda: len(told))

    def events(self, timeout):
        for worker in self.workers:
            if worker.run is not None and worker.run.seed == 1:
                told.append(1)
                os.kill(worker.process.pid, signal.SIGKILL)
        yield from give(self, timeout)

    monkeypatch.setattr(LocalLauncher, "events", events)
    assert run(sweep, tmp_path / "runs", "--workers=1", "--optim.epochs=1") == 1
    found, _ = records.read_records([tmp_path / "runs"])
    failed = [record for record in found if record.failure]
    assert [(r.config["seed"], r.failure["kind"]) for r in failed] == [(1, "oom")]
    assert "killed a process because memory ran out" in failed[0].failure["message"]
    assert "it is tried again" in capsys.readouterr().err


# Bad input


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--workers", "0"], "--workers 0 must be 1 or more"),
        (["--workers-per-gpu", "0"], "--workers-per-gpu 0 must be 1 or more"),
        (["--workers-per-gpu", "2"], "--workers-per-gpu 2: the runs are to be trained on the CPU"),
        (["--cell-timeout", "soon"], "--cell-timeout 'soon' must be a time above 0, such as 90s"),
        (["--cell-timeout=-5m"], "--cell-timeout '-5m' must be a time above 0, such as 90s"),
        (["--cell-timeout", "infh"], "--cell-timeout 'infh' must be a time above 0, such as 90s"),
    ],
)
def test_bad_flags_are_one_line_and_leave_nothing(sweep, tmp_path, capsys, words, line):
    assert run(sweep, tmp_path / "runs", *words) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_more_gpus_a_cell_than_there_are_is_refused(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr("ablations.scheduling.gpus.DEVICES", [tmp_path])
    words = ["--system.devices=4", "--data.batch_size=252", "--system.accelerator=gpu"]
    assert run(sweep, tmp_path / "runs", *words) == 2
    assert "system.devices 4: this machine has 2 GPUs (0, 1)" in capsys.readouterr().err


def test_a_folder_that_another_version_works_in_is_refused(sweep, tmp_path, capsys):
    results = tmp_path / "runs"
    with leases.hold_lease(results, "a cell"):
        (lease,) = (results / leases.LEASE_FOLDER).iterdir()
        lease.write_text(lease.read_text().replace('"schema": 1', '"schema": 2'))
        assert run(sweep, results) == 2
    assert "which writes records of version 2; this program writes 1" in capsys.readouterr().err
    assert not list(results.iterdir())


def test_a_folder_without_leases_is_refused(sweep, tmp_path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert run(sweep, tmp_path / "runs") == 2
    assert "takes no leases (hard links fail there: Operation not" in capsys.readouterr().err
