"""Configs and sweep files that several tests use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
