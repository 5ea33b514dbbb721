"""Two studies side by side: two recipes, two commits, two machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ablations.analysis import stats
from ablations.analysis.rows import Row, row_position
from ablations.analysis.study import Study
from ablations.tables import csv_columns, provenance
from ablations.tables.ablation import (
    WELCH_NOTE,
    accuracy_text,
    difference_text,
    interval_text,
    partial_pairs_note,
    study_title,
    welch_mark,
)
from ablations.tables.table import PlottedDifference, Table, signed_text

Names = tuple[str, str]  # what the two sides are called
Rows = tuple[Row | None, Row | None]  # a variant on both sides


@dataclass(frozen=True)
class Pair:
    """A study of each side.

    Args:
        alike: Whether both are of one recipe, one set of pictures, one length and one precision,
            so that their accuracies may be compared, and not only their differences.
    """

    left: Study
    right: Study
    alike: bool


def name_sides(a: Path, b: Path) -> Names:
    """What to call the studies of two folders: their own names, where these tell them apart."""
    own = a.resolve().name, b.resolve().name
    if own[0] != own[1]:
        return own
    return (str(a), str(b)) if a != b else ("A", "B")


def pair_studies(left: Sequence[Study], right: Sequence[Study]) -> tuple[list[Pair], list[str]]:
    """Which study is held against which, and a line for each that has no counterpart.

    Studies with the same settings are a pair; what is left over is one if it is one of each side.
    """
    found, rest, others = [], [], list(right)
    for study in left:
        same = next((other for other in others if other.name == study.name), None)
        # With other settings of all rows, differences can be compared and accuracies cannot.
        alike = same is not None and same.shared_changes == study.shared_changes
        if same:
            found.append(Pair(study, same, alike))
            others.remove(same)
        else:
            rest.append(study)
    if len(rest) == len(others) == 1:
        return [*found, Pair(rest[0], others[0], alike=False)], []
    return found, [f"{study.name} has no counterpart" for study in [*rest, *others]]


def comparison_frame(pair: Pair, names: Names) -> pd.DataFrame:
    """A row a variant that either side has, raw numbers; the sides are ``a_`` and ``b_``.

    ``change_mean`` with ``change_low`` and ``change_high`` (95%) is b minus a in points: of the
    accuracies where the studies are alike, else of the differences from their baselines.
    """
    return pd.DataFrame([_tidy_row(pair, names, rows) for rows in _rows(pair)])


def _tidy_row(pair: Pair, names: Names, rows: Rows) -> csv_columns.Columns:
    known = next(row for row in rows if row)
    line: csv_columns.Columns = {"ablation": known.axis, "variant": known.label}
    for side, name, study, row in zip("ab", names, (pair.left, pair.right), rows, strict=True):
        line |= {
            f"{side}_name": name,
            f"{side}_study": study.name,
            **csv_columns.of_outcome(row, f"{side}_"),
            **csv_columns.of_interval(row.delta if row else None, f"{side}_delta"),
            f"{side}_p_holm": row.p_holm if row else None,
        }
    change = _change(pair, *rows)
    return line | {
        "change_of": "top1" if pair.alike else "delta",
        **csv_columns.of_interval(change, "change"),
        "paper_delta": known.paper.delta if known.paper else None,
    }


def comparison_table(pair: Pair, names: Names) -> Table:
    """The two studies, a row a variant that either side has.

    Args:
        pair: The studies.
        names: What the sides are called in the headings.
    """
    a, b = names
    change = f"{b} - {a}" if pair.alike else f"Δ {b} - Δ {a}"
    table = Table(f"{a} beside {b}", pd.DataFrame(), ["Ablation", "Variant"], "Ablation")
    lines, drawn = [], []
    for left, right in _rows(pair):
        known = left or right
        assert known is not None
        both = _change(pair, left, right)
        lines.append(
            {
                "Ablation": known.axis,
                "Variant": " ".join([known.label, *_marks(table, names, left, right)]),
                **_side(a, left),
                **_side(b, right),
                change: f"{signed_text(both.mean, 2)}{welch_mark(both)}" if both else "",
                f"95% CI of {change}": interval_text(both),
                "Paper Δ": signed_text(known.paper.delta) if known.paper and known.changed else "",
            }
        )
        drawn.append(
            PlottedDifference(both.mean, both.low, both.high) if both else PlottedDifference()
        )
    table.frame = pd.DataFrame(lines)
    table.drawn = drawn
    table.foot = _foot(pair, names, change, table.frame)
    return table


def _side(name: str, row: Row | None) -> Mapping[str, str]:
    return {
        f"{name}: top-1 (%)": accuracy_text(row) if row else "missing",
        f"{name}: n": str(row.top1.n if row and row.top1 else 0),
        f"{name}: Δ": difference_text(row) if row else "",
        f"{name}: 95% CI": interval_text(row.delta) if row else "",
    }


def _marks(table: Table, names: Names, left: Row | None, right: Row | None) -> list[str]:
    """The marks of what a reader must know of a row on either side."""
    known = left or right
    marks = []
    if known and known.also_changes:
        marks.append(table.note(f"{known.label} also changes {', '.join(known.also_changes)}."))
    for name, row in zip(names, (left, right), strict=True):
        if row and (partly := partial_pairs_note(row)):
            marks.append(table.note(f"{name}: {partly}"))
    return marks


def _foot(pair: Pair, names: Names, change: str, frame: pd.DataFrame) -> list[str]:
    a, b = names
    lines = [f"{a}: {study_title(pair.left)}.", f"{b}: {study_title(pair.right)}."]
    if pair.alike:
        lines.append(f"{change} is the difference in top-1 in points, with its 95% t interval.")
    else:
        lines.append(
            "The two differ in more than their code, so their accuracies are not compared: "
            f"{change} is by how many points a row's difference from its baseline is larger in {b}."
        )
    lines.append("Each interval is of its row alone, not corrected for the number of rows.")
    if any("ʷ" in cell for column in frame for cell in frame[column]):
        lines.append(WELCH_NOTE)
    for name, study in zip(names, (pair.left, pair.right), strict=True):
        lines += [f"{name}: {line}" for line in provenance.provenance_notes(study)]
    return lines


def _rows(pair: Pair) -> list[Rows]:
    left, right = (_by_change(study, pair.alike) for study in (pair.left, pair.right))
    found = [(left.get(key), right.get(key)) for key in dict.fromkeys([*left, *right])]
    return sorted(found, key=lambda rows: row_position(next(row for row in rows if row)))


def _by_change(study: Study, alike: bool) -> dict[str, Row]:
    """The rows of a study by what they change, so that they meet those of another.

    Not by their names where settings are alike: a control is called one only beside its row. Across
    recipes the values differ (a quarter of another batch): there the paper's rows meet, and others
    of one name that change the same fields.
    """
    found: dict[str, Row] = {}
    for row in study.rows:
        exact = repr([(name, after) for name, (_, after) in row.changed.items()])
        named = row.paper.variant if row.paper else repr([row.label, *row.changed])
        found[exact if alike or named in found else named] = row
    return found


def _change(
    pair: Pair, left: Row | None = None, right: Row | None = None
) -> stats.Difference | None:
    if left is None or right is None:
        return None
    if pair.alike:
        return stats.difference(right.top1_by_seed, left.top1_by_seed)
    ours, theirs = _by_seed(pair.left, left), _by_seed(pair.right, right)
    return stats.unpaired_difference(theirs, ours)


def _by_seed(study: Study, row: Row) -> dict[int, float]:
    """Seed -> the row's difference from its baseline, over the seeds that both have."""
    if study.baseline is None or row is study.baseline:
        return {}
    reference = study.baseline.top1_by_seed
    return {
        seed: value - reference[seed]
        for seed, value in row.top1_by_seed.items()
        if seed in reference
    }
