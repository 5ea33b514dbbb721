"""What a row of a table is (a variant with its runs), and a study: rows that may be compared.

They hold what was found; ``ablations.analysis.study`` finds it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ablations.analysis import controls, stats
from ablations.config import diff, naming
from ablations.config.diff import Changes
from ablations.paper import matching
from ablations.paper.published import PaperRow
from ablations.store.load import MAIN_METRIC
from ablations.store.records import Record
from ablations.text.phrases import pluralize
from poolformer.config import unknown_name

# Axes in the order of the paper's table; what it lacks follows.
AXIS_ORDER = [
    naming.BASELINE,
    "Token mixers",
    "Normalization",
    "Activation",
    "Other components",
    naming.HYBRID,
    controls.AXIS,
    "Model size",
]


@dataclass(frozen=True)
class ControlComparison:
    """A row's difference from a control of it.

    Args:
        kind: What the control shares with the row besides the axis: one of ``controls.KINDS``.
        control: The control's row.
        delta: Difference in points; None where either has no result.
    """

    kind: str
    control: Row
    delta: stats.Difference | None


@dataclass
class Row:
    """One variant with its runs.

    Args:
        changed: Its changes against the study's baseline.
        records: Its runs, by seed; none for a row of the paper that the study lacks.
        paper: The paper's row of the same change, if it has one.
        top1: Mean and spread of ``val/top1`` in percent over the runs that have it.
        delta: Difference from the baseline in points; None where either has no result.
        p_holm: The p-value of ``delta`` after Holm's correction over the study.
        missing_seeds: Seeds that the baseline has a result of and this row has not.
        controls: Its differences from its controls.
        bootstrap: A 95% bootstrap interval of the mean in percent, where it was asked for.
        label_is_complete: Whether the label tells all changes.
        started_seeds: Seeds of runs that were begun and have no record.
        config: Of a row without records: that of a run of it.
    """

    axis: str
    label: str
    changed: Changes
    records: list[Record]
    paper: PaperRow | None = None
    top1: stats.Spread | None = None
    delta: stats.Difference | None = None
    p_holm: float | None = None
    missing_seeds: list[int] = field(default_factory=list)
    controls: list[ControlComparison] = field(default_factory=list)
    bootstrap: tuple[float, float] | None = None
    label_is_complete: bool = False
    started_seeds: list[int] = field(default_factory=list)
    config: Mapping[str, Any] | None = None

    def count(self, status: str) -> int:
        """Runs with a status."""
        return sum(record.status == status for record in self.records)

    @property
    def failures(self) -> Counter[str]:
        """How many runs failed, by kind."""
        return Counter(record.failure["kind"] for record in self.records if record.failure)

    @property
    def also_changes(self) -> list[str]:
        """Changes that its name leaves out, in words: those that go with a row of the paper."""
        return [] if self.label_is_complete else naming.other_change_labels(self.changed)

    @cached_property
    def top1_by_seed(self) -> dict[int, float]:
        """Seed -> final top-1 in percent, of the runs that have one."""
        found = {run.config["seed"]: run.metric(MAIN_METRIC) for run in self.records if run.done}
        return {seed: value for seed, value in found.items() if value is not None}

    @property
    def cost(self) -> dict[str, Any]:
        """What a model of the row costs, of the first run that knows; empty where none does."""
        return next((record.cost for record in self.records if record.cost), {})

    @property
    def control(self) -> ControlComparison | None:
        """Its difference from the control that shares most with it: all but the axis, if there is.

        Else the one with its other changes, else the one of its size.
        """
        wanted = (controls.BOTH, controls.RECIPE, controls.SIZE)
        found = {each.kind: each for each in self.controls}
        return next((found[kind] for kind in wanted if kind in found), None)

    @property
    def minimum_effect(self) -> float | None:
        """The smallest true difference in points that its seeds find with 80% power, at 5%."""
        if self.delta is None or self.delta.std is None:
            return None
        pairs = None if self.delta.paired else self.delta.n_baseline
        return stats.minimum_effect(self.delta.std, self.delta.n, pairs)


@dataclass
class Study:
    """Rows that may be compared, the baseline first, in the paper's order.

    Args:
        baseline: The row that the others are compared with; None where there is none.
        baseline_candidates: Where more than one row could be the baseline: those.
        shared_changes: What the baseline, and so every row, changes against the recipe.
        best: The row of the highest mean, where it is above every other row of two seeds or more
            with 95% confidence.
        results: The folder of its runs, where more of them belong; None for the default.
        base_config: The flat config that rows are named against: the baseline's, or without one the
            recipe's with what all rows share.
        pending_rows: Rows of which no run has a record yet.
        cooldown: Epochs of the cool-down, where they are not the recipe's.
    """

    recipe: str
    data: str
    fingerprint: str
    epochs: int
    precision: str
    rows: list[Row] = field(default_factory=list)
    baseline: Row | None = None
    baseline_candidates: list[Row] = field(default_factory=list)
    shared_changes: Changes = field(default_factory=dict)
    best: Row | None = None
    results: Path | None = None
    base_config: dict[str, Any] = field(default_factory=dict)
    pending_rows: list[Row] = field(default_factory=list)
    cooldown: int | None = None

    @property
    def training_length(self) -> str:
        """How long its runs train, in words."""
        told = pluralize(self.epochs, "epoch")
        if self.cooldown is not None:
            told += f" and {pluralize(self.cooldown, 'epoch')} of cool-down"
        return told

    @property
    def records(self) -> list[Record]:
        """All runs of all rows."""
        return [record for row in self.rows for record in row.records]

    def no_baseline_reason(self, places: Mapping[str, str]) -> str | None:
        """Why there are no differences, in a line with files; None where there are, or is one row.

        Args:
            places: Run id -> the file or address of its record.
        """
        if self.baseline is not None or len(self.rows) < 2:
            return None
        runs = [row.records[0] for row in self.baseline_candidates or self.rows]
        files = ", ".join(places.get(run.run_id, run.run_id) for run in runs)
        if self.baseline_candidates:
            return (
                f"differences of {self.name}: each of {files} could be of the baseline: choose "
                "with --baseline RUN_ID"
            )
        return f"differences of {self.name}: none of {files} is of a baseline"

    @property
    def has_paper_baseline(self) -> bool:
        """Whether the baseline is the paper's, in the fields that the paper's rows change."""
        if self.baseline is None or self.baseline_changes_training:
            return False
        return not matching.changes_from_paper(self.recipe, {}, self.base_config)

    @property
    def baseline_changes_training(self) -> bool:
        """Whether the baseline changes the recipe's training and another row does not.

        What all rows change is the study's own; this is a baseline that a user has chosen.
        """
        default = diff.flat_recipe(self.recipe)
        return any(
            not field.startswith("model.") and after == default.get(field)
            for row in self.rows
            for field, (_, after) in row.changed.items()
        )

    @property
    def name(self) -> str:
        """What tells it from other studies, in words."""
        images = f"{self.data} ({self.fingerprint[:8]})" if self.fingerprint else self.data
        length = self.training_length
        return f"recipe {self.recipe}, data {images}, {length}, {self.precision} precision"


def row_position(row: Row) -> tuple[Any, ...]:
    """Where a row stands: in the paper's order, what it lacks under its axis, numbers by size."""
    known = row.axis in AXIS_ORDER
    paper = row.paper or (matching.find_paper_row(row.changed) if row.changed else None)
    paper = paper or matching.row_of(row.label)
    position = paper.position if paper and row.axis == paper.axis else float("inf")
    several = 2 if row.axis == naming.SEVERAL else 1 if " + " in row.axis else 0
    return (
        AXIS_ORDER.index(row.axis) if known else len(AXIS_ORDER) + several,
        "" if known else row.axis,
        position,
        [float(p) if i % 2 else p for i, p in enumerate(re.split(r"(\d+(?:\.\d+)?)", row.label))],
    )


def match_rows(rows: Sequence[Row], words: str) -> list[Row]:
    """The rows that a user means: ``Pooling -> Identity mapping``, ``identity``, ``norm=batch``.

    These are the rows of that very label; without one, those with a run of that id or name; without
    one, those whose label has the words in it; without one, those that change a field to such a
    value; without one, those of a section.
    """
    text = _simple(words)
    searched: tuple[Callable[[Row], bool], ...] = (
        lambda row: text == _simple(row.label),
        lambda row: any(
            text in (run.run_id, _simple(naming.run_name(run.config))) for run in row.records
        ),
        lambda row: text in _simple(row.label),
        lambda row: any(text in told for told in _spelled(row.changed)),
        lambda row: text == _simple(row.axis),
    )
    return next(filter(None, ([row for row in rows if has(row)] for has in searched)), [])


def unknown_row_message(rows: Iterable[Row], words: str) -> str:
    """One line for words that mean no row: the nearest labels, then all of them."""
    every = list(dict.fromkeys(row.label for row in rows))
    near = unknown_name("row", words, every, "")
    return f"{near.rstrip(': ')}; the rows are: {'; '.join(every)}"


def _simple(text: str) -> str:
    return " ".join(text.replace("→", "->").split()).casefold()


def _spelled(changed: Changes) -> list[str]:
    """Changes as a user may spell them: ``model.norm=batch``, ``norm batch``."""
    pairs = zip(changed.items(), naming.format_assignments(changed), strict=True)
    return [
        f"{field} {field}={after} {field.rpartition('.')[2]} {after} {told}".lower()
        for (field, (_, after)), told in pairs
    ]
