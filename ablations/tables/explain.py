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
from poolformer.config import ConfigError, nearest


def find(studies: Sequence[Study], name: str) -> list[tuple[Study, Row]]:
    """The rows with a label, or with the one label that contains the words, of all studies.

    Raises:
        ConfigError: No label has it, or several.
    """
    every = [row.label for study in studies for row in study.rows]
    wanted = [label for label in dict.fromkeys(every) if label.lower() == name.lower()]
    wanted = wanted or [label for label in dict.fromkeys(every) if name.lower() in label.lower()]
    if not wanted:
        raise ConfigError(nearest("row", name, list(dict.fromkeys(every)), "the table lists them"))
    if len(wanted) > 1:
        raise ConfigError(f"--explain {name!r} fits several rows: {'; '.join(wanted)}")
    return [(study, row) for study in studies for row in study.rows if row.label == wanted[0]]


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
