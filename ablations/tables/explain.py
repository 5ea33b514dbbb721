"""What is behind a cell: the runs of a row, seed by seed, and where each lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ablations.records import Record
from ablations.rows import Row, Study
from ablations.tables import provenance
from ablations.tables.ablation import accuracy, difference, interval
from ablations.tables.table import MISSING, Table, number, p_value, signed
from poolformer.config import ConfigError, unknown


def find(studies: Sequence[Study], name: str) -> list[tuple[Study, Row]]:
    """The rows that a name is of, in all studies.

    These are the rows of that very label; without one, those whose label has the words in it;
    without one, those that change a field of that name or value, or have a run of that id.

    Raises:
        ConfigError: No row has it, or one or two letters that are of several; lists the rows.
    """
    every = [(study, row) for study in studies for row in study.rows]
    words = name.strip().lower()
    searched = (
        lambda row: words == row.label.lower(),
        lambda row: words in row.label.lower(),
        lambda row: any(words in text for text in _changes(row)),
        lambda row: any(words == record.run_id for record in row.records),
    )
    for has in searched:
        found = [(study, row) for study, row in every if has(row)]
        labels = list(dict.fromkeys(row.label for _, row in found))
        if len(labels) > 1 and len(words) < 3:
            raise ConfigError(
                f"--explain {name!r} fits several rows: {', '.join(labels)}: give more of a name"
            )
        if found:
            return found
    raise ConfigError(unknown("row", name, dict.fromkeys(row.label for _, row in every)))


def _changes(row: Row) -> list[str]:
    """What a row changes, as a user may spell it: ``model.norm=batch``, ``norm batch``."""
    return [
        f"{field} {field}={after} {field.rpartition('.')[2]} {after}".lower()
        for field, (_, after) in row.changed.items()
    ]


def explain(study: Study, row: Row, places: Mapping[str, str]) -> Table:
    """The runs behind a row.

    Args:
        study: The row's study.
        row: The row.
        places: Run id -> the file or address of its record.
    """
    against = study.baseline.values if study.baseline and study.baseline is not row else {}
    lines = [_line(record, against, places) for record in row.records]
    others = f" with {', '.join(row.also)}" if row.also else ""
    words = ["Run", "Status", "Record", "Commit", "Device", "Ended"]
    table = Table(f"{row.label}{others}: {study.name}", pd.DataFrame(lines), words)
    changed = "; ".join(
        f"{name} {before!r} -> {after!r}" for name, (before, after) in row.changed.items()
    )
    table.foot.append(f"Against the baseline it changes {changed or 'nothing'}.")
    told = f"Top-1 {accuracy(row)}, n = {row.top1.n if row.top1 else 0}"
    if row.delta:
        delta = f"Δ {difference(row)} {interval(row.delta)}".strip()
        told += f"; {delta}, n = {row.delta.n}"
        if row.delta.p is not None:
            told += f", p = {p_value(row.delta.p)}, {p_value(row.p)} by Holm"
    base = study.baseline
    rows = [row] if base is None or base is row else [base, row]
    table.foot += [f"{told}.", *provenance.lines(replace(study, rows=rows))]
    return table


def _line(
    record: Record, against: Mapping[int, float], places: Mapping[str, str]
) -> dict[str, str]:
    top1, seed = record.metric(), record.config["seed"]
    both = top1 is not None and record.done and seed in against
    failure = record.failure
    return {
        "Run": record.run_id,
        "Seed": str(seed),
        "Status": f"failed: {failure['kind']}" if failure else record.status,
        "Top-1 (%)": number(top1, 1, 2),
        "Best": number(record.metric(which="best"), 1, 2),
        "Baseline": number(against.get(seed), 1, 2),
        "Δ": signed(top1 - against[seed], 2) if top1 is not None and both else MISSING,
        "Commit": " ".join(provenance.commits([record])) or MISSING,
        "Device": str(record.environment.get("device", MISSING)),
        "Ended": str(record.environment.get("date", MISSING)),
        "Record": places.get(record.run_id, MISSING),
    }
