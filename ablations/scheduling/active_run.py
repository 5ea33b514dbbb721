"""How far one running run is, how fast it is, and how long it will take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ablations.config.schema import RunConfig
from ablations.store.run_progress import STALL_SECONDS, RunProgress
from ablations.text.phrases import format_duration


@dataclass
class ActiveRun:
    """A run that trains on a device or node."""

    config: RunConfig
    location: str
    started_at: float = field(default_factory=lambda: time.monotonic())
    last_epoch: Mapping[str, Any] = field(default_factory=dict)  # metrics of its last epoch
    progress: RunProgress | None = None  # within the current epoch
    share: float = 0.0  # how much of the run is done, 0 to 1
    updated: float | None = None  # when it last reported something
    start: tuple[float, float] | None = None  # the share when it began here, and when that was

    def epoch_done(self, metrics: Mapping[str, Any]) -> None:
        """It has finished an epoch."""
        epoch, epochs = metrics["epoch"], metrics["epochs"]
        # It may have been resumed from an earlier epoch.
        self.start = self.start or ((epoch - 1) / epochs, self.started_at)
        self.last_epoch, self.progress = metrics, None
        self.share, self.updated = epoch / epochs, time.monotonic()

    def batch_done(self, progress: RunProgress) -> None:
        """It has finished a batch."""
        self.progress, self.share, self.updated = progress, progress.done, time.monotonic()
        self.start = self.start or (self.share, self.updated)

    @property
    def total_seconds(self) -> float | None:
        """Seconds from its first epoch to its last; None while not known."""
        if self.start is None or self.updated is None or self.share <= self.start[0]:
            return None
        share, at = self.start
        return (self.updated - at) / (self.share - share)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until its last epoch ends; None while not known."""
        return None if self.total_seconds is None else self.total_seconds * (1 - self.share)

    @property
    def elapsed(self) -> float:
        """Seconds since it began here."""
        return time.monotonic() - self.started_at

    @property
    def images_per_second(self) -> float | None:
        """Training images a second."""
        if self.progress and self.progress.images_per_second is not None:
            return self.progress.images_per_second
        return self.last_epoch.get("speed")

    @property
    def epoch_text(self) -> str:
        """Its epoch, how far it is in it, and how long it has been silent if that is long."""
        if self.progress:
            text = str(self.progress)
        elif self.last_epoch:
            text = f"{self.last_epoch['epoch']}/{self.last_epoch['epochs']}"
        else:
            text = "starting"
        silent = time.monotonic() - (self.started_at if self.updated is None else self.updated)
        if silent > STALL_SECONDS:
            text += f" ({format_duration(silent)}{' ago' if self.updated else ''})"
        return text
