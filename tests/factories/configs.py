"""Configs and sweep files that several tests use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ablations.config.sweep import expand_sweeps
from ablations.config.sweep_file import count_runs, load_sweep_file

# The sweeps of the paper's ablation table.
TABLE_SWEEPS = [
    path
    for path in sorted(Path("sweeps").glob("*.yaml"))
    if path.stem not in ("model_size", "follow_up", "controls")
]

# A model that trains an epoch of the 8,000 embedded images in about a second.
TINY: dict[str, Any] = {
    "model.depths": [1, 1, 1, 1],
    "model.dims": [8, 8, 16, 16],
    "model.head_dim": 8,
    "data.batch_size": 250,
    "optim.epochs": 2,
    "optim.warmup_epochs": 0,
    "system.tracker": "none",
    "system.accelerator": "cpu",
}


TINY_FLAGS = [f"--{name}={value}" for name, value in TINY.items()]


def sweep_grid(path: Path) -> list[dict[str, Any]]:
    """The parameters of each run of a sweep file, in W&B's order: the last varies fastest."""
    file = load_sweep_file(path)
    count_runs([file], None)
    return list(file)


def write_sweep(folder: Path, tree: Any) -> Path:
    """A sweep file with this text, or with these YAML values."""
    path = folder / "sweep.yaml"
    path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    return path


def sweep_run_ids(path: Path, recipe: str = "mini", **options: Any) -> list[str]:
    """The ids of the runs that `ablations run` trains for a sweep file."""
    return [run.config.run_id for run in expand_sweeps([path], recipe, **options)]
