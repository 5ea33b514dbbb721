"""The valid names and numbers of the fields of a run; `poolformer.config` checks the model's."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ablations.errors import ConfigError
from poolformer.config import unknown_name

VALID_NAMES = {
    "data.pipeline": ["tensor", "timm"],
    "data.fit": ["pad", "resize"],
    "data.train_interpolation": ["bilinear", "bicubic", "random"],
    "optim.optimizer": ["adamw", "adam", "lamb", "lion", "sgd"],  # as timm names them
    "optim.schedule_unit": ["step", "epoch"],
    "system.accelerator": ["auto", "cpu", "gpu"],
    "system.precision": ["auto", "32-true", "bf16-mixed", "16-mixed"],
    "system.tracker": ["wandb", "none"],
}
INF = float("inf")
PROCESSES = (1, 4096)  # more than any machine has cores
# The smallest and the largest value of a field, or of the items of a list.
LIMITS: dict[str, tuple[float, float]] = {
    "data.image_size": (1, INF),
    "data.batch_size": (1, INF),
    "data.hflip": (0, 1),
    "data.crop_padding": (0, INF),
    "data.color_jitter": (0, INF),
    "data.random_erasing": (0, 1),
    "data.crop_pct": (0.05, 1),
    "data.mixup": (0, INF),
    "data.cutmix": (0, INF),
    "data.mixup_prob": (0, 1),
    "data.mixup_switch_prob": (0, 1),
    "optim.weight_decay": (0, INF),
    "optim.betas": (0, 0.999999),
    "optim.eps": (0, INF),
    "optim.epochs": (1, INF),
    "optim.warmup_lr": (0, INF),
    "optim.min_lr": (0, INF),
    "optim.cooldown_epochs": (0, INF),
    "optim.label_smoothing": (0, 0.999),
    "system.devices": PROCESSES,
    "system.nodes": PROCESSES,
    "system.threads": PROCESSES,
    "system.loader_workers": (0, PROCESSES[1]),
}


def check_fields(group: str, config: Any) -> None:
    """Raise ConfigError for an unknown name or a number beyond its limits."""
    for item in fields(config):
        name, value = f"{group}.{item.name}", getattr(config, item.name)
        if name in VALID_NAMES and value not in VALID_NAMES[name]:
            raise ConfigError(unknown_name(name, value, VALID_NAMES[name]))
        if name in LIMITS:
            for number in value if isinstance(value, tuple) else (value,):
                check_number(name, number, *LIMITS[name])


def check_number(name: str, number: float, low: float, high: float) -> None:
    """Raise ConfigError for a number outside [low, high], NaN or an infinite one."""
    if not low <= number <= high or number == INF:
        limits = f"{low} or more" if high == INF else f"between {low} and {high}"
        raise ConfigError(f"{name} {number} must be {limits}")
