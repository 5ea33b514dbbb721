"""``<results>/plan.json``: what a plan expects of each run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from typing_extensions import TypedDict

from ablations.errors import ConfigError, MissingFileError, SchemaError
from ablations.store import validation
from ablations.store.storage import read_file, write_atomically
from ablations.store.validation import mapping_of

PLAN_FILE = "plan.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ExpectedRun:
    """What a plan expects of a run.

    Args:
        variant: Its axis and label.
        seed: Its seed.
        train_seconds: Training seconds of all epochs.
        validation_seconds: Validation seconds of all epochs.
        loading: Whether they include loading the images.
        device: The device they hold for, as in a record's environment.
        threads: CPU threads per run.
        date: The date of the plan, ISO 8601 in UTC.
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
        """Training and validation, like ``epoch_seconds`` of a record."""
        return self.train_seconds + self.validation_seconds


class _PlanTree(TypedDict):
    schema: int
    cells: dict[str, mapping_of(ExpectedRun)]  # type: ignore[valid-type]


def read_plan(results: Path) -> dict[str, ExpectedRun]:
    """What is expected of each run, by run id; empty without a plan.

    Raises:
        ConfigError: The file is not a plan, or of another version.
        AccessError: It cannot be read.
    """
    path = results / PLAN_FILE
    try:
        content = read_file(path)
        tree = validation.parse_json(content, dict)
        version = tree.get("schema") if isinstance(tree, dict) else None
        if version != SCHEMA_VERSION:
            raise SchemaError(f"schema version {version}, this program reads {SCHEMA_VERSION}")
        validation.validate_json(content, _PlanTree)
        runs = {run_id: ExpectedRun(**values) for run_id, values in tree["cells"].items()}
    except MissingFileError:
        return {}
    except (SchemaError, TypeError) as error:  # TypeError: an unknown field
        raise ConfigError(f"{path} is not a plan ({error}): move it away") from error
    for run_id, run in runs.items():
        if not 0 < run.seconds < math.inf:
            raise ConfigError(f"{path} is not a plan (run {run_id} takes no time): move it away")
    return runs


def write_plan(results: Path, runs: Mapping[str, ExpectedRun]) -> None:
    """Add runs to the plan of a folder, atomically; runs that are already in it are replaced."""
    merged = {**read_plan(results), **runs}
    cells = {run_id: asdict(run) for run_id, run in merged.items()}
    tree = {"schema": SCHEMA_VERSION, "cells": cells}
    write_atomically(results / PLAN_FILE, json.dumps(tree, indent=2) + "\n")
