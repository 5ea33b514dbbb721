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
from ablations.config.sweep import SweepRun
from ablations.scheduling import retry, runner
from ablations.scheduling.launcher import Event
from ablations.scheduling.local import LocalWorkers
from ablations.scheduling.retry import IN_A_ROW, Attempts, Places
from ablations.scheduling.scheduler import Work
from ablations.store import failures, leases, records
from ablations.store.records import Record
from tests.factories.configs import TINY_FLAGS


class Script:
    """A launcher that plays what is written: cell and place -> the events of one try."""

    def __init__(self, results: Path, places: list[str], fate, later: Sequence[str] = ()) -> None:
        self.results, self.fate, self.later = results, fate, list(later)
        self.room = [Room(place) for place in places]
        self.count = 1 if hasattr(self, "few") else 100
        self.given: list[tuple[int, str, bool]] = []
        self.happened: deque[Event] = deque()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def end(self, run_id: str) -> None:
        self._ends(Event("died", run_id, "its worker ended with exit code 143"))

    def slots(self):
        return self.room

    def may_grow(self):
        if grows := bool(self.later):
            self.room.append(Room(self.later.pop()))
        return grows

    def give(self, slot, cell, alone=False) -> None:
        there = [room for room in self.room if room.place == slot.place and room.cell]
        assert not (alone and there)
        slot.cell = cell
        tries = sum(seed == cell.seed for seed, _, _ in self.given)
        self.given.append((cell.seed, slot.place, alone))
        self._ends(Event("began", cell.run_id))
        what = self.fate(cell.seed, slot.place, tries)
        if what == "done":
            pictures = {"fingerprint": data.load_dataset(cell.data).fingerprint}
            record = Record(cell.run_id, "finished", cell.to_json(), data=pictures)
            record.write(self.results)
            self._ends(Event("done", cell.run_id, record), slot.place)
        elif what in ("oom", "data", "error"):
            reason = failures.describe_failure(what, "a reason", self.results / cell.run_id)
            record = Record(cell.run_id, "failed", cell.to_json(), failure=reason)
            record.write(self.results)
            self._ends(Event("done", cell.run_id, record), slot.place)
        elif what:
            for kind in [what] if isinstance(what, str) else what:
                self._ends(Event(kind, cell.run_id, "a reason"), slot.place)

    def _ends(self, event: Event, place: str = "") -> None:
        self.happened.append(dataclasses.replace(event, place=place))

    def events(self, timeout):
        while self.happened:
            event = self.happened.popleft()
            for room in self.room:
                if room.cell and room.cell.run_id == event.run_id:
                    event = dataclasses.replace(event, place=room.place)
                    room.cell = room.cell if event.kind in ("began", "epoch") else None
            yield event


@dataclasses.dataclass
class Room:
    place: str
    cell: object = None

    @property
    def device(self) -> str:
        return self.place


class Silent:
    """An observer that keeps what it is told."""

    def __init__(self, *_) -> None:
        self.told: list[tuple] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __getattr__(self, name):
        return lambda *what: self.told.append((name, *what))


@pytest.fixture
def play(tiny, tmp_path):
    """``play(cells, places, fate)``: what the runner makes of it, and who got what."""

    def run(count: int, places: list[str], fate, later: Sequence[str] = (), **options):
        cells = [SweepRun(tiny(seed=seed), ()) for seed in range(count)]
        script = Script(tmp_path, places, fate, later)
        outcome = runner.run(cells, tmp_path, lambda _: script, Silent, **options)
        return outcome, script.given

    return run


def test_a_killed_cell_is_tried_three_times_and_the_others_go_on(play):
    outcome, given = play(3, ["cpu"], lambda seed, *_: "died" if seed == 1 else "done")
    assert [seed for seed, *_ in given].count(1) == retry.ATTEMPTS
    (failed,) = outcome.failed
    assert failed.failure["kind"] == "killed"
    assert failed.failure["message"] == "a reason, 3 times in a row"
    assert (outcome.trained, outcome.whole) == (2, False)


def test_an_epoch_between_two_losses_makes_up_for_the_first(play):
    """Days of spot instances: a cell that goes on in between is not given up."""

    def fate(seed, place, tries):
        return ["epoch", "died"] if tries < 5 else "done"

    outcome, given = play(1, ["cpu"], fate)
    assert (len(given), outcome.trained) == (6, 1)


def test_a_try_that_no_process_began_does_not_count(play):
    """Between the losses that do count, too: these are no more and no less for it."""
    outcome, given = play(1, ["cpu"], lambda _, __, tries: "unstarted" if tries < 5 else "done")
    assert (len(given), outcome.trained) == (6, 1)
    outcome, given = play(
        1, ["cpu"], lambda _, __, tries: ["unstarted", "died"][tries % 2], reuse=False
    )
    assert (len(given), outcome.failed[0].failure["kind"]) == (2 * retry.ATTEMPTS, "killed")


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

    outcome, given = play(9, [f"gpu {n}" for n in (0, 1, 2, 0, 1, 2)], fate, cell_timeout=1.0)
    (alone,) = [(seed, place) for seed, place, alone in given if alone]
    assert alone[0] == 1
    assert alone[1] != "gpu 0"
    assert outcome.trained == 8
    assert [record.failure["kind"] for record in outcome.failed] == ["timeout"]


def test_what_another_runner_has_ended_meanwhile_is_not_failed(play, tmp_path, tiny):
    """It has found the lease of a process that was killed, before this runner heard of that."""

    def fate(seed, place, tries):
        if tries == retry.ATTEMPTS - 1:
            Record(tiny(seed=seed).run_id, "finished", tiny(seed=seed).to_json()).write(tmp_path)
        return "died"

    outcome, given = play(1, ["cpu"], fate)
    assert len(given) == retry.ATTEMPTS
    assert (outcome.failed, outcome.elsewhere, outcome.whole) == ([], 1, True)


def test_what_another_runner_trains_meanwhile_is_left_to_it(play, tmp_path, tiny):
    def fate(seed, place, tries):
        if tries == retry.ATTEMPTS - 1:
            cell = tiny(seed=seed)
            lease = leases.acquire_lease(tmp_path, cell.run_id)

            def finish() -> None:
                Record(cell.run_id, "finished", cell.to_json()).write(tmp_path)
                lease.release()

            threading.Timer(0.5, finish).start()
        return "died"

    outcome, given = play(1, ["cpu"], fate)
    assert len(given) == retry.ATTEMPTS
    assert (outcome.failed, outcome.elsewhere, outcome.whole) == ([], 1, True)


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
    assert (len(given), outcome.whole) == (1, True)


def test_a_killed_cell_is_tried_again_by_the_next_runner(play):
    play(1, ["cpu"], lambda *_: "died")
    outcome, given = play(1, ["cpu"], lambda *_: "done")
    assert (len(given), outcome.whole) == (1, True)


def test_a_cell_that_takes_too_long_is_ended(play):
    outcome, given = play(
        2, ["cpu"], lambda seed, *_: None if seed == 0 else "done", cell_timeout=0.01
    )
    (failed,) = outcome.failed
    assert failed.failure == {
        "kind": "timeout",
        "message": "longer than --cell-timeout, 0.01 seconds",
    }
    assert len(given) == 2


def test_a_refused_cell_has_no_record_and_the_others_go_on(play, tmp_path):
    outcome, given = play(3, ["cpu"], lambda seed, *_: "refused" if seed == 1 else "done")
    assert list(outcome.refused.values()) == ["a reason"]
    assert len(list(tmp_path.glob("*/record.json"))) == 2
    outcome, given = play(3, ["cpu"], lambda *_: "done")
    assert (len(given), outcome.whole) == (1, True)


def test_a_place_where_cells_fail_again_and_again_is_set_aside(play):
    """Its cells are tried, and succeed, elsewhere."""
    outcome, given = play(
        9, ["gpu 0", "gpu 1"], lambda _, place, __: "error" if place == "gpu 1" else "done"
    )
    assert outcome.whole
    assert list(outcome.aside) == ["gpu 1"]
    assert sum(place == "gpu 1" for _, place, _ in given) == IN_A_ROW
    assert outcome.trained == 9


def test_all_cells_that_a_bad_place_had_are_tried_elsewhere(play):
    """Eight at once, of which three are enough to set it aside."""

    def fate(_, place, __):
        return "error" if place == "node a" else "done"

    outcome, given = play(12, ["node a"] * 8 + ["node b"], fate)
    assert (outcome.trained, outcome.whole) == (12, True)
    assert sum(place == "node a" for _, place, _ in given) >= 8
    assert len(outcome.aside["node a"]) >= 8


def test_a_bad_place_is_set_aside_however_few_cells_run_at_once(play, monkeypatch):
    monkeypatch.setattr(Script, "few", True, raising=False)
    outcome, _ = play(
        6, ["node a", "node b"], lambda _, place, __: "error" if place == "node a" else "done"
    )
    assert outcome.whole
    assert list(outcome.aside) == ["node a"]


def test_bad_cells_speak_against_no_place(play):
    """Three seeds of a variant that cannot be trained: no GPU is lost to them."""
    outcome, given = play(
        12, ["gpu 0", "gpu 1"], lambda seed, *_: "error" if seed % 4 == 1 else "done"
    )
    assert len(outcome.failed) == 3
    assert not outcome.aside
    assert outcome.trained == 9
    assert {place for _, place, _ in given[-2:]} == {"gpu 0", "gpu 1"}


def test_a_place_gets_cells_again_once_they_have_failed_elsewhere_too():
    places = Places()
    assert [places.failed("a", cell, elsewhere=True) for cell in "123"] == [[], [], ["1", "2", "3"]]
    assert list(places.aside) == ["a"]
    assert places.failed("b", "1", elsewhere=True) == []
    assert not places.aside
    assert places.failed("a", "4", elsewhere=True) == ["2", "3", "4"]
    places.succeeded("b")
    assert [places.failed("b", cell, elsewhere=False) for cell in "56789"] == [[]] * 5


def test_a_runner_without_a_place_waits_while_one_may_come(play):
    outcome, given = play(2, [], lambda *_: "done", later=["node b"])
    assert ([place for _, place, _ in given], outcome.whole) == (["node b"] * 2, True)
    outcome, given = play(4, [], lambda *_: "done")
    assert (given, outcome.left, outcome.whole) == ([], 2, False)


def test_the_last_place_is_never_set_aside(play):
    outcome, given = play(5, ["cpu"], lambda *_: "error")
    assert (len(given), len(outcome.failed), outcome.aside) == (5, 5, {})


def test_a_machine_that_fails_leaves_its_cells_to_the_other_runners(play, tmp_path):
    with leases.hold_lease(tmp_path, "a cell of theirs"):
        outcome, given = play(8, ["cpu"], lambda *_: "error")
    assert len(given) == IN_A_ROW
    assert list(outcome.aside) == ["cpu"]
    assert (outcome.left, outcome.whole) == (8 - IN_A_ROW, False)


def test_attempts_are_counted_by_cell():
    attempts = Attempts()
    assert [attempts.after_loss("a") for _ in range(3)] == [True, True, False]
    assert attempts.after_loss("b")
    assert [attempts.after_oom("a"), attempts.after_oom("a")] == [True, False]


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
    hear, heard = Work._hear, []

    def hearing(self, event):
        hear(self, event)
        heard.append(event.kind)
        if heard.count("epoch") == 2:
            self.running = dict.fromkeys(self.running, time.monotonic() - 3601)

    monkeypatch.setattr(Work, "_hear", hearing)
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
    give, told = LocalWorkers.events, list[int]()
    monkeypatch.setattr("ablations.scheduling.local.oom_kills", lambda: len(told))

    def events(self, timeout):
        for worker in self.workers:
            if worker.cell is not None and worker.cell.seed == 1:
                told.append(1)
                os.kill(worker.process.pid, signal.SIGKILL)
        yield from give(self, timeout)

    monkeypatch.setattr(LocalWorkers, "events", events)
    assert run(sweep, tmp_path / "runs", "--workers=1", "--optim.epochs=1") == 1
    found, _ = records.read_records([tmp_path / "runs"])
    failed = [record for record in found if record.failure]
    assert [(r.config["seed"], r.failure["kind"]) for r in failed] == [(1, "oom")]
    assert "killed a process for want of memory" in failed[0].failure["message"]
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
    monkeypatch.setattr("ablations.scheduling.local.DEVICES", [tmp_path])
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
