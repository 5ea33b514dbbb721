"""Cells -> variants: what differs in its seed only is probed once and is one row of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ablations.config import diff
from ablations.config.diff import Changes
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.data import count_classes
from ablations.paper import matching
from ablations.paper.published import PaperRow
from ablations.store.records import Record

if TYPE_CHECKING:  # it has torch
    from ablations.planning.probe import Measured

HOUR = 3600
# Beside the weights of a cell that is done: its record, its history, its log, W&B's own files.
RUN_BYTES, EPOCH_BYTES = 44_000, 1_250


@dataclass
class Variant:
    """A row of a plan, as of a table; its records are those of cells that are not to be trained.

    Args:
        axis: As in a table.
        label: As in a table.
        changed: Its changes against the baseline.
        paper: The paper's row with the same change, if there is one.
        records: The records of runs that are not to be trained.
        cells: One a seed.
        train: Training pictures an epoch.
        val: Validation pictures.
        probe: What its probe found; None where no cell is to be trained, or it failed.
        failure: Why it failed.
    """

    axis: str
    label: str
    changed: Changes
    paper: PaperRow | None
    records: list[Record] = field(default_factory=list)
    cells: list[RunConfig] = field(default_factory=list)
    train: int = 0
    val: int = 0
    probe: Measured | None = None
    failure: str | None = None

    @property
    def name(self) -> str:
        """Its name: that of a row of a table."""
        return self.label

    @property
    def cost(self) -> dict[str, Any]:
        """What its model costs, of the probe or of a cell that is done; empty without either."""
        if self.probe:
            return dict(self.probe.cost)
        return next((record.cost for record in self.records if record.cost), {})

    def count(self, status: str) -> int:
        """The number of its records with a status."""
        return sum(record.status == status for record in self.records)

    @property
    def todo(self) -> list[RunConfig]:
        """The cells that are to be trained."""
        there = {record.run_id for record in self.records}
        return [cell for cell in self.cells if cell.run_id not in there]

    @property
    def steps(self) -> int:
        """Steps an epoch: what does not fill a batch is left out."""
        return self.train // self.cells[0].data.batch_size

    @property
    def step_seconds(self) -> float:
        """Of a whole batch, by the pictures that each device has of it."""
        each = self.cells[0].data.batch_size // self.cells[0].system.world_size
        return self.probe.picture_seconds * each if self.probe else 0.0

    @property
    def train_seconds(self) -> float:
        """Of a cell, all epochs."""
        return self.cells[0].optim.total_epochs * self.steps * self.step_seconds

    @property
    def validation_seconds(self) -> float:
        """Of a cell, all epochs."""
        each = self.probe.val_picture_seconds if self.probe else 0.0
        return self.cells[0].optim.total_epochs * self.val * each

    @property
    def seconds(self) -> float:
        """Of a cell."""
        return self.train_seconds + self.validation_seconds

    @property
    def device_seconds(self) -> float:
        """Of all its cells that are to be trained, over their devices."""
        return self.seconds * len(self.todo) * self.cells[0].system.world_size

    @property
    def kept_bytes(self) -> int:
        """What a cell leaves."""
        beside = RUN_BYTES + self.cells[0].optim.total_epochs * EPOCH_BYTES
        return self.probe.weights_bytes + beside if self.probe else 0

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; None for what only a probe tells."""
        probe, config = self.probe, self.cells[0]
        return {
            "ablation": self.axis,
            "variant": self.name,
            "seeds": [cell.seed for cell in self.cells],
            "runs": [cell.run_id for cell in self.cells],
            "done": len(self.records) - self.count("failed"),
            "failed": self.count("failed"),
            "todo": len(self.todo),
            "params": self.cost.get("params"),
            "macs": self.cost.get("macs"),
            "epochs": config.optim.total_epochs,
            "steps": self.steps,
            "batch": config.data.batch_size,
            "devices": config.system.world_size,
            "probe_batch": probe.batch if probe else None,
            "step_seconds": self.step_seconds if probe else None,
            "val_picture_seconds": probe.val_picture_seconds if probe else None,
            "probed": probe.probed if probe else None,
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


def variants(
    cells: Sequence[RunConfig], there: Iterable[Record], overrides: Mapping[str, Any]
) -> list[Variant]:
    """The variants of cells of one recipe, in the order of the cells.

    Args:
        cells: The cells.
        there: The records of those that are not to be trained.
        overrides: Fields set in all of them: they are the baseline's too.
    """
    recipe, known = cells[0].recipe, {record.run_id: record for record in there}
    overridden = {**overrides, "seed": 0}
    baseline = resolve(recipe, overridden, study_overrides=overrides, count_classes=count_classes)
    base = diff.flat_config(baseline.to_json())
    found: dict[str, Variant] = {}
    for cell in cells:
        if cell.variant_id not in found:
            flat = diff.flat_config(cell.to_json())
            changed = diff.changed_fields(base, flat)
            axis, label, paper = matching.describe_variant(recipe, changed, flat)
            found[cell.variant_id] = Variant(axis, label, changed, paper)
        variant = found[cell.variant_id]
        variant.cells.append(cell)
        if cell.run_id in known:
            variant.records.append(known[cell.run_id])
    return list(found.values())
