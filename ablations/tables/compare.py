"""Two studies side by side: two recipes, two commits, two machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ablations.analysis import stats
from ablations.analysis.method_notes import method_note
from ablations.analysis.rows import Row, row_position
from ablations.analysis.study import Study
from ablations.tables import cells, csv_values, provenance
from ablations.tables.notes import WELCH_NOTE, also_note, partial_pairs_note, study_title
from ablations.tables.table import Column, PlottedDifference, Table, Values, word_columns


@dataclass(frozen=True)
class Pair:
    """Two studies to compare.

    Args:
        names: What the two sides, a and b, are called.
        studies: The study of each side.
        same_setting: Whether recipe, images, length and precision are the same, so that their
            accuracies may be compared, and not only their differences from their baselines.
    """

    names: tuple[str, str]
    studies: tuple[Study, Study]
    same_setting: bool


@dataclass(frozen=True)
class _Line:
    """A variant that either side has."""

    pair: Pair
    rows: tuple[Row | None, Row | None]

    @property
    def row(self) -> Row:
        """The variant on the first side that has it."""
        return next(row for row in self.rows if row)

    @property
    def change(self) -> stats.Difference | None:
        """Right minus left, in points: of accuracies, or of differences from the baselines."""
        left, right = self.rows
        if left is None or right is None:
            return None
        if self.pair.same_setting:
            return stats.difference(right.top1_by_seed, left.top1_by_seed)
        a, b = map(_deltas, self.pair.studies, (left, right))
        return stats.unpaired_difference(b, a)


def _deltas(study: Study, row: Row) -> dict[int, float]:
    """Seed -> the row's difference from its baseline, over the seeds of both."""
    if study.baseline is None or row is study.baseline:
        return {}
    baseline = study.baseline.top1_by_seed
    return {s: top1 - baseline[s] for s, top1 in row.top1_by_seed.items() if s in baseline}


def name_sides(a: Path, b: Path) -> tuple[str, str]:
    """What to call the studies of two folders: the folders' own names, if these differ."""
    own = a.resolve().name, b.resolve().name
    if own[0] != own[1]:
        return own
    return (str(a), str(b)) if a != b else ("A", "B")


def pair_studies(
    names: tuple[str, str], left: Sequence[Study], right: Sequence[Study]
) -> tuple[list[Pair], list[str]]:
    """The pairs of studies to compare, and a message for each study without a counterpart.

    Studies with the same settings are a pair. If one of each side is left over, they are one too.
    """
    pairs, rest, others = [], [], list(right)
    for study in left:
        same = next((other for other in others if other.name == study.name), None)
        if same:
            # If all rows of one side have other settings, only differences can be compared.
            pairs.append(Pair(names, (study, same), same.shared_changes == study.shared_changes))
            others.remove(same)
        else:
            rest.append(study)
    if len(rest) == len(others) == 1:
        return [*pairs, Pair(names, (rest[0], others[0]), same_setting=False)], []
    return pairs, [f"{study.name} has no counterpart" for study in [*rest, *others]]


def _values(line: _Line) -> Values:
    values: Values = {"ablation": line.row.axis, "variant": line.row.label}
    sides = zip("ab", line.pair.names, line.pair.studies, line.rows, strict=True)
    for side, name, study, row in sides:
        values |= {
            f"{side}_name": name,
            f"{side}_study": study.name,
            **csv_values.outcome_values(row, f"{side}_"),
            **csv_values.interval_values(row.delta if row else None, f"{side}_delta"),
            **csv_values.fields_of(row and row.delta, "p_corrected", prefix=f"{side}_"),
            f"_{side}": row,
            f"_{side}_delta": row.delta if row else None,
        }
    return values | {
        "change_of": "top1" if line.pair.same_setting else "delta",
        **csv_values.interval_values(line.change, "change"),
        **csv_values.fields_of(line.row.paper, "delta", prefix="paper_"),
        "_change": line.change,
    }


def comparison_table(pair: Pair) -> Table:
    """The two studies, a row a variant that either side has.

    In its values the sides are ``a_`` and ``b_``. ``change_mean`` with ``change_low`` and
    ``change_high`` (95%) is b minus a in points: of the accuracies if the settings are the same,
    else of the differences from the baselines.
    """
    a, b = pair.names
    change = f"{b} - {a}" if pair.same_setting else f"Δ {b} - Δ {a}"
    columns = word_columns(ablation="Ablation", _label="Variant")
    for side, name in zip("ab", pair.names, strict=True):
        columns += [
            Column(f"{name}: top-1 (%)", f"_{side}", cells.accuracy),
            Column(f"{name}: n", f"{side}_n"),
            Column(f"{name}: Δ", f"_{side}", cells.row_delta),
            Column(f"{name}: 95% CI", f"_{side}_delta", cells.interval),
        ]
    columns += [
        Column(change, "_change", cells.points),
        Column(f"95% CI of {change}", "_change", cells.interval),
        Column("Paper Δ", "_paper_delta"),
    ]
    table = Table(f"{a} beside {b}", columns, section="Ablation")
    lines = _lines(pair)
    for line in lines:
        paper = cells.signed(line.row.paper.delta) if line.row.paper and line.row.changed else ""
        label = line.row.label + table.row_notes.mark(*_row_notes(line))
        text = {"_label": label, "_paper_delta": paper}
        plotted = PlottedDifference.of(line.change)
        table.lines.append(_values(line) | text | {"_difference": plotted})
    table.footnotes = _footnotes(pair, change, lines)
    return table


def _row_notes(line: _Line) -> list[str]:
    """What a reader must know of a row on either side."""
    notes = [also_note(line.row)]
    for name, row in zip(line.pair.names, line.rows, strict=True):
        if row and (note := partial_pairs_note(row)):
            notes.append(f"{name}: {note}")
    return notes


def _footnotes(pair: Pair, change: str, lines: Sequence[_Line]) -> list[str]:
    sides = list(zip(pair.names, pair.studies, strict=True))
    notes = [f"{name}: {study_title(study)}." for name, study in sides]
    if pair.same_setting:
        notes.append(f"{change} is the difference in top-1 in points, with its 95% interval.")
    else:
        notes.append(
            "The two differ in more than their code, so their accuracies are not compared: "
            f"{change} is by how many points a row's difference from its baseline is larger "
            f"in {pair.names[1]}."
        )
    notes.append(f"Each interval of {change} holds alone, by a t test of that row's runs.")
    methods = {name: method_note(study.comparisons, "all its rows") for name, study in sides}
    if len(set(methods.values())) == 1:
        notes.append(f"Δ on either side, from its baseline: {methods[pair.names[0]]}")
    else:
        notes += [f"{name}: Δ, from its baseline: {method}" for name, method in methods.items()]
    deltas = [row.delta for line in lines for row in line.rows if row]
    if any(map(cells.uses_welch, [*deltas, *(line.change for line in lines)])):
        notes.append(WELCH_NOTE)
    for name, study in sides:
        notes += [type(note)(f"{name}: {note}") for note in provenance.provenance_notes(study)]
    return notes


def _lines(pair: Pair) -> list[_Line]:
    left, right = (_by_change(study, pair.same_setting) for study in pair.studies)
    keys = dict.fromkeys([*left, *right])
    lines = [_Line(pair, (left.get(key), right.get(key))) for key in keys]
    return sorted(lines, key=lambda line: row_position(line.row))


def _by_change(study: Study, same_setting: bool) -> dict[str, Row]:
    """The rows of a study by what they change, to match those of another study.

    With the same settings, rows match by their changes, not by their names: a variant is called a
    control only beside its row. Across recipes the values differ (a quarter of another batch), so
    rows match by the paper's row, or else by their name and the fields that they change.
    """
    found: dict[str, Row] = {}
    for row in study.rows:
        exact = repr([(name, after) for name, (_, after) in row.changed.items()])
        named = row.paper.variant if row.paper else repr([row.label, *row.changed])
        found[exact if same_setting or named in found else named] = row
    return found
