"""The variants of a study: runs that differ only in their seed are probed once, as one plan row."""

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

if TYPE_CHECKING:  # it imports torch
    from ablations.planning.probe import Measurement

HOUR = 3600
# Files of a finished run besides its weights: record, history, log, and those of W&B.
RUN_BYTES, EPOCH_BYTES = 44_000, 1_250


@dataclass
class PlannedVariant:
    """A row of a plan.

    Args:
        axis: As in a table.
        label: As in a table.
        changed: Its changes against the baseline.
        paper: The paper's row with the same change, if there is one.
        records: The records of runs that are not to be trained.
        runs: One per seed.
        train: Training images per epoch.
        val: Validation images.
        probe: What its probe measured; None if no run is to be trained, or the probe failed.
        failure: Why the probe failed.
    """

    axis: str
    label: str
    changed: Changes
    paper: PaperRow | None = None
    records: list[Record] = field(default_factory=list)
    runs: list[RunConfig] = field(default_factory=list)
    train: int = 0
    val: int = 0
    probe: Measurement | None = None
    failure: str | None = None

    @property
    def cost(self) -> dict[str, Any]:
        """The cost of its model, from the probe or from a finished run; empty without either."""
        if self.probe:
            return dict(self.probe.cost)
        return next((record.cost for record in self.records if record.cost), {})

    @property
    def todo(self) -> list[RunConfig]:
        """The runs to train."""
        recorded = {record.run_id for record in self.records}
        return [run for run in self.runs if run.run_id not in recorded]

    @property
    def epochs(self) -> int:
        """Epochs of a run."""
        return self.runs[0].optim.total_epochs

    @property
    def devices(self) -> int:
        """Processes of a run."""
        return self.runs[0].system.world_size

    @property
    def steps(self) -> int:
        """Steps per epoch; images that do not fill a batch are dropped."""
        return self.train // self.runs[0].data.batch_size

    @property
    def step_seconds(self) -> float:
        """Seconds of a full batch, shared by the devices."""
        images = self.runs[0].data.batch_size // self.devices
        return self.probe.train_image_seconds * images if self.probe else 0.0

    @property
    def train_seconds(self) -> float:
        """Training seconds of a run."""
        return self.epochs * self.steps * self.step_seconds

    @property
    def validation_seconds(self) -> float:
        """Validation seconds of a run."""
        return self.epochs * self.val * (self.probe.val_image_seconds if self.probe else 0.0)

    @property
    def seconds(self) -> float:
        """Seconds of a run."""
        return self.train_seconds + self.validation_seconds

    @property
    def device_seconds(self) -> float:
        """Seconds of all runs to train, times their devices."""
        return self.seconds * len(self.todo) * self.devices

    @property
    def kept_bytes(self) -> int:
        """Bytes that a finished run leaves."""
        other = RUN_BYTES + self.epochs * EPOCH_BYTES
        return self.probe.weights_bytes + other if self.probe else 0

    def to_json(self) -> dict[str, Any]:
        """As JSON values; None for what only a probe can tell."""
        failed = sum(record.status == "failed" for record in self.records)
        tree = {
            "ablation": self.axis,
            "variant": self.label,
            "seeds": [run.seed for run in self.runs],
            "runs": [run.run_id for run in self.runs],
            "done": len(self.records) - failed,
            "failed": failed,
            "todo": len(self.todo),
            "params": self.cost.get("params"),
            "macs": self.cost.get("macs"),
            "epochs": self.epochs,
            "steps": self.steps,
            "batch": self.runs[0].data.batch_size,
            "devices": self.devices,
        }
        probe = self.probe
        measured = {
            "probe_batch": probe and probe.batch,
            "step_seconds": self.step_seconds,
            "val_picture_seconds": probe and probe.val_image_seconds,
            "probed": probe and probe.probed,
            "loading": probe and probe.loading,
            "cpu_share": probe and probe.cpu_share,
            "train_seconds": self.train_seconds,
            "validation_seconds": self.validation_seconds,
            "cell_hours": self.seconds / HOUR,
            "device_hours": self.device_seconds / HOUR,
            "checkpoint_bytes": probe and probe.checkpoint_bytes,
            "kept_bytes": self.kept_bytes,
        }
        tree |= measured if probe else dict.fromkeys(measured)
        return {**tree, "failure": self.failure}


def group_variants(
    runs: Sequence[RunConfig], records: Iterable[Record], overrides: Mapping[str, Any]
) -> list[PlannedVariant]:
    """The variants of runs of one recipe, in the order of the runs.

    Args:
        runs: The runs.
        records: The records of those that are not to be trained.
        overrides: Fields set in all runs, and so in the baseline.
    """
    recipe = runs[0].recipe
    record_of = {record.run_id: record for record in records}
    baseline = resolve(
        recipe, {**overrides, "seed": 0}, study_overrides=overrides, count_classes=count_classes
    )
    flat_baseline = diff.flat_config(baseline.to_json())
    variants: dict[str, PlannedVariant] = {}
    for run in runs:
        if run.variant_id not in variants:
            flat = diff.flat_config(run.to_json())
            changed = diff.changed_fields(flat_baseline, flat)
            axis, label, paper = matching.describe_variant(recipe, changed, flat)
            variants[run.variant_id] = PlannedVariant(axis, label, changed, paper)
        variant = variants[run.variant_id]
        variant.runs.append(run)
        if record := record_of.get(run.run_id):
            variant.records.append(record)
    return list(variants.values())
