"""A study: rows that may be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ablations.analysis import stats
from ablations.analysis.rows import Row
from ablations.config import diff
from ablations.config.diff import Changes
from ablations.paper import matching
from ablations.store.records import Record
from ablations.text.phrases import pluralize


@dataclass(frozen=True, eq=False)
class Study:
    """Rows that may be compared, in the order of the paper's table; the baseline comes first.

    Args:
        recipe: The recipe of all runs.
        data: The name of the data set.
        fingerprint: Of the images.
        epochs: How long a run trains.
        precision: What the runs compute in.
        rows: One per variant.
        base_config: The flat config that the rows are compared with: the baseline's, or without
            one the recipe's with what all rows share.
        baseline: The row that the others are compared with; None where there is none.
        baseline_candidates: Where more than one row could be the baseline: those.
        shared_changes: What the baseline, and so every row, changes against the recipe.
        best: The row with the highest mean, where it is above every other row of two seeds or more
            with 95% confidence.
        results: The folder of the runs, if all are in one; None for the default folder.
        pending_rows: Rows whose runs have started and have no record yet.
        cooldown: Epochs of the cool-down, where they are not the recipe's.
        comparisons: The differences between its rows, by label.
        plan_note: How its seeds were added, if a plan says so.
    """

    recipe: str
    data: str
    fingerprint: str
    epochs: int
    precision: str
    rows: Sequence[Row]
    base_config: Mapping[str, Any]
    baseline: Row | None = None
    baseline_candidates: Sequence[Row] = ()
    shared_changes: Changes = field(default_factory=dict)
    best: Row | None = None
    results: Path | None = None
    pending_rows: Sequence[Row] = ()
    cooldown: int | None = None
    comparisons: stats.Comparisons = field(default_factory=lambda: stats.Comparisons({}))
    plan_note: str = ""

    def difference(self, row: Row, other: Row) -> stats.Difference | None:
        """Row minus other in top-1 points, tested alone; None where either has no result."""
        return self.comparisons.difference(row.label, other.label)

    @cached_property
    def ordinary_differences(self) -> Mapping[str, stats.Difference | None]:
        """Label -> the row's difference from the baseline by the ordinary t test, with Holm's p."""
        if self.baseline is None:
            return {}
        rows = {row.label: row.top1_by_seed for row in self.rows}
        method = stats.Method(stats.SignificanceTest.ORDINARY)
        ordinary = stats.Comparisons(rows, method, self.comparisons.correct)
        others = [label for label in rows if label != self.baseline.label]
        return ordinary.family(others, self.baseline.label)

    @property
    def training_length(self) -> str:
        """How long its runs train, in words."""
        text = pluralize(self.epochs, "epoch")
        if self.cooldown is not None:
            text += f" and {pluralize(self.cooldown, 'epoch')} of cool-down"
        return text

    @property
    def records(self) -> list[Record]:
        """All runs of all rows."""
        return [record for row in self.rows for record in row.records]

    @property
    def name(self) -> str:
        """Its recipe, images, length and precision, in words."""
        images = f"{self.data} ({self.fingerprint[:8]})" if self.fingerprint else self.data
        length = self.training_length
        return f"recipe {self.recipe}, data {images}, {length}, {self.precision} precision"

    @property
    def has_paper_baseline(self) -> bool:
        """Whether the baseline is the paper's, in the fields that the paper's rows change."""
        if self.baseline is None or baseline_changes_training(self.recipe, self.rows):
            return False
        return not matching.changes_from_paper(self.recipe, {}, self.base_config)

    def no_baseline_reason(self, locations: Mapping[str, str]) -> str | None:
        """Why there are no differences, in one line; None where there are, or for a single row.

        Args:
            locations: Run id -> the file or address of its record.
        """
        if self.baseline is not None or len(self.rows) < 2:
            return None
        runs = [row.records[0] for row in self.baseline_candidates or self.rows]
        files = ", ".join(locations.get(run.run_id, run.run_id) for run in runs)
        if self.baseline_candidates:
            return (
                f"differences of {self.name}: each of {files} could be of the baseline: choose "
                "with --baseline RUN_ID"
            )
        return f"differences of {self.name}: none of {files} is of a baseline"


def baseline_changes_training(recipe: str, rows: Iterable[Row]) -> bool:
    """Whether the baseline changes the recipe's training and another row does not.

    A training change that all rows share belongs to the study; one that only the baseline has means
    that a user has chosen this baseline, and another row changes it back to the recipe's value.
    """
    default = diff.flat_recipe(recipe)
    return any(
        not field.startswith("model.") and after == default.get(field)
        for row in rows
        for field, (_, after) in row.changed.items()
    )
