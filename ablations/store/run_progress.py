"""How far a run is: its epoch, batch and speed, in memory and in ``progress.json``.

``<results>/<run_id>/progress.json`` exists while a process trains the run. No result depends on it:
it is written without waiting for the disk, and errors of writing are ignored.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablations.errors import SchemaError
from ablations.machine import files
from ablations.store.records import PROGRESS_FILE
from ablations.text.phrases import format_duration

TRAINING, VALIDATING = "training", "validating"
STALL_SECONDS = 60.0  # the age of the last batch from which it is reported


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Args:
        epoch: The current epoch, from 1.
        epochs: The total number of epochs.
        phase: ``training`` or ``validating``.
        batch: Finished batches of the phase.
        batches: All batches of the phase.
        fraction: The finished part of the epoch, including validation, 0 to 1.
        images_per_second: Training speed over the last half minute; None before it is known.
        seconds_left: Time until the end of the last epoch; None before it is known.
    """

    epoch: int
    epochs: int
    phase: str
    batch: int
    batches: int
    fraction: float
    images_per_second: float | None = None
    seconds_left: float | None = None

    @property
    def done(self) -> float:
        """The finished part of the run, 0 to 1."""
        return (self.epoch - 1 + self.fraction) / self.epochs

    def to_json(self) -> dict[str, Any]:
        """JSON values of all fields."""
        return asdict(self)

    def __str__(self) -> str:
        what = "validating" if self.phase == VALIDATING else f"{math.floor(100 * self.fraction)}%"
        return f"{self.epoch}/{self.epochs} {what}"


def describe_progress(progress: RunProgress) -> str:
    """``epoch 2/3 45%, 1,024 images/s, 3 min left``."""
    parts = [f"epoch {progress}"]
    if progress.images_per_second is not None:
        parts.append(f"{progress.images_per_second:,.0f} images/s")
    if progress.seconds_left is not None:
        parts.append(f"{format_duration(progress.seconds_left)} left")
    return ", ".join(parts)


def describe_stall(seconds: float) -> str:
    """``last batch 3 min ago``; empty where that is less than ``STALL_SECONDS``.

    Args:
        seconds: Time since the last batch.
    """
    return f"last batch {format_duration(seconds)} ago" if seconds > STALL_SECONDS else ""


def write_progress(folder: Path, progress: RunProgress) -> None:
    """Write the progress of a run; the caller holds its lease.

    Args:
        folder: The folder of the run.
        progress: How far it is.
    """
    text = json.dumps(progress.to_json())
    # Errors such as a full disk are reported when the run writes its results.
    with (
        contextlib.suppress(OSError),
        files.atomic_write(folder / PROGRESS_FILE, sync=False) as file,
    ):
        file.write(text.encode())


def remove_progress(folder: Path) -> None:
    """Remove the progress file at the end of a training."""
    with contextlib.suppress(OSError):
        (folder / PROGRESS_FILE).unlink(missing_ok=True)


def read_progress(folder: Path) -> tuple[RunProgress, float] | None:
    """The progress of a run, and when it was written; None where there is no valid file.

    Args:
        folder: The folder of the run.

    Returns:
        The progress, and seconds since 1970 by the clock of the file system.
    """
    from ablations.store.validation import ProgressJson, read_json

    path = folder / PROGRESS_FILE
    try:
        progress = RunProgress(**read_json(files.read_regular(path), ProgressJson))
        written = path.stat().st_mtime
    except (OSError, SchemaError, ValueError, TypeError, RecursionError):
        return None
    return (progress, written) if progress.epoch <= progress.epochs else None
