"""Assigns runs to slots and decides what happens after each event: retry, quarantine or record."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablations.config.schema import RunConfig
from ablations.errors import ConfigError, FailureKind, RecordError
from ablations.scheduling import events
from ablations.scheduling.events import Event, RunEnd, RunEvent
from ablations.scheduling.launcher import GRACE_SECONDS, Launcher, Slot
from ablations.scheduling.observer import Observer
from ablations.scheduling.quarantine import Quarantine, with_hostname
from ablations.store import failures, leases, records
from ablations.store.records import FileStamp, Record, record_stamp
from ablations.text.phrases import pluralize

MAX_LOSSES = 3  # processes that a run may lose in a row without finishing an epoch
NO_SLOT_SECONDS = 600.0  # how long a cluster may have no usable slot before the study ends
LEASE_POLL_SECONDS = 2.0  # how often to look after runs that other runners train


@dataclass
class Outcome:
    """What became of a study.

    Args:
        records: The records of all runs, reused ones included.
        reused: How many were done before.
        elsewhere: How many were trained by other runners meanwhile.
        refused: Run id -> why it could not be trained, and has no record.
        stale: Run id -> which of its token mixers have changed since it was trained.
        quarantined: Device or node -> the runs that failed there consecutively.
        unusable: Device or node -> why it could not train runs.
        left: How many runs are left because no usable device or node remained.
        interrupted: The exit code of the signal that stopped the study, else 0.
    """

    records: list[Record] = field(default_factory=list)
    reused: int = 0
    elsewhere: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    quarantined: dict[str, list[str]] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    left: int = 0
    interrupted: int = 0

    def add(self, other: Outcome) -> None:
        """Add what became of other runs."""
        self.records += other.records
        self.reused += other.reused
        self.elsewhere += other.elsewhere
        self.refused |= other.refused
        self.stale |= other.stale
        self.unusable |= other.unusable
        self.left += other.left
        self.interrupted = self.interrupted or other.interrupted
        for location, run_ids in other.quarantined.items():
            self.quarantined.setdefault(location, []).extend(run_ids)

    @property
    def failed(self) -> list[Record]:
        """Records of runs that failed, now or before."""
        return [record for record in self.records if record.status == "failed"]

    @property
    def trained(self) -> int:
        """How many runs finished or diverged here."""
        return len(self.records) - self.reused - self.elsewhere - len(self.failed)

    @property
    def complete(self) -> bool:
        """Whether each run has its result."""
        return not (self.failed or self.refused or self.stale or self.left)


class Scheduler:
    """Trains the runs of a study. Each run is waiting, running here, elsewhere, or ended.

    Args:
        todo: The runs to train.
        before: Run id -> ``record_stamp`` of its record when the study began.
        results: The folder of all runs.
        launcher: Where they train.
        observer: Sees what happens.
        outcome: Filled in.
        run_timeout: Seconds that a run may take; None for any.
        on_unsynced: Called with the folder of each run that W&B did not receive completely.
    """

    def __init__(
        self,
        todo: Sequence[RunConfig],
        before: Mapping[str, FileStamp | None],
        results: Path,
        launcher: Launcher,
        observer: Observer,
        outcome: Outcome,
        run_timeout: float | None,
        on_unsynced: Callable[[Path], None],
    ) -> None:
        self.runs = {run.run_id: run for run in todo}
        self.waiting = deque(self.runs)
        self.running: dict[str, float] = {}  # run id -> when its training began; inf: not yet
        self.elsewhere: set[str] = set()
        self.timed_out: set[str] = set()
        self.results, self.launcher = results, launcher
        self.observer, self.outcome = observer, outcome
        self.run_timeout, self.on_unsynced = run_timeout, on_unsynced
        self.losses = Counter[str]()  # run id -> processes lost since its last epoch
        self.alone: set[str] = set()  # runs that ran out of memory and get a device for themselves
        self.quarantine = Quarantine(quarantined=outcome.quarantined)
        self.stamps = dict(before)  # a record with another stamp was written by another runner
        self.polled = self.had_slot = time.monotonic()
        self.reserved: str | None = None  # the device that is emptied for a run that needs it alone

    def unfinished(self) -> bool:
        """Whether there is more to do, or to wait for."""
        now = time.monotonic()
        if self.running or self._usable_slots():
            self.had_slot = now
        patience = NO_SLOT_SECONDS if self.launcher.may_grow else 0.0
        if self.waiting and now - self.had_slot > patience:
            self.outcome.left = len(self.waiting) + len(self.elsewhere)
            return False
        return bool(self.waiting or self.running or self.elsewhere)

    def step(self) -> None:
        """Fill free slots, and handle the events of half a second."""
        self._poll_leases()
        for slot in self._usable_slots():
            if slot.run is None and len(self.running) < self.launcher.max_runs:
                self._fill(slot)
        for event in self.launcher.events(timeout=0.5):
            self._handle(event)
        self.observer.tick()
        for run_id, started_at in self.running.items():
            seconds_over = time.monotonic() - started_at - (self.run_timeout or math.inf)
            if run_id in self.timed_out and seconds_over > GRACE_SECONDS:
                self.launcher.cancel(run_id, kill=True)
            elif run_id not in self.timed_out and seconds_over > 0:
                self.timed_out.add(run_id)
                self.launcher.cancel(run_id)

    # Assigning runs to slots

    def _fill(self, slot: Slot) -> None:
        """Submit the next run to a slot, unless another run has or needs its device alone."""
        on_device = self._runs_on(slot.device)
        if self.alone.intersection(on_device):
            return
        alone = self._reserve(slot)
        if alone and on_device:
            return  # the device empties first
        for run_id in list(self.waiting):
            if (run_id in self.alone) != alone:
                continue
            self.waiting.remove(run_id)
            if not self._taken_by_another_runner(run_id):
                self.launcher.submit(slot, self.runs[run_id], alone)
                self.running[run_id] = math.inf
                self.timed_out.discard(run_id)
                return

    def _reserve(self, slot: Slot) -> bool:
        """Whether a slot's device is reserved for a waiting run that needs a device alone."""
        if not self.alone.intersection(self.waiting):
            self.reserved = None
            return False
        devices = {slot.device, *(each.device for each in self._usable_slots())}
        if self.reserved not in devices:  # choose the one that empties soonest
            self.reserved = min(sorted(devices), key=lambda device: len(self._runs_on(device)))
        return slot.device == self.reserved

    def _runs_on(self, device: str) -> list[str]:
        slots = self.launcher.slots()
        return [slot.run.run_id for slot in slots if slot.device == device and slot.run]

    def _usable_slots(self) -> list[Slot]:
        """Slots on devices and nodes that are not quarantined."""
        slots = self.launcher.slots()
        return [slot for slot in slots if slot.location not in self.quarantine.quarantined]

    # Other runners

    def _taken_by_another_runner(self, run_id: str) -> bool:
        if holder := leases.active_leases(self.results).get(run_id):
            self._leave_to(run_id, str(holder))
            return True
        return self._ended_elsewhere(run_id)

    def _leave_to(self, run_id: str, holder: str) -> None:
        self.elsewhere.add(run_id)
        self.observer.elsewhere(self.runs[run_id], holder)

    def _poll_leases(self) -> None:
        """See what became of the runs that other runners train."""
        if not self.elsewhere or time.monotonic() - self.polled < LEASE_POLL_SECONDS:
            return
        self.polled = time.monotonic()
        for run_id in self.elsewhere - leases.active_leases(self.results).keys():
            self.elsewhere.discard(run_id)
            if not self._ended_elsewhere(run_id):
                self.waiting.append(run_id)
                self.observer.retried(self.runs[run_id], "the runner that trained it is gone")

    def _ended_elsewhere(self, run_id: str) -> bool:
        """Take over a record that another runner has written since the study began."""
        if record_stamp(self.results, run_id) in (None, self.stamps[run_id]):
            return False
        try:
            record = records.find_record(self.results, run_id)
        except RecordError:  # it is being replaced, or a network file system hides it
            return False
        if record is None:
            return False
        self.outcome.elsewhere += record.done
        self._add_record(record)
        return True

    # Events

    def _handle(self, event: Event) -> None:
        match event:
            case events.StudyAborted():
                raise ConfigError(event.reason)
            case events.LocationUnusable():
                self.outcome.unusable[event.location] = event.reason
                self.observer.quarantined(event.location, event.reason)
            case events.Unsynced():
                self.on_unsynced(event.folder)
            case RunEvent() if event.run_id not in self.running:
                pass  # a worker died without a run
            case events.Started():
                self._begin(event)
            case events.BatchDone() | events.EpochDone():
                if self.running[event.run_id] == math.inf:
                    self._begin(event)  # its Started event was lost
                if isinstance(event, events.BatchDone):
                    self.observer.batch(event.run_id, event.progress)
                else:
                    del self.losses[event.run_id]
                    self.observer.epoch(event.run_id, event.metrics)
            case RunEnd():
                del self.running[event.run_id]
                self._end(self.runs[event.run_id], event)

    def _begin(self, event: RunEvent) -> None:
        self.running[event.run_id] = time.monotonic()
        self.observer.started(self.runs[event.run_id], event.location)

    def _end(self, run: RunConfig, event: RunEnd) -> None:
        """Decide what follows when a worker has stopped working on a run."""
        timed_out, location = run.run_id in self.timed_out, event.location
        match event:
            case events.Recorded():
                self._handle_record(run, event.record, location)
            case events.Busy():
                self._leave_to(run.run_id, event.reason)
            case events.Refused():
                self.outcome.refused[run.run_id] = event.reason
                self.observer.refused(run, event.reason)
                self._count_failure(run, location)
            case events.WorkerDied() | events.OutOfMemory() if timed_out:
                reason = f"longer than --cell-timeout, {self.run_timeout:g} seconds"
                self._record_failure(run, "timeout", reason, location)
            case events.WorkerDied():
                self.losses[run.run_id] += 1
                if self.losses[run.run_id] < MAX_LOSSES:
                    self._retry(run, event.reason)
                else:
                    reason = f"{event.reason}, {MAX_LOSSES} times in a row"
                    self._record_failure(run, "killed", reason, location)
            case events.NotStarted():
                self._retry(run, event.reason)
            case events.OutOfMemory():
                if not self._retry_alone(run, event.reason):
                    self._record_failure(run, "oom", event.reason, location)
            case events.Failed():
                self._record_failure(run, "error", event.reason, location)

    def _handle_record(self, run: RunConfig, record: Record, location: str) -> None:
        failure = record.failure
        if record.done:
            self.quarantine.succeeded(location)
        elif failure and failure["kind"] == "oom" and self._retry_alone(run, failure["message"]):
            return
        self._add_record(record)
        if not record.done:
            self._count_failure(run, location)

    def _retry_alone(self, run: RunConfig, reason: str) -> bool:
        """Retry a run that ran out of memory, once and alone on its device; whether it is."""
        if run.run_id in self.alone:
            return False
        self.alone.add(run.run_id)
        self._retry(run, reason)
        return True

    def _retry(self, run: RunConfig, reason: str) -> None:
        # If it has a failed record, that is not another runner's.
        self.stamps[run.run_id] = record_stamp(self.results, run.run_id)
        self.waiting.appendleft(run.run_id)
        self.observer.retried(run, reason)

    def _record_failure(
        self, run: RunConfig, kind: FailureKind, message: str, location: str
    ) -> None:
        # Another runner may have taken over the lease. A lease of another machine counts as alive
        # for two minutes, and may be that of the process that has just ended.
        holder = leases.active_leases(self.results).get(run.run_id)
        if holder and holder.on_this_machine:
            self._leave_to(run.run_id, str(holder))
            return
        if self._ended_elsewhere(run.run_id):
            return
        self._add_record(failures.write_failed_record(run, self.results, kind, message))
        if kind != "timeout":
            self._count_failure(run, location)

    def _add_record(self, record: Record) -> None:
        self.outcome.records.append(record)
        self.observer.done(record)

    def _count_failure(self, run: RunConfig, location: str) -> None:
        """Count a failure against a location; if it is quarantined, retry its runs elsewhere."""
        quarantined = location in self.quarantine.quarantined
        others_here = bool({slot.location for slot in self._usable_slots()} - {location})
        others = others_here or self._other_runners()
        run_ids = self.quarantine.failed(location, run.run_id, others)
        if not run_ids:
            return
        name = with_hostname(location)
        if not quarantined:
            reason = f"{pluralize(len(run_ids), 'run')} failed there one after another"
            self.observer.quarantined(name, reason)
        if others_here:
            self.outcome.records = [r for r in self.outcome.records if r.run_id not in run_ids]
            for run_id in run_ids:
                self.outcome.refused.pop(run_id, None)
                del self.losses[run_id]
                self._retry(self.runs[run_id], f"failed on {name}, which is quarantined")

    def _other_runners(self) -> bool:
        """Whether another runner works in the results folder."""
        return bool(leases.active_leases(self.results).keys() - self.running.keys())
