"""``<results>/plan.json``: what was expected of each cell, and that held against the records."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from ablations.errors import ConfigError, SchemaError
from ablations.machine import files
from ablations.store import validation
from ablations.store.records import Record, access_error, write_atomically
from ablations.store.validation import mapping_of

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


class Plan(TypedDict):
    """What the file has."""

    schema: int
    cells: dict[str, mapping_of(Expected)]  # type: ignore[valid-type]


def read(results: Path) -> dict[str, Expected]:
    """What is expected of cells, by run id; nothing where there is no plan.

    Raises:
        ConfigError: The file is none of a plan's, or of another version.
        AccessError: It cannot be read.
    """
    path = results / FILE
    try:
        content = files.read_regular(path)
        tree = validation.parse_json(content, dict)
        if not isinstance(tree, dict) or tree.get("schema") != SCHEMA:
            found = tree.get("schema") if isinstance(tree, dict) else None
            raise SchemaError(f"schema version {found}, this program reads {SCHEMA}")
        validation.validate_json(content, Plan)
        cells = {run_id: Expected(**values) for run_id, values in tree["cells"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise access_error(path, error) from error
    except (SchemaError, TypeError) as error:  # TypeError: a cell has other fields too
        raise ConfigError(f"{path} is not a plan ({error}): move it away") from error
    for run_id, cell in cells.items():
        if not 0 < cell.seconds < math.inf:
            raise ConfigError(f"{path} is not a plan (run {run_id} takes no time): move it away")
    return cells


def write(results: Path, cells: Mapping[str, Expected]) -> None:
    """Write what is expected, whole or not at all; what was expected of other cells stays."""
    merged = {**read(results), **cells}
    tree = {"schema": SCHEMA, "cells": {run_id: asdict(cell) for run_id, cell in merged.items()}}
    write_atomically(results / FILE, json.dumps(tree, indent=2) + "\n")


def check(plan: Mapping[str, Expected], known: Iterable[Record]) -> list[dict[str, Any]]:
    """What became of each variant of a plan, in its order, and of all of them as the last.

    As JSON values: how many cells, the seconds expected of those that ran to their end where they
    were planned, what these took, the median, the least and the greatest of their ratios (None
    where there is none), and why the other cells are not compared. All of them have an empty name.

    Args:
        plan: What is expected of cells, by run id.
        known: Records of the folder.
    """
    records = {record.run_id: record for record in known}
    found = []
    for name in [*dict.fromkeys(cell.variant for cell in plan.values()), ""]:
        cells = {run_id: cell for run_id, cell in plan.items() if name in ("", cell.variant)}
        why = {run_id: _apart(cell, records.get(run_id)) for run_id, cell in cells.items()}
        compared = [cell for run_id, cell in cells.items() if why[run_id] is None]
        took = [records[run_id].timing["epoch_seconds"] for run_id in cells if why[run_id] is None]
        ratios = [each / cell.seconds for each, cell in zip(took, compared, strict=True)]
        found.append(
            {
                "variant": name,
                "planned": len(cells),
                "compared": len(compared),
                "without_loading": sum(not cell.loading for cell in compared),
                "expected_seconds": sum(cell.seconds for cell in compared),
                "took_seconds": sum(took),
                "ratio": statistics.median(ratios) if ratios else None,
                "ratio_low": min(ratios, default=None),
                "ratio_high": max(ratios, default=None),
                "not_compared": dict(Counter(reason for reason in why.values() if reason)),
            }
        )
    return found


def _apart(cell: Expected, record: Record | None) -> str | None:
    """Why a cell says nothing about its plan; None where it does."""
    if record is None:
        return "no record yet"
    if record.status != "finished":
        return record.status  # it ended early
    if not record.timing.get("epoch_seconds"):
        return "no time in its record"
    where = record.environment
    device = where.get("device") or "an unknown device"
    if device != cell.device:
        return f"ran on {device}, planned for {cell.device}"
    if device.startswith("cpu") and where.get("threads") != cell.threads:
        return f"ran on {where.get('threads')} threads, planned for {cell.threads}"
    return None
