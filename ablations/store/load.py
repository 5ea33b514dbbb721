"""Folders of results -> the records that a table can use, and a line for each that it cannot."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations.config.resolve import FIELDS, unknown_recipe
from ablations.config.schema import run_id_of
from ablations.store import records
from ablations.store.records import LocatedRecord, Record

MAIN_METRIC = "val/top1"
# The outcomes of detectors and segmenters, in percent: a table of the paper -> its column -> the
# metric of a record. A record of any table has its first.
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
_PERCENT_METRICS = {
    MAIN_METRIC,
    *(metric for metrics in TASK_METRICS.values() for metric in metrics.values()),
}
NO_PRECISION_MESSAGE = "it is done and has no environment.precision, so nothing compares with it"
# A config of another version of this program may lack some; no row can be named without them.
_REQUIRED_FIELDS = {
    group: {name.removeprefix(f"{group}.") for name in FIELDS if name.startswith(f"{group}.")}
    for group in ("model", "data", "optim")
}


@dataclass
class LoadResult:
    """What was read, and what was left out.

    Args:
        records: One a run id.
        places: The file or address of each, by run id.
        problems: A line for each that is left out; it names the file.
    """

    records: list[Record] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@contextlib.contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Records make no cycles; looking for them among very many takes a fifth of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def load_records(folders: Sequence[Path]) -> LoadResult:
    """The usable records in folders of results.

    Raises:
        RecordError: A folder does not exist.
    """
    found, problems, empty = read_records_by_folder(folders)
    return select_usable_records(found, problems + empty)


def read_records_by_folder(
    folders: Sequence[Path],
) -> tuple[list[LocatedRecord], list[str], list[str]]:
    """As ``records.read_all_records``, and a line for each folder that has no record at all.

    Raises:
        RecordError: A folder does not exist.
    """
    found: list[LocatedRecord] = []
    problems: list[str] = []
    empty: list[str] = []
    for folder in folders:
        there, broken = records.read_all_records([folder])
        if not there and not broken:
            empty.append(f"{folder} has no records")
        found += there
        problems += broken
    return found, problems, empty


def select_usable_records(
    found: Iterable[LocatedRecord], problems: Sequence[str] = ()
) -> LoadResult:
    """The records that a table can use, one a run id.

    Args:
        found: Records and where they come from.
        problems: What is known to be left out already.
    """
    good, told = [], list(problems)
    for record, place in found:
        if problem := record_problem(record):
            told.append(f"{place}: {problem}")
        else:
            good.append((record, place))
    merged, differing = records.merge_records(good)
    return LoadResult(
        [record for record, _ in merged],
        {record.run_id: place for record, place in merged},
        told + differing,
    )


def record_problem(record: Record) -> str | None:
    """Why a record cannot be used, in words; None where it can."""
    if problem := config_problem(record.config, record.run_id, record.variant):
        return problem
    if record.done and not record.environment.get("precision"):
        return NO_PRECISION_MESSAGE
    for name, values in record.metrics.items():
        for value in values.values():
            if name in _PERCENT_METRICS and not 0 <= value <= 100:
                return f"{name} {value} is not in percent, 0 to 100"
    if (
        record.status == "finished"
        and record.metric(MAIN_METRIC) is None
        and record_task(record) is None
    ):
        others = ", ".join(next(iter(metrics.values())) for metrics in TASK_METRICS.values())
        return f"it is finished and has no {MAIN_METRIC} (nor {others})"
    return None


def config_problem(
    config: Mapping[str, Any], run_id: str, variant: str | None = None
) -> str | None:
    """Why a config is not that of a run, in words; None where it is.

    Args:
        config: As JSON values of the right types.
        run_id: The run.
        variant: Its ``variant_of``, where that is known.
    """
    if problem := unknown_recipe(config["recipe"]):
        return problem
    for group, names in _REQUIRED_FIELDS.items():
        if not config[group].keys() >= names:
            return f"its config lacks {group}.{min(names - config[group].keys())}"
    if run_id_of(config, variant) != run_id:
        return f"its config does not give its run_id {run_id}"
    return None


def record_task(record: Record) -> str | None:
    """The table of TASKS that a record is of; None where it classifies, or has no outcome."""
    if record.metric(MAIN_METRIC) is not None:
        return None
    outcomes = {name: next(iter(metrics.values())) for name, metrics in TASK_METRICS.items()}
    return next(
        (name for name, first in outcomes.items() if record.metric(first) is not None), None
    )
