"""Cells on their way: who gets which next, and what becomes of each."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablations.config.schema import RunConfig
from ablations.errors import ConfigError, RecordError
from ablations.scheduling import retry
from ablations.scheduling.launcher import Event, Launcher, Slot
from ablations.scheduling.progress import Observer
from ablations.scheduling.retry import Attempts, Places
from ablations.store import failures, leases, records
from ablations.store.records import FileStamp, Record, record_stamp
from ablations.text.phrases import pluralize

PATIENCE_SECONDS = 600.0  # that a cluster may be without a place for cells
LOOK_SECONDS = 2.0  # how often cells that another runner trains are looked after


@dataclass
class Outcome:
    """What a run of the runner did.

    Args:
        records: All cells' records, those reused included.
        reused: How many were done before.
        elsewhere: How many another runner trained meanwhile.
        refused: Run id -> why it could not be trained, and has no record.
        stale: Run id -> which of its token mixers have changed since it was trained.
        aside: Places that were set aside -> the cells that failed there one after another.
        unfit: Places that could have no cells -> why.
        left: How many cells are left, because there is no place for them any more.
        interrupted: The exit code of the signal that stopped it, 0 where none did.
    """

    records: list[Record] = field(default_factory=list)
    reused: int = 0
    elsewhere: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    aside: dict[str, list[str]] = field(default_factory=dict)
    unfit: dict[str, str] = field(default_factory=dict)
    left: int = 0
    interrupted: int = 0

    @property
    def failed(self) -> list[Record]:
        """Records of cells that failed, now or before."""
        return [record for record in self.records if record.status == "failed"]

    @property
    def trained(self) -> int:
        """How many cells were trained to their end here."""
        return len(self.records) - self.reused - self.elsewhere - len(self.failed)

    @property
    def whole(self) -> bool:
        """Whether each cell has its result."""
        return not (self.failed or self.refused or self.stale or self.left)


class Work:
    """The cells that are to be trained.

    Each is waiting, running (here), elsewhere (another runner has it) or at its end.

    Args:
        todo: The cells.
        before: Run id -> ``stamp`` of its record when the runner began.
        results: The folder of all runs.
        pool: Where they run.
        shown: Who is told.
        outcome: Where they end.
        cell_timeout: Seconds a cell; None for any.
        unsent: Called with a tracker's folder where not all of a run has arrived.
    """

    def __init__(
        self,
        todo: Sequence[RunConfig],
        before: Mapping[str, FileStamp | None],
        results: Path,
        pool: Launcher,
        shown: Observer,
        outcome: Outcome,
        cell_timeout: float | None,
        unsent: Callable[[Path], None],
    ) -> None:
        self.by_id = {cell.run_id: cell for cell in todo}
        self.waiting = deque(self.by_id)
        self.running: dict[str, float] = {}  # when its training began; inf: it has not yet
        self.elsewhere: set[str] = set()
        self.late: set[str] = set()  # told to end, for the time they took
        self.results, self.pool, self.shown, self.outcome = results, pool, shown, outcome
        self.cell_timeout, self.unsent = cell_timeout, unsent
        self.attempts, self.places = Attempts(), Places(aside=outcome.aside)
        # What is on disk of cells that failed before is not what becomes of them now.
        self.before = dict(before)
        self.looked = self.had_place = time.monotonic()
        self.emptying: str | None = None  # the device that is kept for a cell that needs it alone

    def goes_on(self) -> bool:
        """Whether there is more to do, or to wait for."""
        now = time.monotonic()
        if self.running or self._places():
            self.had_place = now
        patience = PATIENCE_SECONDS if self.pool.may_grow() else 0.0
        if self.waiting and now - self.had_place > patience:
            self.outcome.left = len(self.waiting) + len(self.elsewhere)
            return False
        return bool(self.waiting or self.running or self.elsewhere)

    def step(self) -> None:
        """Give cells to whoever has room, and hear what has happened for half a second."""
        self._look_elsewhere()
        for slot in self._usable():
            if slot.cell is None and len(self.running) < self.pool.count:
                self._fill(slot)
        for event in self.pool.events(timeout=0.5):
            self._hear(event)
        self.shown.tick()
        for run_id, since in self.running.items():
            if self.cell_timeout and time.monotonic() - since > self.cell_timeout:
                self.late.add(run_id)
                self.pool.end(run_id)

    # Giving

    def _fill(self, slot: Slot) -> None:
        """Give the next cell to a slot, unless somebody has or needs its device alone."""
        there = self._cells_on(slot.device)
        if self.attempts.alone.intersection(there):
            return
        alone = self._kept_for_one(slot)
        if alone and there:
            return  # the device empties first
        for run_id in [run_id for run_id in self.waiting if self._may_have(run_id, alone)]:
            self.waiting.remove(run_id)
            if self._taken(run_id):
                continue
            self.pool.give(slot, self.by_id[run_id], run_id in self.attempts.alone)
            self.running[run_id] = math.inf
            return

    def _may_have(self, run_id: str, alone: bool) -> bool:
        return (run_id in self.attempts.alone) == alone

    def _kept_for_one(self, slot: Slot) -> bool:
        """Whether a slot's device is kept for a cell that waits for one that it has alone."""
        if not self.attempts.alone.intersection(self.waiting):
            self.emptying = None
            return False
        devices = {slot.device, *(each.device for each in self._usable())}
        if self.emptying not in devices:  # the one that is empty soonest
            self.emptying = min(sorted(devices), key=lambda name: len(self._cells_on(name)))
        return slot.device == self.emptying

    def _cells_on(self, device: str) -> list[str]:
        return [s.cell.run_id for s in self.pool.slots() if s.device == device and s.cell]

    def _taken(self, run_id: str) -> bool:
        """Whether another runner has a cell, or has ended it."""
        if holder := leases.active_leases(self.results).get(run_id):
            self._give_way(run_id, str(holder))
            return True
        return self._ended_elsewhere(run_id)

    def _give_way(self, run_id: str, who: str) -> None:
        self.elsewhere.add(run_id)
        self.shown.elsewhere(self.by_id[run_id], who)

    # Other runners

    def _look_elsewhere(self) -> None:
        """See what has become of cells that other runners have."""
        if not self.elsewhere or time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        living = leases.active_leases(self.results)
        for run_id in self.elsewhere - living.keys():
            self.elsewhere.discard(run_id)
            if not self._ended_elsewhere(run_id):
                self.waiting.append(run_id)  # its runner is gone
                self.shown.again(self.by_id[run_id], "the runner that had it is gone")

    def _ended_elsewhere(self, run_id: str) -> bool:
        """Take a record that another runner has written since this one began."""
        if record_stamp(self.results, run_id) in (None, self.before[run_id]):
            return False
        try:
            record = records.find_record(self.results, run_id)
        except RecordError:  # it is being replaced, or a network hides it
            return False
        if record is None:
            return False
        self.outcome.elsewhere += record.done
        self._ends(record)
        return True

    # Hearing

    def _hear(self, event: Event) -> None:
        run_id = event.run_id
        if event.kind == "stop":
            raise ConfigError(event.body)
        if event.kind == "unsent":
            self.unsent(event.body)
        elif event.kind == "unfit":
            self.outcome.unfit[event.place] = event.body
            self.shown.aside(event.place, event.body)
        elif run_id not in self.running:
            return  # a worker died without a cell
        elif event.kind == "began":
            self._begins(run_id, event.place)
        elif event.kind in ("batch", "epoch"):
            if self.running[run_id] == math.inf:
                self._begins(run_id, event.place)  # the word of its beginning was lost
            if event.kind == "batch":
                self.shown.batch(run_id, event.body)
                return
            self.attempts.went_on(run_id)
            self.shown.epoch(run_id, event.body)
        else:
            del self.running[run_id]
            self._end_of(event)

    def _begins(self, run_id: str, place: str) -> None:
        self.running[run_id] = time.monotonic()
        self.shown.started(self.by_id[run_id], place)

    def _end_of(self, event: Event) -> None:
        """A worker is done with its cell, one way or another."""
        cell = self.by_id[event.run_id]
        if event.kind == "busy":
            self._give_way(cell.run_id, event.body)
        elif event.kind == "refused":
            self.outcome.refused[cell.run_id] = event.body
            self.shown.refused(cell, event.body)
            self._suspect(cell, event.place)
        elif cell.run_id in self.late and event.kind in ("died", "oom"):
            assert self.cell_timeout
            took = f"longer than --cell-timeout, {self.cell_timeout:g} seconds"
            self._fails(cell, "timeout", took, event.place)
        elif event.kind == "died":
            if self.attempts.after_loss(cell.run_id):
                self._again(cell, event.body)
            else:
                message = f"{event.body}, {retry.ATTEMPTS} times in a row"
                self._fails(cell, "killed", message, event.place)
        elif event.kind == "unstarted":  # no fault of the cell's: it does not count
            self._again(cell, event.body)
        elif event.kind == "oom":
            if self.attempts.after_oom(cell.run_id):
                self._again(cell, event.body)
            else:
                self._fails(cell, "oom", event.body, event.place)
        elif event.kind == "failed":
            self._fails(cell, "error", event.body, event.place)
        else:
            self._has_record(cell, event.body, event.place)

    def _has_record(self, cell: RunConfig, record: Record, place: str) -> None:
        if record.done:
            self.places.succeeded(place)
        elif (
            record.failure
            and record.failure["kind"] == "oom"
            and self.attempts.after_oom(cell.run_id)
        ):
            self._again(cell, record.failure["message"])
            return
        self._ends(record)
        if not record.done:
            self._suspect(cell, place)

    def _again(self, cell: RunConfig, why: str) -> None:
        # Its failed record, if it has one, is not another runner's.
        self.before[cell.run_id] = record_stamp(self.results, cell.run_id)
        self.late.discard(cell.run_id)
        self.waiting.appendleft(cell.run_id)
        self.shown.again(cell, why)

    def _fails(self, cell: RunConfig, kind: str, message: str, place: str) -> None:
        # Another runner may have found its lease without a holder. That of another machine counts
        # as alive for two minutes and may be the one of the process that has just ended.
        holder = leases.active_leases(self.results).get(cell.run_id)
        if holder and holder.on_this_machine:
            self._give_way(cell.run_id, str(holder))
            return
        if self._ended_elsewhere(cell.run_id):
            return
        self._ends(failures.write_failed_record(cell, self.results, kind, message))
        if kind != "timeout":
            self._suspect(cell, place)

    def _ends(self, record: Record) -> None:
        self.outcome.records.append(record)
        self.shown.done(record)

    # Places

    def _usable(self) -> list[Slot]:
        """Room at places that get cells."""
        return [slot for slot in self.pool.slots() if slot.place not in self.places.aside]

    def _places(self) -> set[str]:
        """Those that get cells."""
        return {slot.place for slot in self._usable()}

    def _suspect(self, cell: RunConfig, place: str) -> None:
        """Set a place aside where cells fail one after another and there is another to go on at.

        The cells that failed there are tried elsewhere: it may have been the place.
        """
        known = place in self.places.aside
        ours = len(self._places() - {place}) > 0
        cells = self.places.failed(place, cell.run_id, ours or self._other_runners())
        if not cells:
            return
        name = retry.named(place)
        if not known:
            self.shown.aside(name, f"{pluralize(len(cells), 'run')} failed there one after another")
        if ours:
            self.outcome.records = [r for r in self.outcome.records if r.run_id not in cells]
            for run_id in cells:
                self.outcome.refused.pop(run_id, None)
                self.attempts.lost.pop(run_id, None)
                self._again(self.by_id[run_id], f"failed on {name}, which is set aside")

    def _other_runners(self) -> bool:
        """Whether another runner works in the folder."""
        ours = set(self.running)
        return any(run_id not in ours for run_id in leases.active_leases(self.results))
