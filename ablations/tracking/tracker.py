"""The tracker interface that training reports to, and a guard: a tracker never fails a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablations.store.records import Record

log = logging.getLogger(__name__)


class Tracker:
    """The base class; it stores nothing.

    Attributes:
        ids: The ids that the record keeps of the tracker's run.
        folder: The tracker's local copy of the run, if it has one.
        unsent: The same folder, if it was not uploaded completely.
    """

    def __init__(self) -> None:
        self.ids: dict[str, Any] = {}
        self.folder: Path | None = None
        self.unsent: Path | None = None

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Mirror the metrics of an epoch; an epoch that was logged before is skipped."""

    def finish(self, record: Record, files: Sequence[Path]) -> None:
        """End the run with its record.

        Args:
            record: The record.
            files: The record, its history, predictions and weights, as far as they exist on disk.
        """

    def interrupt(self, code: int) -> None:
        """End a run that will be resumed by another process; ``code`` is the exit code."""


class GuardedTracker(Tracker):
    """A tracker whose failures are logged and otherwise ignored."""

    def __init__(self, inner: Tracker) -> None:
        super().__init__()
        self.inner, self.ids, self.folder = inner, inner.ids, inner.folder
        self.failed = False

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # whatever the tracker's library raises
            from ablations.tracking.client import describe_error

            log.warning("the tracker failed: %s", describe_error(error))
            self.failed = True
        self.unsent = self.folder if self.failed else self.inner.unsent

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if not self.failed:  # one warning is enough; the end reports what is missing
            self._try(lambda: self.inner.log(epoch, metrics))

    def finish(self, record: Record, files: Sequence[Path]) -> None:
        self._try(lambda: self.inner.finish(record, files))

    def interrupt(self, code: int) -> None:
        self._try(lambda: self.inner.interrupt(code))
