"""What is behind a cell: the runs of a row, seed by seed, and where each lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ablations.analysis.rows import Row, match_rows, unknown_row_message
from ablations.analysis.study import Study
from ablations.errors import ConfigError
from ablations.store.records import Record
from ablations.tables import provenance
from ablations.tables.ablation import accuracy_text, difference_text, interval_text
from ablations.tables.table import MISSING, Table, number_text, p_value_text, signed_text


def find_rows(studies: Sequence[Study], name: str) -> list[tuple[Study, Row]]:
    """The rows of all studies that a name is of, as ``rows.match_rows`` has it.

    Raises:
        ConfigError: No row with records has it, or one or two letters that are of several; lists
            the rows.
    """
    every = [row for study in studies for row in study.rows]
    found = match_rows(every, name)
    labels = list(dict.fromkeys(row.label for row in found))
    if len(labels) > 1 and len(name.strip()) < 3:
        raise ConfigError(
            f"--explain {name!r} fits several rows: {'; '.join(labels)}: give more of a name"
        )
    if not found:
        begun = match_rows([row for study in studies for row in study.pending_rows], name)
        if begun:
            raise ConfigError(f"no run of {begun[0].label} has a record yet: `ablations status`")
        raise ConfigError(unknown_row_message(every, name))
    behind = set(map(id, found))
    return [(study, row) for study in studies for row in study.rows if id(row) in behind]


def runs_table(study: Study, row: Row, places: Mapping[str, str]) -> Table:
    """The runs behind a row.

    Args:
        study: The row's study.
        row: The row.
        places: Run id -> the file or address of its record.
    """
    against = study.baseline.top1_by_seed if study.baseline and study.baseline is not row else {}
    lines = [_line(record, against, places) for record in row.records]
    others = f" with {', '.join(row.also_changes)}" if row.also_changes else ""
    words = ["Run", "Status", "Record", "Commit", "Device", "Ended"]
    table = Table(f"{row.label}{others}: {study.name}", pd.DataFrame(lines), words)
    changed = "; ".join(
        f"{name} {before!r} -> {after!r}" for name, (before, after) in row.changed.items()
    )
    table.foot.append(f"Against the baseline it changes {changed or 'nothing'}.")
    told = f"Top-1 {accuracy_text(row)}, n = {row.top1.n if row.top1 else 0}"
    if row.delta:
        delta = f"Δ {difference_text(row)} {interval_text(row.delta)}".strip()
        told += f"; {delta}, n = {row.delta.n}"
        if row.delta.p is not None:
            told += f", p = {p_value_text(row.delta.p)}, {p_value_text(row.p_holm)} by Holm"
    base = study.baseline
    rows = [row] if base is None or base is row else [base, row]
    table.foot += [f"{told}.", *provenance.provenance_notes(replace(study, rows=rows))]
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
        "Top-1 (%)": number_text(top1, 1, 2),
        "Best": number_text(record.metric(which="best"), 1, 2),
        "Baseline": number_text(against.get(seed), 1, 2),
        "Δ": signed_text(top1 - against[seed], 2) if top1 is not None and both else MISSING,
        "Commit": " ".join(provenance.commits([record])) or MISSING,
        "Device": str(record.environment.get("device", MISSING)),
        "Ended": str(record.environment.get("date", MISSING)),
        "Record": places.get(record.run_id, MISSING),
    }
