"""Load results folders: the records that a table can use, and a line for each that it cannot."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations.config.resolve import unknown_recipe
from ablations.config.schema import run_id_of
from ablations.store import records
from ablations.store.records import LocatedRecord, Record

MAIN_METRIC = "val/top1"
# Metrics of detectors and segmenters, in percent: table of the paper -> its column -> metric of a
# record. A finished record of a table has at least its first metric.
TASK_METRICS = {
    "retinanet": {
        "AP": "val/AP",
        "AP50": "val/AP50",
        "AP75": "val/AP75",
        "APS": "val/AP_small",
        "APM": "val/AP_medium",
        "APL": "val/AP_large",
    },
    "maskrcnn": {
        "APb": "val/box_AP",
        "APb50": "val/box_AP50",
        "APb75": "val/box_AP75",
        "APm": "val/mask_AP",
        "APm50": "val/mask_AP50",
        "APm75": "val/mask_AP75",
    },
    "ade20k": {"mIoU": "val/mIoU"},
}
_PERCENT_METRICS = {MAIN_METRIC}.union(*(metrics.values() for metrics in TASK_METRICS.values()))
_FIRST_METRICS = {task: next(iter(metrics.values())) for task, metrics in TASK_METRICS.items()}
NO_PRECISION_MESSAGE = "it is done and has no environment.precision, so it cannot be compared"


@dataclass
class LoadResult:
    """The records that were loaded, and those that were left out.

    Args:
        records: One per run id.
        origins: Run id -> the file or address of its record.
        problems: A line for each record that was left out; it names the file.
    """

    records: list[Record] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@contextlib.contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pause garbage collection, which takes a fifth of the time to load many records.

    Records contain no reference cycles.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def load_records(folders: Sequence[Path]) -> LoadResult:
    """The usable records in results folders.

    Raises:
        RecordError: A folder does not exist.
    """
    found, problems = records.read_all_records(folders)
    return select_usable_records(found, problems + empty_folders(folders))


def empty_folders(folders: Iterable[Path]) -> list[str]:
    """A line for each folder that has no records."""
    files = f"*/{records.RECORD_FILE}"
    return [f"{folder} has no records" for folder in folders if not any(folder.glob(files))]


def select_usable_records(
    found: Iterable[LocatedRecord], problems: Sequence[str] = ()
) -> LoadResult:
    """The records that a table can use, one per run id.

    Args:
        found: Records and their origins.
        problems: Lines of records that are left out already.
    """
    usable, left_out = [], list(problems)
    for record, origin in found:
        if problem := record_problem(record):
            left_out.append(f"{origin}: {problem}")
        else:
            usable.append((record, origin))
    merged, contradictions = records.merge_records(usable)
    return LoadResult(
        [record for record, _ in merged],
        {record.run_id: origin for record, origin in merged},
        left_out + contradictions,
    )


def record_problem(record: Record) -> str | None:
    """Why a record cannot be used; None where it can."""
    if problem := config_problem(record.config, record.run_id, record.variant):
        return problem
    if record.done and not record.environment.get("precision"):
        return NO_PRECISION_MESSAGE
    for name, values in record.metrics.items():
        for value in values.values():
            if name in _PERCENT_METRICS and not 0 <= value <= 100:
                return f"{name} {value} is not a percentage, 0 to 100"
    outcomes = [MAIN_METRIC, *_FIRST_METRICS.values()]
    if record.status == "finished" and all(record.metric(name) is None for name in outcomes):
        return f"it is finished and has no {MAIN_METRIC} (nor {', '.join(outcomes[1:])})"
    return None


def config_problem(
    config: Mapping[str, Any], run_id: str, variant: str | None = None
) -> str | None:
    """Why a config does not belong to a run; None where it does.

    Args:
        config: JSON values of the right types.
        run_id: The run.
        variant: Its ``variant_key``, if that is known.
    """
    if problem := unknown_recipe(config["recipe"]):
        return problem
    if run_id_of(config, variant) != run_id:
        return f"its config does not match its run_id {run_id}"
    return None


def record_task(record: Record) -> str | None:
    """The table of ``TASK_METRICS`` that a record belongs to; None for classifiers."""
    if record.metric(MAIN_METRIC) is not None:
        return None
    tasks = (task for task, first in _FIRST_METRICS.items() if record.metric(first) is not None)
    return next(tasks, None)
