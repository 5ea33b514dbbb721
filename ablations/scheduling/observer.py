"""What can be observed while a study runs. Subclass ``Observer`` to show or log it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from ablations.config.schema import RunConfig
from ablations.store.records import Record
from ablations.store.run_progress import RunProgress


class Observer:
    """Ignores everything; a subclass overrides what it wants to see.

    It is entered as a context manager while runs train.

    Args:
        runs: All runs of the study.
        todo: Those that are to be trained.
    """

    def __init__(self, runs: Sequence[RunConfig], todo: Sequence[RunConfig]) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def tick(self) -> None:
        """Called about twice a second."""

    def started(self, run: RunConfig, location: str) -> None:
        """A run trains on a device or node."""

    def batch(self, run_id: str, progress: RunProgress) -> None:
        """A run has made progress within an epoch; at most once a second."""

    def epoch(self, run_id: str, metrics: Mapping[str, Any]) -> None:
        """A run has finished an epoch."""

    def retried(self, run: RunConfig, reason: str) -> None:
        """A run waits for another attempt."""

    def elsewhere(self, run: RunConfig, holder: str) -> None:
        """Another runner trains a run."""

    def refused(self, run: RunConfig, reason: str) -> None:
        """A run cannot be trained, and has no record."""

    def done(self, record: Record) -> None:
        """A run has its record: finished, diverged or failed."""

    def quarantined(self, location: str, reason: str) -> None:
        """A device or node gets no more runs."""
