"""A config that trains an epoch in about a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


# A model that trains an epoch of the 8,000 embedded pictures in about a second.
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
