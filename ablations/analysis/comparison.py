"""Stage 4 of a study: compare the rows with the baseline, their controls and each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablations.analysis import controls, stats
from ablations.analysis.images import correct_by_row
from ablations.analysis.row_names import NamedRows
from ablations.analysis.rows import ControlComparison, Row, row_position
from ablations.analysis.study import Study
from ablations.config import diff

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def compare_rows(
    named: NamedRows,
    results: Path | None = None,
    method: stats.Method | None = None,
    correct: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Study:
    """Stage 4: the study, its rows compared with the baseline, with each other and their controls.

    Args:
        named: The rows.
        results: The folder of the runs, if all are in one.
        method: How differences are tested.
        correct: Run id -> whether it has each image right, for standard errors over seeds and
            images; None for those over seeds.

    Raises:
        ConfigError: The images of a run are not known.
    """
    key, base, index = named.baseline.group.key, named.baseline.base_config, named.baseline.index
    outcomes = {row.label: row.top1_by_seed for row in named.rows}
    right = None if correct is None else correct_by_row(named.rows, correct)
    comparisons = stats.Comparisons(outcomes, method, right)
    rows = _compare_with_baseline(named.rows, index, comparisons)
    rows = _compare_with_controls(rows, index, comparisons)
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
        best=_find_best(rows, comparisons),
        comparisons=comparisons,
        results=results,
        pending_rows=[
            replace(row, missing_seeds=sorted({*seeds, *row.started_seeds}))
            for row in named.pending_rows
        ],
        cooldown=key.length.cooldown,
    )


def _compare_with_baseline(
    rows: Sequence[Row], index: int | None, comparisons: stats.Comparisons
) -> Sequence[Row]:
    """Rows with their difference from the baseline and the seeds that they lack."""
    if index is None:
        return [replace(row, missing_seeds=row.started_seeds) for row in rows]
    reference = rows[index]
    others = [row.label for row in rows if row is not reference]
    deltas = comparisons.family(others, reference.label)
    compared = []
    for row in rows:
        finished = {run.config["seed"] for run in row.records if run.done}
        missing = reference.top1_by_seed.keys() - finished | {*row.started_seeds}
        delta = deltas.get(row.label)
        compared.append(replace(row, delta=delta, missing_seeds=sorted(missing)))
    return compared


def _compare_with_controls(
    rows: Sequence[Row], index: int | None, comparisons: stats.Comparisons
) -> Sequence[Row]:
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
        own = rows[number].label
        deltas = [
            ControlComparison(
                c.kind, rows[c.index], comparisons.difference(own, rows[c.index].label)
            )
            for c in found
        ]
        compared[number] = replace(rows[number], controls=deltas)
    return compared


def _find_best(rows: Sequence[Row], comparisons: stats.Comparisons) -> Row | None:
    """The row with the highest mean, if it is above every other row of two seeds or more."""
    best = max(rows, key=lambda row: row.top1.mean if row.top1 else -math.inf)
    others = [row for row in rows if row is not best and len(row.top1_by_seed) > 1]
    if len(best.top1_by_seed) < 2 or not others:
        return None  # one seed proves nothing
    # Differences from the best have the opposite sign, and the same test.
    found = comparisons.family([row.label for row in others], best.label).values()
    above = [delta is not None and delta.mean < 0 and delta.significant for delta in found]
    return best if all(above) else None
