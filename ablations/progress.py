"""What a runner shows while it works: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ablations.config import RunConfig
from ablations.labels import names
from ablations.records import Record


@dataclass
class Running:
    """A cell in a worker."""

    config: RunConfig
    begun: float = field(default_factory=time.monotonic)
    last: Mapping[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return float(self.last["epoch"] / self.last["epochs"]) if self.last else 0.0


class Progress:
    """Counts what the runner does and says how long the rest will take.

    Args:
        cells: The whole study.
        todo: The cells of it that are to be trained.
        workers: How many cells run at once.
    """

    def __init__(
        self,
        cells: Sequence[RunConfig],
        todo: Sequence[RunConfig],
        workers: int,
        console: Console | None = None,
    ) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.names = names({cell.run_id: cell.to_json() for cell in cells})
        self.waiting = {cell.run_id: cell for cell in todo}
        self.running: dict[str, Running] = {}
        self.seconds: dict[str, list[float]] = {}  # variant -> what its cells took
        self.total, self.reused, self.workers = len(todo), len(cells) - len(todo), workers
        self.finished = 0
        self.begun = time.monotonic()
        self.live: Live | None = None

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(Text(text), soft_wrap=True)

    def started(self, cell: RunConfig) -> None:
        """A worker has taken a cell."""
        self.waiting.pop(cell.run_id, None)
        self.running[cell.run_id] = Running(cell)

    def epoch(self, run_id: str, body: Mapping[str, Any]) -> None:
        """A cell has finished an epoch."""
        self.running[run_id].last = body

    def again(self, cell: RunConfig, reason: str) -> None:
        """A cell's worker is gone; the cell waits for another."""
        self.running.pop(cell.run_id, None)
        self.waiting[cell.run_id] = cell
        self.say(f"{self.names[cell.run_id]}: {reason}; it continues in a new worker")

    def done(self, record: Record) -> None:
        """A cell has its record."""
        running = self.running.pop(record.run_id)
        took = time.monotonic() - running.begun
        self.finished += 1
        if record.done:
            self.seconds.setdefault(running.config.variant_id, []).append(took)
        top1 = record.metric("val/top1")
        result = "no top-1" if top1 is None else f"top-1 {top1:.2f}%"
        if record.failure:
            result = f"{record.failure['kind']}: {record.failure['message']}"
        word = "" if record.status == "finished" else f" {record.status.upper()}"
        self.say(
            f"[{self.finished}/{self.total}]{word} {self.names[record.run_id]}: {result}, "
            f"{took:.0f} s, {clock(self.left())} left"
        )

    def left(self) -> float | None:
        """Seconds until the study is done, from what its cells took; None before the first."""
        known = [took for times in self.seconds.values() for took in times]
        if not known:
            return None
        average = sum(known) / len(known)

        def expected(cell: RunConfig) -> float:
            times = self.seconds.get(cell.variant_id)
            return sum(times) / len(times) if times else average

        work = sum(expected(cell) for cell in self.waiting.values())
        work += sum(expected(run.config) * (1 - run.share) for run in self.running.values())
        return work / max(1, min(self.workers, len(self.waiting) + len(self.running)))

    def _table(self) -> Group:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("running", "epoch", "top-1 (%)", "pictures/s", "seconds"):
            table.add_column(name, justify="left" if name == "running" else "right")
        for run_id, run in self.running.items():
            last = run.last
            table.add_row(
                self.names[run_id],
                f"{last['epoch']}/{last['epochs']}" if last else "–",
                f"{last['val/top1']:.2f}" if last else "–",
                f"{last['speed']:.0f}" if last else "–",
                f"{time.monotonic() - run.begun:.0f}",
            )
        summary = (
            f"{self.finished}/{self.total} cells trained, {self.reused} reused, "
            f"{len(self.waiting)} waiting, {clock(time.monotonic() - self.begun)} gone, "
            f"{clock(self.left())} left"
        )
        return Group(table, Text(summary))


def clock(seconds: float | None) -> str:
    """``1:02:03`` or ``2:03``; a question mark while unknown."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
