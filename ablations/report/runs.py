"""One run on the page: the contents of its record, and its history as curves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ablations.analysis.rows import Row
from ablations.config import diff, naming
from ablations.page import arrows
from ablations.report.curves import History, curve_svg
from ablations.store.records import Record
from ablations.tables.html_tables import Link

MAX_FULL_RUNS = 300  # with more runs, a page shows of each only what distinguishes it
METRICS = ["val/top1", "train/loss"]  # those with a curve


def link_to_run(row: Row, record: Record) -> Link:
    """A link to a run, named after its seed."""
    status = "" if record.status == "finished" else f" {record.status}"
    seed = record.config["seed"]
    title = f"{arrows(row.label)}, seed {seed}: {_result(record)}"
    return Link(f"{seed}{status}", f"run-{record.run_id}", title)


def describe_run(
    row: Row, record: Record, record_path: str, history: History, full: bool
) -> dict[str, Any]:
    """The values of a run for the template ``study.html``.

    Args:
        row: Its row.
        record: Its record.
        record_path: The file or address of the record.
        history: Its history.
        full: Whether to show everything, and not only what distinguishes it from other runs.
    """
    if full:
        config = [
            (line, line.split(" = ")[0] in row.changed)
            for group in ("model", "data", "optim", "system")
            for line in _lines(record.config.get(group, {}), f"{group}.")
        ]
    else:
        config = [
            (line, False)
            for line in naming.format_assignments(diff.changes_from_recipe(record.config))
        ]
    groups = {
        "Environment": record.environment,
        "Cost": record.cost,
        "Time": record.timing,
        "Data": record.data,
        "W&B": record.tracker,
    }
    curves = [(name, curve_svg(history, name)) for name in METRICS if full]
    return {
        "record": record,
        "result": _result(record),
        "record_path": record_path,
        "metrics": [
            (name, *(_number(values.get(which)) for which in ("last", "best")))
            for name, values in sorted(record.metrics.items())
        ],
        "facts": [
            (name, "\n".join(_lines(group))) for name, group in groups.items() if group and full
        ],
        "config": config,
        "curves": [(name, drawn) for name, drawn in curves if drawn],
    }


def _result(record: Record) -> str:
    top1 = record.metric()
    result = f"{top1:.2f}% top-1" if top1 is not None else "no result"
    return result if record.status == "finished" else f"{result}, {record.status}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _lines(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """``name = value`` for each leaf of a mapping."""
    for name, value in sorted(tree.items()):
        if isinstance(value, Mapping):
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {json.dumps(value, ensure_ascii=False)}"
