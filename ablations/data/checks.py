"""Check that a data set fits the model."""

from __future__ import annotations

from ablations.config.schema import RunConfig
from ablations.errors import ConfigError


def check_classes(config: RunConfig, found: int) -> None:
    """Raise ConfigError where the images have another number of classes than the model."""
    if found != config.model.num_classes:
        raise ConfigError(
            f"{config.data.root or config.data.name} has {found} classes, the model "
            f"{config.model.num_classes}: set model.num_classes {found}"
        )
