"""How far a run is: its epoch, its batch, its speed; for whoever watches, and in a small file.

``<results>/<run_id>/progress.json`` is there while a process trains the run. No result depends on
it: it is written without waiting for the disk, and a failure to write it is no failure of the run.
"""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablations.machine import files
from ablations.store.records import PROGRESS_FILE
from ablations.text.phrases import format_duration

TRAINING, VALIDATING = "training", "validating"
STALL_SECONDS = 60.0  # a last sign of life that is older is reported with its age


@dataclass(frozen=True)
class RunProgress:
    """Where in its training a run is.

    Args:
        epoch: The epoch that is under way, from 1.
        epochs: All that it trains.
        phase: ``training`` or ``validating``.
        batch: Batches of that phase that are done.
        batches: Batches that it has.
        fraction: How much of the epoch is done, validation included, 0 to 1.
        images_per_second: Of training, over the last half minute; None before it is known.
        seconds_left: Until the last epoch ends; None before it is known.
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
        """How much of the run is done, 0 to 1."""
        return (self.epoch - 1 + self.fraction) / self.epochs

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        what = "validating" if self.phase == VALIDATING else f"{math.floor(100 * self.fraction)}%"
        return f"{self.epoch}/{self.epochs} {what}"


def describe_progress(position: RunProgress) -> str:
    """``epoch 2/3 45%, 1,024 images/s, 3 min left``."""
    parts = [f"epoch {position}"]
    if position.images_per_second is not None:
        parts.append(f"{position.images_per_second:,.0f} images/s")
    if position.seconds_left is not None:
        parts.append(f"{format_duration(position.seconds_left)} left")
    return ", ".join(parts)


def describe_stall(seconds: float) -> str:
    """``last batch 3 min ago`` where that is long ago, else nothing.

    Args:
        seconds: Since the last batch.
    """
    return f"last batch {format_duration(seconds)} ago" if seconds > STALL_SECONDS else ""


def write_progress(folder: Path, position: RunProgress) -> None:
    """Write a run's position, whole or not at all; for the process that has its lease.

    Args:
        folder: The run's.
        position: Where it is.
    """
    text = json.dumps(position.to_json())
    # A full disk, say: the run itself will meet it.
    with (
        contextlib.suppress(OSError),
        files.atomic_write(folder / PROGRESS_FILE, sync=False) as file,
    ):
        file.write(text.encode())


def remove_progress(folder: Path) -> None:
    """Remove it: nobody trains the run any more."""
    with contextlib.suppress(OSError):
        (folder / PROGRESS_FILE).unlink(missing_ok=True)


def read_progress(folder: Path) -> tuple[RunProgress, float] | None:
    """A run's position and when it was written; None where there is none that makes sense.

    Args:
        folder: The run's.

    Returns:
        The position, and seconds since 1970 by the clock of the file system.
    """
    path = folder / PROGRESS_FILE
    try:
        position = RunProgress(**json.loads(files.read_regular(path)))
        at = path.stat().st_mtime
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return (position, at) if _is_plausible(position) else None


def _is_plausible(position: RunProgress) -> bool:
    """Whether each value is of its kind: the file may have been written by anybody."""
    counts = (position.epoch, position.epochs, position.batch, position.batches)
    estimates = (position.images_per_second, position.seconds_left)
    return (
        all(type(count) is int and 0 <= count < 2**63 for count in counts)
        and 1 <= position.epoch <= position.epochs
        and position.phase in (TRAINING, VALIDATING)
        and all(_is_number(value, 1e15) for value in estimates if value is not None)
        and _is_number(position.fraction, 1)
    )


def _is_number(value: object, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= most  # type: ignore[operator]
