"""What training tells of a run while it goes on, and a guard: no tracker ends a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ablations.store.records import Record

log = logging.getLogger(__name__)


class Tracker:
    """Keeps nothing; the others add to it.

    Attributes:
        ids: What a record keeps of the tracker's run.
        folder: Where the tracker's own copy of the run lies, if it has one.
        unsent: The same, where that copy has not arrived whole.
    """

    def __init__(self) -> None:
        self.ids: dict[str, Any] = {}
        self.folder: Path | None = None
        self.unsent: Path | None = None

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Mirror one epoch's metrics; an epoch that was told before is not told again."""

    def finish(self, record: Record, files: Sequence[Path]) -> None:
        """End the run with its record.

        Args:
            record: The record.
            files: It, its history and its weights on disk, as far as they are there.
        """

    def interrupt(self, code: int) -> None:
        """End this start of a run that will be started again; ``code`` is the exit code."""


class GuardedTracker(Tracker):
    """A tracker whose failures are told in the log and otherwise ignored."""

    def __init__(self, inner: Tracker) -> None:
        super().__init__()
        self.inner, self.ids, self.folder = inner, inner.ids, inner.folder
        self.failed = False

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # whatever a tracker's library may raise
            from ablations.tracking.client import describe_error

            log.warning("the tracker failed: %s", describe_error(error))
            self.failed = True
        self.unsent = self.folder if self.failed else self.inner.unsent

    def log(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if not self.failed:  # once is enough: what is missing is told at the end
            self._try(lambda: self.inner.log(epoch, metrics))

    def finish(self, record: Record, files: Sequence[Path]) -> None:
        self._try(lambda: self.inner.finish(record, files))

    def interrupt(self, code: int) -> None:
        self._try(lambda: self.inner.interrupt(code))
