"""``<results>/plan.json``: what was expected of each cell, to be held against what it took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ablations.records import write_atomically
from poolformer.config import ConfigError

FILE = "plan.json"
SCHEMA = 1


@dataclass(frozen=True)
class Expected:
    """What a plan says of a cell.

    Args:
        variant: Its axis and label.
        seed: Its seed.
        train_seconds: Of all its epochs.
        validation_seconds: Of all its epochs.
        loading: Whether loading the pictures is in them.
        device: For which it speaks, as in a record's environment.
        threads: CPU threads a cell.
        date: Of the plan, ISO 8601 in UTC.
    """

    variant: str
    seed: int
    train_seconds: float
    validation_seconds: float
    loading: bool
    device: str
    threads: int
    date: str

    @property
    def seconds(self) -> float:
        """Training and validation, as ``epoch_seconds`` of a record."""
        return self.train_seconds + self.validation_seconds


def read(results: Path) -> dict[str, Expected]:
    """What is expected of cells, by run id; nothing where there is no plan.

    Raises:
        ConfigError: The file is none of a plan's, or of another version.
    """
    path = results / FILE
    if not path.is_file():
        return {}
    try:
        tree = json.loads(path.read_text())
        version = tree.get("schema") if isinstance(tree, dict) else None
        if version != SCHEMA:
            raise ConfigError(
                f"{path} has schema version {version}, this program reads {SCHEMA}: move it away"
            )
        return {run_id: _expected(cell) for run_id, cell in tree["cells"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} is not a plan ({error}): move it away") from error


def _expected(cell: Any) -> Expected:
    found = Expected(**cell)
    for item in fields(Expected):
        value, kind = getattr(found, item.name), str(item.type)
        right = isinstance(value, (int, float)) if kind == "float" else type(value).__name__ == kind
        if not right:
            raise ValueError(f"{item.name} {value!r} is no {kind}")
    if not 0 < found.seconds < float("inf"):
        raise ValueError(f"{found.seconds} seconds")
    return found


def write(results: Path, cells: Mapping[str, Expected]) -> Path:
    """Write what is expected, whole or not at all; what was expected of other cells stays."""
    path = results / FILE
    merged = {**read(results), **cells}
    tree = {"schema": SCHEMA, "cells": {run_id: asdict(cell) for run_id, cell in merged.items()}}
    write_atomically(path, json.dumps(tree, indent=2) + "\n")
    return path
