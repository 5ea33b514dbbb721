"""Whether pictures fit what is asked of them: the model's classes, a record's fingerprint."""

from __future__ import annotations

from ablations.config import RunConfig
from ablations.data.base import DataError
from ablations.records import Record
from poolformer.config import ConfigError


def check_classes(config: RunConfig, found: int) -> None:
    """Raise ConfigError where the pictures have another number of classes than the model."""
    if found != config.model.num_classes:
        raise ConfigError(
            f"{config.data.root or config.data.name} has {found} classes, the model "
            f"{config.model.num_classes}: set model.num_classes {found}"
        )


def check_same_data(record: Record, fingerprint: str) -> None:
    """Raise DataError where a done record was made from other pictures than those at hand."""
    before = record.data.get("fingerprint")
    if before != fingerprint:
        raise DataError(
            f"run {record.run_id} is done on pictures with fingerprint {before}, these have "
            f"{fingerprint}: use another results folder for other pictures"
        )
