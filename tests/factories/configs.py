"""Configs and sweep files that several tests use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
