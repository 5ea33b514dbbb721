"""Whether pictures fit what is asked of them: the model's classes, an earlier fingerprint."""

from __future__ import annotations

from ablations.config import RunConfig
from ablations.data.base import DataError
from poolformer.config import ConfigError


def check_classes(config: RunConfig, found: int) -> None:
    """Raise ConfigError where the pictures have another number of classes than the model."""
    if found != config.model.num_classes:
        raise ConfigError(
            f"{config.data.root or config.data.name} has {found} classes, the model "
            f"{config.model.num_classes}: set model.num_classes {found}"
        )


def check_same_data(run_id: str, before: str | None, now: str) -> None:
    """Raise DataError where a run was begun or done on other pictures than those at hand."""
    if before != now:
        raise DataError(
            f"run {run_id} was trained on pictures with fingerprint {before}, these have {now}: "
            "use another results folder for other pictures"
        )
