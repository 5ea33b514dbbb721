"""Stage 4 of a study: compare the rows with the baseline, their controls and each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ablations.analysis import controls, stats
from ablations.analysis.row_names import NamedRows
from ablations.analysis.rows import ControlComparison, Row, row_position
from ablations.analysis.study import Study
from ablations.config import diff


def compare_rows(named: NamedRows, results: Path | None = None) -> Study:
    """Stage 4: the study, its rows compared with the baseline, with each other and their controls.

    Args:
        named: The rows.
        results: The folder of the runs, if all are in one.
    """
    key, base, index = named.baseline.group.key, named.baseline.base_config, named.baseline.index
    rows = _compare_with_controls(_compare_with_baseline(named.rows, index), index)
    seeds = [] if index is None else rows[index].top1_by_seed
    shared = diff.changed_fields(diff.flat_recipe(key.recipe), base)
    shared.pop("optim.epochs", None)  # the name of a study has it
    return Study(
        recipe=key.recipe,
        data=key.data,
        fingerprint=key.images,
        epochs=key.length.epochs,
        precision=key.precision or "unknown",
        rows=sorted(rows, key=row_position),
        base_config=base,
        baseline=None if index is None else rows[index],
        baseline_candidates=[rows[i] for i in named.baseline.candidates] if index is None else [],
        shared_changes=shared,
        best=_find_best(rows),
        results=results,
        pending_rows=[
            replace(row, missing_seeds=sorted({*seeds, *row.started_seeds}))
            for row in named.pending_rows
        ],
        cooldown=key.length.cooldown,
    )


def _compare_with_baseline(rows: Sequence[Row], index: int | None) -> list[Row]:
    """Rows with their difference from the baseline and the seeds that they lack."""
    reference = {} if index is None else rows[index].top1_by_seed
    deltas = [
        None if number == index else stats.difference(row.top1_by_seed, reference)
        for number, row in enumerate(rows)
    ]
    corrected = stats.holm_correction([delta.p if delta else None for delta in deltas])
    compared = []
    for row, delta, p in zip(rows, deltas, corrected, strict=True):
        finished = {run.config["seed"] for run in row.records if run.done}
        missing = reference.keys() - finished | {*row.started_seeds}
        compared.append(replace(row, delta=delta, p_holm=p, missing_seeds=sorted(missing)))
    return compared


def _compare_with_controls(rows: Sequence[Row], index: int | None) -> Sequence[Row]:
    """Rows with their differences from their controls, in a section of their own."""
    if index is None:
        return rows
    assigned, only_controls = controls.assign_controls(rows)
    rows = [
        replace(row, axis=controls.AXIS) if number in only_controls else row
        for number, row in enumerate(rows)
    ]
    compared = list(rows)
    for number, found in assigned.items():
        own = rows[number].top1_by_seed
        deltas = [
            ControlComparison(
                c.kind, rows[c.index], stats.difference(own, rows[c.index].top1_by_seed)
            )
            for c in found
        ]
        compared[number] = replace(rows[number], controls=deltas)
    return compared


def _find_best(rows: Sequence[Row]) -> Row | None:
    """The row with the highest mean, if it is above every other row of two seeds (Holm, 5%)."""
    best = max(rows, key=lambda row: row.top1.mean if row.top1 else -math.inf)
    others = [row for row in rows if row is not best and len(row.top1_by_seed) > 1]
    if len(best.top1_by_seed) < 2 or not others:
        return None  # one seed proves nothing
    above = [stats.difference(best.top1_by_seed, row.top1_by_seed) for row in others]
    p_values = [delta.p if delta and delta.mean > 0 else None for delta in above]
    corrected = stats.holm_correction(p_values)
    return best if all(p is not None and p < stats.ALPHA for p in corrected) else None
