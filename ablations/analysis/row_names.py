"""Stage 3 of a study: one row per variant, with its axis, label and row of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ablations.analysis import stats
from ablations.analysis.baseline import Baseline
from ablations.analysis.rows import Row
from ablations.analysis.study import baseline_changes_training
from ablations.config import diff, naming
from ablations.config.diff import Changes
from ablations.config.schema import run_id_of
from ablations.paper import matching
from ablations.store.records import Record


@dataclass(frozen=True)
class NamedRows:
    """The rows of a study before they are compared: one per variant, with unique labels."""

    baseline: Baseline
    rows: Sequence[Row]
    pending_rows: Sequence[Row]


def name_rows(baseline: Baseline, launched: Iterable[Mapping[str, Any]] = ()) -> NamedRows:
    """Stage 3: the rows of a group, with axis, label and the paper's row.

    Args:
        baseline: What they are compared with.
        launched: Configs of runs that have started and have no record.
    """
    recipe, base = baseline.group.key.recipe, baseline.base_config
    rows = [
        _row(recipe, diff.changed_fields(base, config), config, runs)
        for config, runs in zip(baseline.configs, baseline.variants, strict=True)
    ]
    rows = _beside_paper(baseline, _with_unique_labels(rows))
    for run in launched:
        config = diff.flat_config(run)
        changed = diff.changed_fields(base, config)
        index = next((i for i, row in enumerate(rows) if row.changed == changed), None)
        if index is None:
            rows.append(replace(_row(recipe, changed, config, []), config=run))
            index = -1
        rows[index] = replace(rows[index], started_seeds=[*rows[index].started_seeds, run["seed"]])
    rows = _with_unique_labels(rows)
    count = len(baseline.variants)
    return NamedRows(baseline, rows[:count], rows[count:])


def _row(recipe: str, changed: Changes, config: Mapping[str, Any], runs: Sequence[Record]) -> Row:
    axis, label, paper = matching.describe_variant(recipe, changed, config)
    complete = naming.names_all_changes(recipe, changed, config)
    row = Row(axis, label, changed, runs, paper, complete)
    return replace(row, top1=stats.spread(list(row.top1_by_seed.values())))


def _beside_paper(baseline: Baseline, rows: Sequence[Row]) -> list[Row]:
    """Give rows the paper's differences from the paper's row that the study's baseline is."""
    recipe = baseline.group.key.recipe
    other_training = baseline_changes_training(recipe, rows)
    if baseline.index is None or not (
        other_training or matching.changes_from_paper(recipe, {}, baseline.base_config)
    ):
        return list(rows)  # the paper's own differences apply
    base = None if other_training else rows[baseline.index].paper
    if base is None:  # the paper compares none of its rows with this baseline
        return [replace(row, paper=None) for row in rows]
    return [
        replace(row, paper=replace(row.paper, delta=round(row.paper.top1 - base.top1, 1)))
        if row.paper
        else row
        for row in rows
    ]


def _with_unique_labels(rows: Sequence[Row]) -> list[Row]:
    """Extend the labels that several rows have: by all changes, then by a run id."""
    rows = list(rows)
    suffixes: tuple[Callable[[Row], str], ...] = (
        lambda row: ", ".join(naming.format_assignments(row.changed)) or "as it is",
        lambda row: row.records[0].run_id if row.records else run_id_of(row.config or {}),
    )
    for suffix in suffixes:
        count = Counter(row.label for row in rows)
        rows = [
            replace(row, label=f"{row.label} ({suffix(row)})", label_is_complete=True)
            if count[row.label] > 1
            else row
            for row in rows
        ]
    return rows
