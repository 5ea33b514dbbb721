"""The runs behind a row of a table, seed by seed, and where the record of each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ablations.analysis.rows import Row, match_rows, unknown_row_message
from ablations.analysis.study import Study
from ablations.config import naming
from ablations.errors import ConfigError
from ablations.store.records import Record
from ablations.tables import cells, provenance
from ablations.tables.ablation import WIDTH
from ablations.tables.table import Column, Table

NUMBERS = ["Seed", "Top-1 (%)", "Best", "Baseline", "Δ"]
HEADINGS = ["Run", "Seed", "Status", *NUMBERS[1:], "Commit", "Device", "Ended", "Record"]
COLUMNS = [Column(name, name, words=name not in NUMBERS) for name in HEADINGS]


def find_rows(studies: Sequence[Study], name: str) -> list[tuple[Study, Row]]:
    """The rows of all studies that ``analysis.rows.match_rows`` finds for a name.

    Raises:
        ConfigError: No row with records matches, or a name of one or two letters matches several;
            the message lists the rows.
    """
    every = [row for study in studies for row in study.rows]
    found = match_rows(every, name)
    labels = list(dict.fromkeys(row.label for row in found))
    if len(labels) > 1 and len(name.strip()) < 3:
        raise ConfigError(
            f"--explain {name!r} fits several rows: {'; '.join(labels)}: give more of a name"
        )
    if not found:
        pending = match_rows([row for study in studies for row in study.pending_rows], name)
        if pending:
            raise ConfigError(f"no run of {pending[0].label} has a record yet: `ablations status`")
        raise ConfigError(unknown_row_message(every, name))
    matched = set(map(id, found))
    return [(study, row) for study in studies for row in study.rows if id(row) in matched]


def runs_table(study: Study, row: Row, record_paths: Mapping[str, str]) -> Table:
    """The runs behind a row.

    Args:
        study: The row's study.
        row: The row.
        record_paths: Run id -> the file or address of its record.
    """
    baseline = study.baseline
    base_top1 = baseline.top1_by_seed if baseline and baseline is not row else {}
    changes = "; ".join(naming.format_transitions(row.changed)) or "nothing"
    outcome = f"Top-1 {cells.accuracy(row)}, n = {row.top1.n if row.top1 else 0}"
    if row.delta:
        delta = f"Δ {cells.row_delta(row)} {cells.interval(row.delta)}".strip()
        outcome += f"; {delta}, n = {row.delta.n}"
        if row.delta.p is not None:
            outcome += f", p = {cells.p_value(row.delta.p)}"
            if row.delta.p_corrected is not None:
                outcome += f", {cells.p_value(row.delta.p_corrected)} corrected"
    rows = [row] if baseline is None or baseline is row else [baseline, row]
    return Table(
        f"{row.label}, {study.name}",
        COLUMNS,
        [_line(record, base_top1, record_paths) for record in row.records],
        footnotes=[
            f"Against the baseline it changes {changes}.",
            f"{outcome}.",
            *provenance.provenance_notes(replace(study, rows=rows)),
        ],
        width=WIDTH,
    )


def _line(
    record: Record, base_top1: Mapping[int, float], record_paths: Mapping[str, str]
) -> dict[str, str]:
    top1, seed = record.metric(), record.config["seed"]
    compared = top1 is not None and record.done and seed in base_top1
    delta = top1 - base_top1[seed] if top1 is not None and compared else None
    failure = record.failure
    return {
        "Run": record.run_id,
        "Seed": str(seed),
        "Status": f"failed: {failure['kind']}" if failure else record.status,
        "Top-1 (%)": cells.number(top1, 1, 2),
        "Best": cells.number(record.metric(which="best"), 1, 2),
        "Baseline": cells.number(base_top1.get(seed), 1, 2),
        "Δ": cells.signed(delta, 2),
        "Commit": " ".join(provenance.commits([record])) or cells.EMPTY,
        "Device": str(record.environment.get("device", cells.EMPTY)),
        "Ended": str(record.environment.get("date", cells.EMPTY)),
        "Record": record_paths.get(record.run_id, cells.EMPTY),
    }
