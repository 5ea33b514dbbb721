"""Progress of a study: a live table on a terminal, plain lines elsewhere, and the time left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live

from ablations.config.naming import run_name
from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.console.display import LogInterval, can_redraw
from ablations.scheduling.active_run import ActiveRun
from ablations.scheduling.live_table import drop_common_parts, running_table
from ablations.scheduling.observer import Observer
from ablations.store.records import Record
from ablations.store.run_progress import RunProgress
from ablations.text.escape import rich_text, terminal
from ablations.text.phrases import format_duration, pluralize

NAMED_RUNS = 3  # runs that a line of a log names


class Progress(Observer):
    """Shows what happens on stderr, and estimates the time left.

    On a terminal it draws a live table. Elsewhere it prints a line for each run that ends, and one
    about all running runs now and then.
    """

    def __init__(
        self, runs: Sequence[RunConfig], todo: Sequence[RunConfig], console: Console | None = None
    ) -> None:
        self.console = console or screen.stderr_console()
        self.names = {run.run_id: terminal(run_name(run.to_json())) for run in runs}
        short = drop_common_parts(list(self.names.values()))
        self.short_names = dict(zip(self.names, short, strict=True))
        self.waiting = {run.run_id: run for run in todo}
        self.running: dict[str, ActiveRun] = {}
        self.max_running = 0
        self.with_others: set[str] = set()  # runs that other runners train
        self.quarantine: set[str] = set()
        self.seconds: dict[str, list[float]] = {}  # variant id -> what its runs took
        self.total, self.reused = len(todo), len(runs) - len(todo)
        self.ended: set[str] = set()
        self.started_at = time.monotonic()
        self.log_interval = LogInterval()
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
        """Print a line that stays."""
        self.log_interval.reset()
        self.console.print(rich_text(text), soft_wrap=True)

    def tick(self) -> None:
        if self.live is None and self.log_interval.due():
            self.say(self._line())

    def started(self, run: RunConfig, location: str) -> None:
        self.waiting.pop(run.run_id, None)
        self.running[run.run_id] = ActiveRun(run, location)
        self.max_running = max(self.max_running, len(self.running))

    def batch(self, run_id: str, progress: RunProgress) -> None:
        self.running[run_id].batch_done(progress)

    def epoch(self, run_id: str, metrics: Mapping[str, Any]) -> None:
        self.running[run_id].epoch_done(metrics)

    def retried(self, run: RunConfig, reason: str) -> None:
        self._remove(run.run_id)
        self.ended.discard(run.run_id)
        self.waiting[run.run_id] = run
        self.say(f"{self.names[run.run_id]}: {reason}; it is tried again")

    def elsewhere(self, run: RunConfig, holder: str) -> None:
        self._remove(run.run_id)
        self.with_others.add(run.run_id)
        self.say(f"{self.names[run.run_id]}: {holder}")

    def refused(self, run: RunConfig, reason: str) -> None:
        self._remove(run.run_id)
        self.ended.add(run.run_id)
        self.say(f"[{len(self.ended)}/{self.total}] REFUSED {self.names[run.run_id]}: {reason}")

    def quarantined(self, location: str, reason: str) -> None:
        self.quarantine.add(location)
        self.max_running = 0  # fewer runs fit from now on
        self.say(f"{location} gets no more runs: {reason}")

    def done(self, record: Record) -> None:
        run = self._remove(record.run_id)
        self.ended.add(record.run_id)
        if run and run.total_seconds and record.done:
            self.seconds.setdefault(run.config.variant_id, []).append(run.total_seconds)
        top1 = record.metric("val/top1")
        result = "no top-1" if top1 is None else f"top-1 {top1:.2f}%"
        if record.failure:
            result = f"{record.failure['kind']}: {record.failure['message']}"
        status = "" if record.status == "finished" else f" {record.status.upper()}"
        took = format_duration(run.elapsed) if run else "by another runner"
        self.say(
            f"[{len(self.ended)}/{self.total}]{status} {self.names[record.run_id]}: {result}, "
            f"{took}, {format_duration(self.seconds_left())} left"
        )

    def _remove(self, run_id: str) -> ActiveRun | None:
        """Forget where a run was; its progress if it trained here."""
        self.waiting.pop(run_id, None)
        self.with_others.discard(run_id)
        return self.running.pop(run_id, None)

    def seconds_left(self) -> float | None:
        """Seconds until the study is done, from what its runs take; None while not known."""
        running = list(self.running.values())
        known = [seconds for times in self.seconds.values() for seconds in times]
        known = known or [run.total_seconds for run in running if run.total_seconds]
        if not known:
            return None

        def expected(run: RunConfig) -> float:
            return fmean(self.seconds.get(run.variant_id) or known)

        work = sum(expected(run) for run in list(self.waiting.values()))
        for run in running:
            work += (run.total_seconds or expected(run.config)) * (1 - run.share)
        ahead = len(running) + len(self.waiting)
        return work / max(1, len(running), min(self.max_running, ahead))

    def _summary(self) -> str:
        """The whole study in one line."""
        parts = [f"{len(self.ended)}/{pluralize(self.total, 'run')} ended"]
        counts = {
            "done before": self.reused,
            "waiting": len(self.waiting),
            "with other runners": len(self.with_others),
        }
        parts += [f"{count} {what}" for what, count in counts.items() if count]
        if self.quarantine:
            parts.append(f"{pluralize(len(self.quarantine), 'device')} quarantined")
        parts.append(f"{format_duration(time.monotonic() - self.started_at)} elapsed")
        return ", ".join([*parts, f"{format_duration(self.seconds_left())} left"])

    def _line(self) -> str:
        """The study and some of its running runs, for a log."""
        parts = [self._summary()]
        for run_id, run in list(self.running.items())[:NAMED_RUNS]:
            speed = run.images_per_second
            images = "" if speed is None else f", {speed:,.0f} images/s"
            parts.append(f"{self.short_names[run_id]}: {run.epoch_text}{images}")
        if (more := len(self.running) - NAMED_RUNS) > 0:
            parts.append(f"{more} more running")
        return "; ".join(parts)

    def _table(self) -> Group:
        """The running runs, as many as the terminal has room for, and the summary."""
        size, running = self.console.size, list(self.running.items())
        summary = rich_text(self._summary())
        below = 1 + len(summary.wrap(self.console, max(1, size.width)))
        rows = max(1, size.height - below - 1)
        if len(running) > rows:
            rows = max(1, rows - 1)
        table = running_table(
            [(self.names[run_id], self.short_names[run_id], run) for run_id, run in running[:rows]],
            size.width,
        )
        more = len(running) - rows
        rest = [rich_text(f"and {more} more running")] if more > 0 else []
        return Group(table, *rest, summary)
