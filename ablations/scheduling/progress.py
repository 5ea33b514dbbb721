"""What a runner shows while it works: a live table on a terminal, plain lines, or JSON lines."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.live import Live

from ablations.config.naming import run_names
from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.console.display import LogInterval, can_redraw
from ablations.console.grid import TextTable
from ablations.store.records import Record
from ablations.store.run_progress import STALL_SECONDS, RunProgress
from ablations.text.escape import rich_text, terminal
from ablations.text.phrases import format_duration, pluralize

NAMED = 3  # runs that a line of a log names
READABLE = 40  # characters of a name that other columns make way for
LEAST = 8  # of a name on the narrowest screen


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
        """A worker has taken a run."""

    def batch(self, run_id: str, position: RunProgress) -> None:
        """A run has gone on within an epoch."""

    def epoch(self, run_id: str, body: Mapping[str, Any]) -> None:
        """A run has finished an epoch."""

    def tick(self) -> None:
        """Called again and again, also where nothing happens."""

    def again(self, cell: RunConfig, why: str) -> None:
        """A run waits once more."""

    def elsewhere(self, cell: RunConfig, who: str) -> None:
        """Another runner has a run."""

    def refused(self, cell: RunConfig, why: str) -> None:
        """A run cannot be trained, and has no record."""

    def done(self, record: Record) -> None:
        """A run has its record."""

    def aside(self, place: str, why: str) -> None:
        """A device gets no more runs."""


@dataclass
class Running:
    """A run in a worker."""

    config: RunConfig
    place: str
    begun: float = field(
        default_factory=lambda: time.monotonic()
    )  # looked up late: a test stops the clock
    last: Mapping[str, Any] = field(default_factory=dict)  # its last epoch
    position: RunProgress | None = None  # since then
    share: float = 0.0  # how much of it is done, 0 to 1
    heard: float | None = None  # when it was heard of last
    start: tuple[float, float] | None = None  # what was done when it began here, and when

    def hear(self, body: Mapping[str, Any]) -> None:
        """It has finished an epoch."""
        before = (body["epoch"] - 1) / body["epochs"]  # it may go on from an earlier start
        self.start = self.start or (before, self.begun)
        self.last, self.position = body, None
        self.share, self.heard = body["epoch"] / body["epochs"], time.monotonic()

    def reach(self, position: RunProgress) -> None:
        """It has finished a batch."""
        self.position, self.share, self.heard = position, position.done, time.monotonic()
        self.start = self.start or (self.share, self.heard)

    @property
    def whole(self) -> float | None:
        """Seconds that it takes from its first epoch to its last; None while not known."""
        if self.start is None or self.heard is None or self.share <= self.start[0]:
            return None
        share, at = self.start
        return (self.heard - at) / (self.share - share)

    @property
    def left(self) -> float | None:
        """Seconds until its last epoch ends; None while not known."""
        return None if self.whole is None else self.whole * (1 - self.share)

    @property
    def speed(self) -> float | None:
        """Training images a second."""
        if self.position and self.position.images_per_second is not None:
            return self.position.images_per_second
        return self.last.get("speed")

    @property
    def where(self) -> str:
        """Its epoch, and how far it is in it."""
        if self.position:
            told = str(self.position)
        elif self.last:
            told = f"{self.last['epoch']}/{self.last['epochs']}"
        else:
            told = "starting"
        silent = time.monotonic() - (self.begun if self.heard is None else self.heard)
        if silent > STALL_SECONDS:
            told += (
                f" ({format_duration(silent)} ago)"
                if self.heard
                else f" ({format_duration(silent)})"
            )
        return told


class Progress:
    """Counts what the runner does and says how long the rest will take.

    On a terminal it is a live table; elsewhere a line for each run that ends, and one for all that
    run now and then.

    Args:
        cells: The whole study.
        todo: The runs of it that are to be trained.
    """

    def __init__(
        self,
        cells: Sequence[RunConfig],
        todo: Sequence[RunConfig],
        console: Console | None = None,
    ) -> None:
        self.console = console or screen.stderr_console()
        told = run_names({cell.run_id: cell.to_json() for cell in cells})
        self.names = {run_id: terminal(name) for run_id, name in told.items()}
        self.short = dict(zip(told, without_common(list(self.names.values())), strict=True))
        self.waiting = {cell.run_id: cell for cell in todo}
        self.running: dict[str, Running] = {}
        self.at_once = 0  # the most so far
        self.others: set[str] = set()  # runs that other runners have
        self.quarantined: set[str] = set()  # devices
        self.seconds: dict[str, list[float]] = {}  # variant -> what its runs took
        self.total, self.reused = len(todo), len(cells) - len(todo)
        self.ended: set[str] = set()
        self.begun = time.monotonic()
        self.lines = LogInterval()
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if can_redraw(self.console):
            self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.lines.said()
        self.console.print(rich_text(text), soft_wrap=True)

    def tick(self) -> None:
        """Time has passed: say now and then what runs where there is no live table."""
        if self.live is None and self.lines.due():
            self.say(self._line())

    def started(self, cell: RunConfig, place: str) -> None:
        """A worker has taken a run."""
        self.waiting.pop(cell.run_id, None)
        self.running[cell.run_id] = Running(cell, place)
        self.at_once = max(self.at_once, len(self.running))

    def batch(self, run_id: str, position: RunProgress) -> None:
        """A run has gone on within an epoch."""
        self.running[run_id].reach(position)

    def epoch(self, run_id: str, body: Mapping[str, Any]) -> None:
        """A run has finished an epoch."""
        self.running[run_id].hear(body)

    def again(self, cell: RunConfig, why: str) -> None:
        """A run waits once more."""
        self._leave(cell.run_id)
        self.ended.discard(cell.run_id)
        self.waiting[cell.run_id] = cell
        self.say(f"{self.names[cell.run_id]}: {why}; it is tried again")

    def elsewhere(self, cell: RunConfig, who: str) -> None:
        """Another runner has a run."""
        self._leave(cell.run_id)
        self.others.add(cell.run_id)
        self.say(f"{self.names[cell.run_id]}: {who}")

    def refused(self, cell: RunConfig, why: str) -> None:
        """A run cannot be trained, and has no record."""
        self._leave(cell.run_id)
        self.ended.add(cell.run_id)
        self.say(f"[{len(self.ended)}/{self.total}] REFUSED {self.names[cell.run_id]}: {why}")

    def aside(self, place: str, why: str) -> None:
        """A device gets no more runs."""
        self.quarantined.add(place)
        self.at_once = 0  # fewer than before: it shows how many
        self.say(f"{place} is set aside: {why}")

    def done(self, record: Record) -> None:
        """A run has its record."""
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
        how = "by another runner" if took is None else format_duration(took)
        self.say(
            f"[{len(self.ended)}/{self.total}]{word} {self.names[record.run_id]}: {result}, "
            f"{how}, {format_duration(self.left())} left"
        )

    def _leave(self, run_id: str) -> Running | None:
        """A run is no longer where it was; what is known of it, if it ran here."""
        self.waiting.pop(run_id, None)
        self.others.discard(run_id)
        return self.running.pop(run_id, None)

    def left(self) -> float | None:
        """Seconds until the study is done, from what runs take; None while not known."""
        known = [took for times in self.seconds.values() for took in times]
        running = list(self.running.values())
        known = known or [run.whole for run in running if run.whole]
        if not known:
            return None
        average = sum(known) / len(known)

        def expected(cell: RunConfig) -> float:
            times = self.seconds.get(cell.variant_id)
            return sum(times) / len(times) if times else average

        work = sum(expected(cell) for cell in list(self.waiting.values()))
        for run in running:
            work += (run.whole or expected(run.config)) * (1 - run.share)
        ahead = len(running) + len(self.waiting)
        return work / max(1, len(running), min(self.at_once, ahead))

    def _summary(self) -> str:
        """Of the whole study, in a line."""
        parts = [f"{len(self.ended)}/{pluralize(self.total, 'run')} ended"]
        counts = {
            "done before": self.reused,
            "waiting": len(self.waiting),
            "with other runners": len(self.others),
        }
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        if self.quarantined:
            parts.append(f"{pluralize(len(self.quarantined), 'device')} set aside")
        parts.append(f"{format_duration(time.monotonic() - self.begun)} elapsed")
        return ", ".join([*parts, f"{format_duration(self.left())} left"])

    def _line(self) -> str:
        """Of the study and of the runs that are on their way, for a log."""
        told = []
        for run_id, run in list(self.running.items())[:NAMED]:
            speed = "" if run.speed is None else f", {run.speed:,.0f} images/s"
            told.append(f"{self.short[run_id]}: {run.where}{speed}")
        if more := len(self.running) - len(told):
            told.append(f"{more} more running")
        return "; ".join([self._summary(), *told])

    def _table(self) -> Group:
        """The runs on their way, as many as the screen has room for, and the summary."""
        size, running = self.console.size, list(self.running.items())
        summary = rich_text(self._summary())
        below = 1 + len(summary.wrap(self.console, max(1, size.width)))
        room = max(1, size.height - below - 1)
        if len(running) > room:
            room = max(1, room - 1)
        table = table_of(
            [(self.names[run_id], self.short[run_id], run) for run_id, run in running[:room]],
            size.width,
        )
        more = len(running) - room
        rest = [rich_text(f"and {more} more running")] if more > 0 else []
        return Group(table, *rest, summary)


def table_of(running: Sequence[tuple[str, str, Running]], width: int) -> TextTable:
    """A line a run, by as many columns as there is room for.

    Args:
        running: Runs with their names, whole and short.
        width: Characters of the screen.
    """
    runs = [run for *_, run in running]
    columns = {
        "on": [run.place for run in runs],
        "epoch": [run.where for run in runs],
        "top-1 (%)": [f"{run.last['val/top1']:.2f}" if run.last else "–" for run in runs],
        "images/s": ["–" if run.speed is None else f"{run.speed:,.0f}" for run in runs],
        "elapsed": [format_duration(time.monotonic() - run.begun) for run in runs],
        "left": [format_duration(run.left) for run in runs],
    }

    def room() -> int:
        """Of a name; there are two spaces after each column."""
        widths = [max(map(cell_len, [name, *cells])) for name, cells in columns.items()]
        return width - sum(widths) - 2 * len(widths) - 2

    for name in ("elapsed", "on", "top-1 (%)", "images/s", "left"):
        longest = max((cell_len(name) for name, *_ in running), default=0)
        if room() < min(longest, READABLE):
            del columns[name]
    table = TextTable()
    table.add_column("running")
    for name in columns:
        table.add_column(name, justify="left" if name == "on" else "right", no_wrap=True)
    most = max(LEAST, room())
    whole = all(cell_len(name) <= most for name, *_ in running)
    for number, (name, short, _) in enumerate(running):
        told = shortened(name if whole else short, most)
        table.add_row(told, *(cells[number] for cells in columns.values()))
    return table


def without_common(told: Sequence[str]) -> list[str]:
    """Names of a study's runs without the parts that all of them have, in place of which is ``…``.

    Args:
        told: Their names, of parts with commas between.
    """
    parts = [name.split(", ") for name in told]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    short = []
    for name, own in zip(told, parts, strict=True):
        groups = itertools.groupby(own, common.__contains__)
        left = ["…" if shared else ", ".join(group) for shared, group in groups]
        short.append(name if left == ["…"] else ", ".join(left))
    return short


def shortened(name: str, width: int) -> str:
    """A name without its middle, where it is too long: its end tells seeds apart.

    Args:
        name: The name.
        width: Columns of a terminal, 2 or more.
    """
    if cell_len(name) <= width:
        return name
    tail = name[-(width // 2) :]
    while cell_len(tail) > width // 2:
        tail = tail[1:]
    return f"{set_cell_size(name, width - cell_len(tail) - 1).rstrip()}…{tail}"


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
        """A worker has taken a run."""
        self._say("started", cell.run_id, place=place)

    def batch(self, run_id: str, position: RunProgress) -> None:
        """A run has gone on within an epoch: where it is, once a second at most."""
        self._say("batch", run_id, **position.to_json())

    def epoch(self, run_id: str, body: Mapping[str, Any]) -> None:
        """A run has finished an epoch."""
        self._say("epoch", run_id, **body)

    def tick(self) -> None:
        """Nothing has happened."""

    def again(self, cell: RunConfig, why: str) -> None:
        """A run waits once more."""
        self._say("again", cell.run_id, why=why)

    def elsewhere(self, cell: RunConfig, who: str) -> None:
        """Another runner has a run."""
        self._say("elsewhere", cell.run_id, who=who)

    def refused(self, cell: RunConfig, why: str) -> None:
        """A run cannot be trained, and has no record."""
        self._say("refused", cell.run_id, why=why)

    def done(self, record: Record) -> None:
        """A run has its record."""
        self._say(
            "done",
            record.run_id,
            status=record.status,
            metrics=record.metrics,
            failure=record.failure,
        )

    def aside(self, place: str, why: str) -> None:
        """A device gets no more runs."""
        self._say("aside", None, place=place, why=why)

    def _say(self, event: str, run_id: str | None, **more: Any) -> None:
        told = {"event": event, "time": round(time.time(), 3)}
        told |= {"run_id": run_id} if run_id else {}
        screen.out(json.dumps(told | more), stream=self.out)
