"""What a runner shows while it works: a live table on a terminal, plain lines, or JSON lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, Group
from rich.live import Live

from ablations import screen
from ablations.config import RunConfig
from ablations.escape import rich_text
from ablations.grid import Grid
from ablations.labels import names
from ablations.records import Record


class Observer(Protocol):
    """Who is told of what a runner does."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def started(self, cell: RunConfig, place: str) -> None:
        """A worker has taken a cell."""

    def epoch(self, run_id: str, body: Mapping[str, Any]) -> None:
        """A cell has finished an epoch."""

    def again(self, cell: RunConfig, why: str) -> None:
        """A cell waits once more."""

    def elsewhere(self, cell: RunConfig, who: str) -> None:
        """Another runner has a cell."""

    def refused(self, cell: RunConfig, why: str) -> None:
        """A cell cannot be trained, and has no record."""

    def done(self, record: Record) -> None:
        """A cell has its record."""

    def aside(self, place: str, why: str) -> None:
        """A place gets no more cells."""


@dataclass
class Running:
    """A cell in a worker."""

    config: RunConfig
    place: str
    begun: float = field(
        default_factory=lambda: time.monotonic()
    )  # looked up late: a test stops the clock
    last: Mapping[str, Any] = field(default_factory=dict)
    heard: int = 0  # epochs since it began here; it may have gone on from an earlier start

    def hear(self, body: Mapping[str, Any]) -> None:
        """It has finished an epoch."""
        self.last, self.heard = {**body, "at": time.monotonic()}, self.heard + 1

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return float(self.last["epoch"] / self.last["epochs"]) if self.last else 0.0

    @property
    def whole(self) -> float | None:
        """Seconds that it takes from its first epoch to its last; None before it has told one."""
        if not self.last:
            return None
        return float((self.last["at"] - self.begun) / self.heard * self.last["epochs"])


class Progress:
    """Counts what the runner does and says how long the rest will take.

    Args:
        cells: The whole study.
        todo: The cells of it that are to be trained.
    """

    def __init__(
        self,
        cells: Sequence[RunConfig],
        todo: Sequence[RunConfig],
        console: Console | None = None,
    ) -> None:
        self.console = console or screen.console()
        self.names = names({cell.run_id: cell.to_json() for cell in cells})
        self.waiting = {cell.run_id: cell for cell in todo}
        self.running: dict[str, Running] = {}
        self.others: set[str] = set()  # cells that other runners have
        self.seconds: dict[str, list[float]] = {}  # variant -> what its cells took
        self.total, self.reused = len(todo), len(cells) - len(todo)
        self.ended: set[str] = set()
        self.begun = time.monotonic()
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(rich_text(text), soft_wrap=True)

    def started(self, cell: RunConfig, place: str) -> None:
        """A worker has taken a cell."""
        self.waiting.pop(cell.run_id, None)
        self.running[cell.run_id] = Running(cell, place)

    def epoch(self, run_id: str, body: Mapping[str, Any]) -> None:
        """A cell has finished an epoch."""
        self.running[run_id].hear(body)

    def again(self, cell: RunConfig, why: str) -> None:
        """A cell waits once more."""
        self._leave(cell.run_id)
        self.ended.discard(cell.run_id)
        self.waiting[cell.run_id] = cell
        self.say(f"{self.names[cell.run_id]}: {why}; it is tried again")

    def elsewhere(self, cell: RunConfig, who: str) -> None:
        """Another runner has a cell."""
        self._leave(cell.run_id)
        self.others.add(cell.run_id)
        self.say(f"{self.names[cell.run_id]}: {who}")

    def refused(self, cell: RunConfig, why: str) -> None:
        """A cell cannot be trained, and has no record."""
        self._leave(cell.run_id)
        self.ended.add(cell.run_id)
        self.say(f"[{len(self.ended)}/{self.total}] REFUSED {self.names[cell.run_id]}: {why}")

    def aside(self, place: str, why: str) -> None:
        """A place gets no more cells."""
        self.say(f"{place} is set aside: {why}")

    def done(self, record: Record) -> None:
        """A cell has its record."""
        running = self._leave(record.run_id)
        self.ended.add(record.run_id)
        took = time.monotonic() - running.begun if running else None
        if running and running.whole and record.done:
            self.seconds.setdefault(running.config.variant_id, []).append(running.whole)
        top1 = record.metric("val/top1")
        result = "no top-1" if top1 is None else f"top-1 {top1:.2f}%"
        if record.failure:
            result = f"{record.failure['kind']}: {record.failure['message']}"
        word = "" if record.status == "finished" else f" {record.status.upper()}"
        how = "by another runner" if took is None else f"{took:.0f} s"
        self.say(
            f"[{len(self.ended)}/{self.total}]{word} {self.names[record.run_id]}: {result}, "
            f"{how}, {clock(self.left())} left"
        )

    def _leave(self, run_id: str) -> Running | None:
        """A cell is no longer where it was; what is known of it, if it ran here."""
        self.waiting.pop(run_id, None)
        self.others.discard(run_id)
        return self.running.pop(run_id, None)

    def left(self) -> float | None:
        """Seconds until the study is done, from what cells take; None before the first epoch."""
        known = [took for times in self.seconds.values() for took in times]
        known = known or [run.whole for run in self.running.values() if run.whole]
        if not known:
            return None
        average = sum(known) / len(known)

        def expected(cell: RunConfig) -> float:
            times = self.seconds.get(cell.variant_id)
            return sum(times) / len(times) if times else average

        work = sum(expected(cell) for cell in self.waiting.values())
        for run in self.running.values():
            work += (run.whole or expected(run.config)) * (1 - run.share)
        return work / max(1, len(self.running))

    def _table(self) -> Group:
        table = Grid()
        for name in ("running", "on", "epoch", "top-1 (%)", "pictures/s", "seconds"):
            table.add_column(name, justify="left" if name in ("running", "on") else "right")
        for run_id, run in self.running.items():
            last = run.last
            table.add_row(
                self.names[run_id],
                run.place,
                f"{last['epoch']}/{last['epochs']}" if last else "–",
                f"{last['val/top1']:.2f}" if last else "–",
                f"{last['speed']:.0f}" if last else "–",
                f"{time.monotonic() - run.begun:.0f}",
            )
        others = f"{len(self.others)} with other runners, " if self.others else ""
        summary = (
            f"{len(self.ended)}/{self.total} cells ended, {self.reused} done before, "
            f"{len(self.waiting)} waiting, {others}{clock(time.monotonic() - self.begun)} elapsed, "
            f"{clock(self.left())} left"
        )
        return Group(table, rich_text(summary))


class JsonLines:
    """The same as one JSON object a line on standard output, for programs.

    Each has ``event``, one of the names of Observer's methods, and ``time`` (seconds since 1970).
    """

    def __init__(self) -> None:
        self.out = sys.stdout  # of now: what libraries print later is sent elsewhere

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def started(self, cell: RunConfig, place: str) -> None:
        """A worker has taken a cell."""
        self._say("started", cell.run_id, place=place)

    def epoch(self, run_id: str, body: Mapping[str, Any]) -> None:
        """A cell has finished an epoch."""
        self._say("epoch", run_id, **body)

    def again(self, cell: RunConfig, why: str) -> None:
        """A cell waits once more."""
        self._say("again", cell.run_id, why=why)

    def elsewhere(self, cell: RunConfig, who: str) -> None:
        """Another runner has a cell."""
        self._say("elsewhere", cell.run_id, who=who)

    def refused(self, cell: RunConfig, why: str) -> None:
        """A cell cannot be trained, and has no record."""
        self._say("refused", cell.run_id, why=why)

    def done(self, record: Record) -> None:
        """A cell has its record."""
        self._say(
            "done",
            record.run_id,
            status=record.status,
            metrics=record.metrics,
            failure=record.failure,
        )

    def aside(self, place: str, why: str) -> None:
        """A place gets no more cells."""
        self._say("aside", None, place=place, why=why)

    def _say(self, event: str, run_id: str | None, **more: Any) -> None:
        told = {"event": event, "time": round(time.time(), 3)}
        told |= {"run_id": run_id} if run_id else {}
        screen.out(json.dumps(told | more), stream=self.out)


def clock(seconds: float | None) -> str:
    """``1:02:03`` or ``2:03``; a question mark while unknown."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
