"""The events of a study as JSON lines on standard output, for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.scheduling.observer import Observer
from ablations.store.records import Record
from ablations.store.run_progress import RunProgress


class JsonLines(Observer):
    """Prints one JSON object per event, with its name as ``event`` and ``time`` (Unix seconds)."""

    def __init__(self, runs: Sequence[RunConfig], todo: Sequence[RunConfig]) -> None:
        super().__init__(runs, todo)
        self.out = sys.stdout  # kept, because the launcher may redirect it later

    def started(self, run: RunConfig, location: str) -> None:
        self._print("started", run_id=run.run_id, place=location)

    def batch(self, run_id: str, progress: RunProgress) -> None:
        self._print("batch", run_id=run_id, **progress.to_json())

    def epoch(self, run_id: str, metrics: Mapping[str, Any]) -> None:
        self._print("epoch", run_id=run_id, **metrics)

    def retried(self, run: RunConfig, reason: str) -> None:
        self._print("again", run_id=run.run_id, why=reason)

    def elsewhere(self, run: RunConfig, holder: str) -> None:
        self._print("elsewhere", run_id=run.run_id, who=holder)

    def refused(self, run: RunConfig, reason: str) -> None:
        self._print("refused", run_id=run.run_id, why=reason)

    def done(self, record: Record) -> None:
        self._print(
            "done",
            run_id=record.run_id,
            status=record.status,
            metrics=record.metrics,
            failure=record.failure,
        )

    def quarantined(self, location: str, reason: str) -> None:
        self._print("aside", place=location, why=reason)

    def _print(self, event: str, **fields: Any) -> None:
        line = {"event": event, "time": round(time.time(), 3), **fields}
        screen.out(json.dumps(line), stream=self.out)
