"""A grid over two fields, one down and one across, and how far their effects add up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

from ablations.analysis import controls, stats
from ablations.analysis.method_notes import family_note
from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.config.diff import Changes
from ablations.config.naming import FIELD_LABELS
from ablations.errors import ConfigError
from ablations.tables import cells, csv_values, missing, provenance
from ablations.tables.ablation import WIDTH
from ablations.tables.notes import study_title
from ablations.tables.table import Column, CommandNote, Table, Values, word_columns
from poolformer.config import unknown_name


@dataclass
class Interaction:
    """How far two changes together differ from the sum of each alone.

    Args:
        down: The value of the field down.
        across: The value of the field across.
        delta: (both - the one down alone) - (the one across alone - neither) in points, paired by
            seed; None if a run of the four is missing.
    """

    down: Any
    across: Any
    delta: stats.Difference | None


@dataclass
class Grid:
    """Variants of a study that differ in two fields, with the rest of their config the same.

    Args:
        down: The field whose values are the rows.
        across: The field whose values are the columns.
        down_values: The values of ``down``, the baseline's first.
        across_values: The values of ``across``, the baseline's first.
        other_changes: What all of them change besides the two fields.
        variants: (down, across) as repr -> the variant, if a run of it was started.
        interactions: (down, across) as repr -> the interaction; one for each value of either field
            but the first.
    """

    study: Study
    down: str
    across: str
    down_values: list[Any]
    across_values: list[Any]
    other_changes: Changes
    variants: dict[tuple[str, str], Row]
    interactions: dict[tuple[str, str], Interaction] = field(default_factory=dict)

    def variant(self, down: Any, across: Any) -> Row | None:
        """The variant of two values."""
        return self.variants.get((repr(down), repr(across)))

    def top1_by_seed(self, down: Any, across: Any) -> dict[int, float]:
        """The outcomes of two values in percent."""
        row = self.variant(down, across)
        return row.top1_by_seed if row else {}

    @property
    def missing(self) -> list[tuple[Any, Any]]:
        """The pairs of values without a result."""
        pairs = product(self.down_values, self.across_values)
        return [pair for pair in pairs if not self.top1_by_seed(*pair)]

    def label(self, down: Any, across: Any) -> str:
        """Two values in words."""
        return naming.describe_values({self.down: (None, down), self.across: (None, across)})

    def command(self, down: Any, across: Any) -> str:
        """The command that trains the variant of two values."""
        other = {name: after for name, (_, after) in self.other_changes.items()}
        config = {**self.study.base_config, **other, self.down: down, self.across: across}
        return missing.variant_command(self.study, config)


def find_grids(studies: Sequence[Study], fields: str) -> list[Grid]:
    """The grids of studies, one for each value of what else they vary.

    Args:
        studies: The studies.
        fields: Two fields with a comma between; if empty, the pair of fields that rows change.

    Raises:
        ConfigError: There is no grid over the fields, or none was named and there are several.
    """
    known = [name for study in studies[:1] for name in study.base_config]
    pairs = [_parse_fields(fields, known)] if fields else _pairs_of_fields(studies)
    if len(pairs) > 1:
        choices = " or ".join(",".join(map(_short, pair)) for pair in pairs)
        raise ConfigError(f"--pivot: rows change several pairs of fields: choose {choices}")
    grids = [grid for study in studies for pair in pairs for grid in _grids(study, *pair)]
    if not grids:
        over = " and ".join(map(_short, pairs[0])) if pairs else "two fields"
        raise ConfigError(
            f"--pivot: no study here is a grid over {over}: it needs two values of each, and a "
            "variant that changes both"
        )
    return grids


def _short(name: str) -> str:
    return name.split(".", 1)[1]


def _parse_fields(text: str, known: Sequence[str]) -> tuple[str, str]:
    words = [word.strip() for word in text.split(",")]
    if len(words) != 2 or words[0] == words[1]:
        raise ConfigError(
            f"--pivot {text!r} must be two fields with a comma between them, such as "
            "norm,mlp_ratio; name the folders of results before it"
        )
    found = []
    for word in words:
        spellings = {
            s: n for n in reversed(known) for s in (n, _short(n), FIELD_LABELS.get(n, n).lower())
        }
        if word.lower() not in spellings:
            raise ConfigError(unknown_name("field of --pivot", word, map(_short, known)))
        found.append(spellings[word.lower()])
    return found[0], found[1]


def _pairs_of_fields(studies: Sequence[Study]) -> list[tuple[str, str]]:
    """The pairs of fields that rows change together and that form a grid."""
    pairs = dict.fromkeys(
        pair
        for study in studies
        for row in study.rows
        if row.axis != controls.AXIS
        for pair in combinations(diff.sort_fields(row.changed), 2)
    )
    return [pair for pair in pairs if any(_grids(study, *pair) for study in studies)]


def _grids(study: Study, down: str, across: str) -> list[Grid]:
    """The grids of a study over two fields: at least two values of each, and both changed once."""
    grids: dict[str, Grid] = {}
    for row in (*study.rows, *study.pending_rows):
        other = {name: change for name, change in row.changed.items() if name not in (down, across)}
        grid = grids.setdefault(repr(other), Grid(study, down, across, [], [], other, {}))
        own = [
            row.changed[name][1] if name in row.changed else study.base_config.get(name)
            for name in (down, across)
        ]
        grid.down_values.append(own[0])
        grid.across_values.append(own[1])
        grid.variants[repr(own[0]), repr(own[1])] = row
    found = []
    for grid in grids.values():
        grid.down_values = _ordered(grid.down_values, study.base_config.get(down))
        grid.across_values = _ordered(grid.across_values, study.base_config.get(across))
        changes = list(product(grid.down_values[1:], grid.across_values[1:]))
        if any(grid.variant(*pair) for pair in changes):
            _add_interactions(grid, changes)
            found.append(grid)
    return found


def _ordered(values: Sequence[Any], base: Any) -> list[Any]:
    """Distinct values: the baseline's, then numbers by size and words by letters."""

    def key(value: Any) -> tuple[bool, bool, float, str]:
        number = isinstance(value, (int, float))
        return value != base, not number, value if number else 0.0, repr(value)

    return sorted({repr(value): value for value in values}.values(), key=key)


def _add_interactions(grid: Grid, changes: Sequence[tuple[Any, Any]]) -> None:
    """Fill in the interactions of pairs of values against the first value of either field."""
    first, left = grid.down_values[0], grid.across_values[0]
    neither = grid.top1_by_seed(first, left)
    deltas = []
    for down, across in changes:
        with_down = _minus(grid.top1_by_seed(down, across), grid.top1_by_seed(down, left))
        without = _minus(grid.top1_by_seed(first, across), neither)
        deltas.append(stats.paired_difference(with_down, without))
    together = grid.study.comparisons.together(deltas, same_baseline=False)
    for (down, across), delta in zip(changes, together, strict=True):
        grid.interactions[repr(down), repr(across)] = Interaction(down, across, delta)


def _minus(row: dict[int, float], other: dict[int, float]) -> dict[int, float]:
    return {seed: value - other[seed] for seed, value in row.items() if seed in other}


def pivot_table(grid: Grid) -> Table:
    """A grid as text: mean ± standard deviation (n) of each variant; its CSV has a row a variant.

    Values: accuracies in percent, differences in points.
    """
    down, across = (FIELD_LABELS.get(name, name) for name in (grid.down, grid.across))
    other = f", with {naming.describe_values(grid.other_changes)}" if grid.other_changes else ""
    columns = word_columns(down=naming.capitalize(down))
    for value in grid.across_values:
        heading = naming.capitalize(naming.value_label(grid.across, value))
        columns.append(Column(heading, repr(value), _cell))
    lines = [
        {"down": _value_text(grid.down, value)}
        | {repr(other): grid.variant(value, other) for other in grid.across_values}
        for value in grid.down_values
    ]
    rows = [row for row in grid.variants.values() if row.records]
    absent = [(grid.label(*pair), grid.command(*pair)) for pair in grid.missing]
    return Table(
        f"Pivot: {down} by {across}{other}",
        columns,
        lines,
        csv_lines=[_line(grid, *p) for p in product(grid.down_values, grid.across_values)],
        footnotes=[
            f"Study: {study_title(grid.study)}.",
            "Top-1 (%) of the last epoch, mean ± standard deviation (n seeds).",
            *_interaction_notes(grid),
            *(CommandNote(f"Missing {label}: `{command}`") for label, command in absent),
            *provenance.provenance_notes(replace(grid.study, rows=rows)),
        ],
        width=WIDTH,
    )


def _value_text(name: str, value: Any) -> str:
    """A value below the heading of its field: ``2``, ``BatchNorm``."""
    words = naming.value_label(name, value)
    return naming.capitalize(
        re.sub(rf"^{re.escape(FIELD_LABELS.get(name, name))} (?=\S)", "", words)
    )


def _cell(row: Row | None) -> str:
    return cells.accuracy(row) + (f" ({row.top1.n})" if row and row.top1 else "")


def _interaction_notes(grid: Grid) -> list[str]:
    """Each interaction, and what the word means."""
    notes = []
    for each in grid.interactions.values():
        down = naming.value_label(grid.down, each.down)
        names = f"{down} with {naming.value_label(grid.across, each.across)}"
        if each.delta is None:
            notes.append(f"Interaction, {names}: a run is missing.")
            continue
        half = each.delta.half_width
        mean = cells.signed(each.delta.mean, 2) + ("" if half is None else f" ± {half:.2f}")
        p = f", p {cells.reported_p(each.delta)}" if each.delta.p is not None else ""
        notes.append(f"Interaction, {names}: {mean} (n = {each.delta.n}{p}).")
    if any(each.delta for each in grid.interactions.values()):
        first = naming.value_label(grid.down, grid.down_values[0])
        left = naming.value_label(grid.across, grid.across_values[0])
        notes.append(
            "Interaction: what both change together, less what each changes alone against "
            f"{first}, {left}; in points, paired by seed, ± half of its 95% interval (t test). "
            + family_note(grid.study.comparisons, "all interactions")
        )
    return notes


def _line(grid: Grid, down: Any, across: Any) -> Values:
    row, interaction = grid.variant(down, across), grid.interactions.get((repr(down), repr(across)))
    delta = interaction.delta if interaction else None
    return {
        **csv_values.study_values(grid.study),
        "down": grid.down,
        "down_value": _value_text(grid.down, down),
        "across": grid.across,
        "across_value": _value_text(grid.across, across),
        "with": "; ".join(naming.format_assignments(grid.other_changes)),
        **csv_values.outcome_values(row),
        **csv_values.seed_values(row),
        **csv_values.delta_values(delta, "interaction"),
        **csv_values.fields_of(delta, "p", "p_corrected", prefix="interaction_"),
        **csv_values.status_counts(row),
        "missing_command": "" if row and row.top1_by_seed else grid.command(down, across),
        "run_ids": csv_values.run_ids(row),
    }
