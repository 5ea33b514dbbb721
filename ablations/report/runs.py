"""One run on the page: the contents of its record, and its history as curves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ablations.analysis.rows import Row
from ablations.config import diff, naming
from ablations.page import arrows
from ablations.report.curves import History, curve_svg
from ablations.store.records import Record
from ablations.tables.html_tables import Link

MAX_FULL_RUNS = 300  # with more runs, a page shows of each only what distinguishes it
METRICS = ["val/top1", "train/loss"]  # those with a curve


@dataclass(frozen=True)
class RunDetails:
    """A run as the template has it.

    Args:
        target: The id of its element.
        result: Its top-1, or its status.
        failure: Why it failed; empty if it did not.
        record_path: The file or address of its record.
        metrics: Name, last and best value.
        facts: Heading and lines: where and how it ran, and its costs.
        config: Lines of its config, each with whether it is a change against the baseline.
        curves: Metric and plot.
    """

    target: str
    seed: int
    run_id: str
    status: str
    result: str
    failure: str
    record_path: str
    metrics: list[tuple[str, str, str]]
    facts: list[tuple[str, str]]
    config: list[tuple[str, bool]]
    curves: list[tuple[str, Markup]]


def target(run_id: str) -> str:
    """The id of a run's element."""
    return f"run-{run_id}"


def link_to_run(row: Row, record: Record) -> Link:
    """A link to a run, named after its seed."""
    status = "" if record.status == "finished" else f" {record.status}"
    seed = record.config["seed"]
    title = f"{arrows(row.label)}, seed {seed}: {_result(record)}"
    return Link(f"{seed}{status}", target(record.run_id), title)


def describe_run(
    row: Row, record: Record, record_path: str, history: History, full: bool
) -> RunDetails:
    """A run in full, or (``full`` is false) only what distinguishes it from others."""
    changed = set(row.changed)
    if full:
        config = [
            (line, line.split(" = ")[0] in changed)
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
    failure = record.failure
    return RunDetails(
        target=target(record.run_id),
        seed=record.config["seed"],
        run_id=record.run_id,
        status=record.status,
        result=_result(record),
        failure=f"{failure['kind']}: {failure['message']}" if failure else "",
        record_path=record_path,
        metrics=[
            (name, _number(values.get("last")), _number(values.get("best")))
            for name, values in sorted(record.metrics.items())
        ],
        facts=[(heading, "\n".join(_lines(group))) for heading, group in groups.items() if group]
        if full
        else [],
        config=config,
        curves=[(name, drawn) for name in METRICS if full and (drawn := curve_svg(history, name))],
    )


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
