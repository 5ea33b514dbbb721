"""A row of a table: one variant with its runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ablations.analysis import controls, stats
from ablations.analysis.stats import sensitivity
from ablations.config import naming
from ablations.config.diff import Changes
from ablations.paper import matching, published
from ablations.paper.published import PaperRow
from ablations.store.load import MAIN_METRIC
from ablations.store.records import Record
from poolformer.config import unknown_name

# Axes in the order of the paper's table; axes that it does not have come after them.
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


@dataclass(frozen=True, eq=False)
class ControlComparison:
    """A row's difference from one of its controls.

    Args:
        kind: What the control shares with the row besides the axis: one of ``controls.KINDS``.
        control: The control's row.
        delta: Difference in points; None where either has no result.
    """

    kind: str
    control: Row
    delta: stats.Difference | None


@dataclass(frozen=True, eq=False)
class Row:
    """One variant with its runs.

    Args:
        axis: The section of the table that it belongs to.
        label: Its name; unique in its study.
        changed: Its changes against the study's baseline.
        records: Its runs, by seed; none for a row of the paper that the study lacks.
        paper: The paper's row with the same change, if there is one.
        label_is_complete: Whether the label names all changes.
        top1: Mean and spread of ``val/top1`` in percent over the runs that have it.
        delta: Difference from the baseline in points; None where either has no result.
        missing_seeds: Seeds that the baseline has a result for and this row has not.
        started_seeds: Seeds of runs that have started and have no record.
        controls: Its differences from its controls.
        bootstrap: A 95% bootstrap interval of the mean in percent, if requested.
        config: For a row without records, the config of one of its runs.
        look_note: At which look it was decided, or that its seeds were added without a plan.
    """

    axis: str
    label: str
    changed: Changes
    records: Sequence[Record]
    paper: PaperRow | None = None
    label_is_complete: bool = False
    top1: stats.Spread | None = None
    delta: stats.Difference | None = None
    missing_seeds: Sequence[int] = ()
    started_seeds: Sequence[int] = ()
    controls: Sequence[ControlComparison] = ()
    bootstrap: tuple[float, float] | None = None
    config: Mapping[str, Any] | None = None
    look_note: str = ""

    def count(self, status: str) -> int:
        """The number of runs with a status."""
        return sum(record.status == status for record in self.records)

    @property
    def failures(self) -> Counter[str]:
        """The number of failed runs, by kind of failure."""
        return Counter(record.failure["kind"] for record in self.records if record.failure)

    @property
    def also_changes(self) -> list[str]:
        """Changes that its label leaves out, in words: those that go with a row of the paper."""
        return [] if self.label_is_complete else naming.other_change_labels(self.changed)

    @cached_property
    def top1_by_seed(self) -> dict[int, float]:
        """Seed -> final top-1 in percent, for the runs that have one."""
        found = {run.config["seed"]: run.metric(MAIN_METRIC) for run in self.records if run.done}
        return {seed: value for seed, value in found.items() if value is not None}

    @property
    def cost(self) -> dict[str, Any]:
        """The cost of its model, from the first run that has it; empty where none does."""
        return next((record.cost for record in self.records if record.cost), {})

    @property
    def control(self) -> ControlComparison | None:
        """The difference from the control that shares most with it.

        First the control that shares everything but the axis, then the one with its other changes,
        then the one of its size.
        """
        by_kind = {each.kind: each for each in self.controls}
        kinds = (controls.BOTH, controls.RECIPE, controls.SIZE)
        return next((by_kind[kind] for kind in kinds if kind in by_kind), None)

    @property
    def minimum_effect(self) -> float | None:
        """The smallest true difference in points that its seeds detect with 80% power."""
        return None if self.delta is None else sensitivity.minimum_effect(self.delta)


def row_position(row: controls.Variant) -> tuple[Any, ...]:
    """The sort key of a row: the order of the paper, then other rows by axis and label.

    Numbers in labels sort by size.
    """
    known = row.axis in AXIS_ORDER
    paper = row.paper or (matching.find_paper_row(row.changed) if row.changed else None)
    paper = paper or published.ablation_rows().get(row.label)
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

    The first of these that fits any row: its label, the id or name of one of its runs, a part of
    its label, a field with its value, its axis.
    """
    text = _normalized(words)
    tests: tuple[Callable[[Row], bool], ...] = (
        lambda row: text == _normalized(row.label),
        lambda row: any(
            text in (run.run_id, _normalized(naming.run_name(run.config))) for run in row.records
        ),
        lambda row: text in _normalized(row.label),
        lambda row: any(text in spelling for spelling in _spellings(row.changed)),
        lambda row: text == _normalized(row.axis),
    )
    return next(filter(None, ([row for row in rows if fits(row)] for fits in tests)), [])


def unknown_row_message(rows: Iterable[Row], words: str) -> str:
    """One line for words that match no row: the nearest labels, then all of them."""
    labels = list(dict.fromkeys(row.label for row in rows))
    near = unknown_name("row", words, labels, "")
    return f"{near.rstrip(': ')}; the rows are: {'; '.join(labels)}"


def _normalized(text: str) -> str:
    return " ".join(text.replace("→", "->").split()).casefold()


def _spellings(changed: Changes) -> list[str]:
    """Changes as a user may spell them: ``model.norm=batch``, ``norm batch``."""
    pairs = zip(changed.items(), naming.format_assignments(changed), strict=True)
    return [
        f"{field} {field}={after} {field.rpartition('.')[2]} {after} {text}".lower()
        for (field, (_, after)), text in pairs
    ]
