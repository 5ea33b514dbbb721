"""Probes -> hours, disk and the order of what is still to be trained. Pure arithmetic."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.config import RunConfig
from ablations.plan.probe import Measured
from ablations.plan.variants import Variant

HOUR = 3600
# Beside the weights of a cell that is done: its record, and a line an epoch in history and log.
RECORD_BYTES, EPOCH_BYTES = 4_000, 250
TRACKER_BYTES, TRACKER_EPOCH_BYTES = 40_000, 1_000  # W&B's own files


@dataclass
class Line:
    """A variant of a plan.

    Args:
        variant: It.
        train: Training pictures an epoch.
        val: Validation pictures.
        probe: What its probe found; None where all its cells are done, or the probe failed.
        failure: Why it failed.
    """

    variant: Variant
    train: int
    val: int
    probe: Measured | None = None
    failure: str | None = None

    @property
    def config(self) -> RunConfig:
        """One of its cells."""
        return self.variant.cells[0]

    @property
    def steps(self) -> int:
        """Steps an epoch: what does not fill a batch is left out."""
        return self.train // self.config.data.batch_size

    @property
    def step_seconds(self) -> float:
        """Of a whole batch, by the pictures that each device has of it."""
        if self.probe is None:
            return 0.0
        each = self.config.data.batch_size // self.config.system.processes
        return self.probe.picture_seconds * each

    @property
    def train_seconds(self) -> float:
        """Of a cell, all epochs."""
        return self.config.optim.all_epochs * self.steps * self.step_seconds

    @property
    def validation_seconds(self) -> float:
        """Of a cell, all epochs."""
        if self.probe is None:
            return 0.0
        return self.config.optim.all_epochs * self.val * self.probe.val_picture_seconds

    @property
    def seconds(self) -> float:
        """Of a cell."""
        return self.train_seconds + self.validation_seconds

    @property
    def device_seconds(self) -> float:
        """Of all its cells that are not done, over their devices."""
        return self.seconds * len(self.variant.todo) * self.config.system.processes

    @property
    def kept_bytes(self) -> int:
        """What a cell leaves."""
        if self.probe is None:
            return 0
        epochs, mirrored = self.config.optim.all_epochs, self.config.system.tracker != "none"
        own = self.probe.weights_bytes + RECORD_BYTES + epochs * EPOCH_BYTES
        return own + mirrored * (TRACKER_BYTES + epochs * TRACKER_EPOCH_BYTES)

    @property
    def running_bytes(self) -> int:
        """What a cell has besides while it trains: a checkpoint, and the next one being written."""
        return 2 * self.probe.checkpoint_bytes if self.probe else 0

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        probe, variant = self.probe, self.variant
        return {
            "ablation": variant.row.axis,
            "variant": variant.name,
            "seeds": [cell.seed for cell in variant.cells],
            "runs": [cell.run_id for cell in variant.cells],
            "done": len(variant.done),
            "todo": len(variant.todo),
            "params": variant.cost.get("params"),
            "macs": variant.cost.get("macs"),
            "epochs": self.config.optim.all_epochs,
            "steps": self.steps,
            "batch": self.config.data.batch_size,
            "devices": self.config.system.processes,
            "probe_batch": probe.batch if probe else None,
            "step_seconds": self.step_seconds if probe else None,
            "val_picture_seconds": probe.val_picture_seconds if probe else None,
            "loading": probe.loading if probe else None,
            "cpu_share": probe.share if probe else None,
            "train_seconds": self.train_seconds if probe else None,
            "validation_seconds": self.validation_seconds if probe else None,
            "cell_hours": self.seconds / HOUR if probe else None,
            "device_hours": self.device_seconds / HOUR if probe else None,
            "checkpoint_bytes": probe.checkpoint_bytes if probe else None,
            "kept_bytes": self.kept_bytes if probe else None,
            "failure": self.failure,
        }


def wall_seconds(lines: Sequence[Line], cells: Iterable[RunConfig], at_once: int) -> float:
    """From the first cell to the end of the last, each given to whoever is free next.

    Args:
        lines: The variants.
        cells: All cells, in the order in which they are trained.
        at_once: How many train at once.
    """
    seconds = {cell.run_id: line.seconds for line in lines for cell in line.variant.todo}
    free = [0.0] * at_once
    for cell in cells:
        if cell.run_id in seconds:
            heapq.heappush(free, heapq.heappop(free) + seconds[cell.run_id])
    return max(free)


def disk(lines: Sequence[Line], at_once: int, results: Path) -> dict[str, int]:
    """Bytes that the cells to be trained leave, have besides while they train, and that are free.

    At most ``at_once`` cells train; the largest ones, to be on the safe side.
    """
    running = sorted(line.running_bytes for line in lines for _ in line.variant.todo)
    kept = sum(line.kept_bytes * len(line.variant.todo) for line in lines)
    place = next(each for each in (results, *results.resolve().parents) if each.exists())
    return {
        "kept_bytes": kept,
        "running_bytes": sum(running[-at_once:]),
        "needed_bytes": kept + sum(running[-at_once:]),
        "free_bytes": shutil.disk_usage(place).free,
    }
