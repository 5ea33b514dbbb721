"""A launcher that trains nothing and follows a script, for tests of the scheduler."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ablations import data
from ablations.config.schema import RunConfig
from ablations.scheduling.events import (
    EpochDone,
    Event,
    Recorded,
    RunEnd,
    Started,
    WorkerDied,
)
from ablations.scheduling.scheduler import Scheduler
from ablations.store import failures
from ablations.store.records import Record


def time_out_after_epochs(count: int) -> Callable[[Scheduler, Event], None]:
    """A ``Scheduler._handle`` for which runs take an hour as soon as so many epochs are done."""
    handle, epochs = Scheduler._handle, list[Event]()

    def handle_and_expire(scheduler: Scheduler, event: Event) -> None:
        handle(scheduler, event)
        if isinstance(event, EpochDone):
            epochs.append(event)
        if len(epochs) >= count:
            scheduler.running = dict.fromkeys(scheduler.running, time.monotonic() - 3601)

    return handle_and_expire


class ScriptedLauncher:
    """A launcher for which a function decides what happens to each run.

    Args:
        results: The folder of all runs.
        locations: The location of each slot.
        script: Seed, location and number of earlier tries -> what happens to the run: None (it
            never ends), "epoch then death", "done", the kind of a failed record ("oom", "data",
            "error"), or a class of event.
        later: Locations that appear one by one.
        max_runs: How many runs at once.
    """

    on_this_machine = True

    def __init__(
        self, results: Path, locations: list[str], script, later: Sequence[str], max_runs: int
    ) -> None:
        self.results, self.script, self.max_runs = results, script, max_runs
        self.later = list(later)
        self.all_slots = [ScriptedSlot(location) for location in locations]
        self.submitted: list[tuple[int, str, bool]] = []  # seed, location, alone
        self.pending: deque[Event] = deque()

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

    def cancel(self, run_id: str, kill: bool = False) -> None:
        self.pending.append(WorkerDied(run_id, "its worker ended with exit code 143"))

    def submit(self, slot, run, alone=False) -> None:
        assert not (alone and any(s.run for s in self.all_slots if s.location == slot.location))
        slot.run = run
        tries = sum(seed == run.seed for seed, _, _ in self.submitted)
        self.submitted.append((run.seed, slot.location, alone))
        self.pending.append(Started(run.run_id))
        match self.script(run.seed, slot.location, tries):
            case None:
                pass
            case "done":
                images = {"fingerprint": data.load_dataset(run.data).fingerprint}
                self._record(Record(run.run_id, "finished", run.to_json(), data=images))
            case "epoch then death":
                self.pending.append(EpochDone(run.run_id, {}))
                self.pending.append(WorkerDied(run.run_id, "a reason"))
            case str(kind):
                failure = failures.describe_failure(kind, "a reason", self.results / run.run_id)
                self._record(Record(run.run_id, "failed", run.to_json(), failure=failure))
            case kind:
                self.pending.append(kind(run.run_id, "a reason"))

    def _record(self, record: Record) -> None:
        record.write(self.results)
        self.pending.append(Recorded(record.run_id, record))

    def events(self, timeout):
        while self.pending:
            event = self.pending.popleft()
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
