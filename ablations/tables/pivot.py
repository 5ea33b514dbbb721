"""A grid over two fields: one down, one across, and how far their effects add up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from ablations.analysis import controls, stats
from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.config.diff import Changes
from ablations.config.naming import FIELD_LABELS
from ablations.errors import ConfigError
from ablations.tables import csv_columns, missing, provenance
from ablations.tables.ablation import WIDTH, accuracy_text, study_title
from ablations.tables.table import Table, p_value_text, signed_text
from poolformer.config import unknown_name


@dataclass
class Interaction:
    """How far two changes together differ from the sum of each alone.

    Args:
        down: The value of the field down.
        across: The value of the field across.
        delta: (both - the one down alone) - (the one across alone - neither) in points, paired by
            seed; None where a run of the four is missing.
        p: Its p-value after Holm's correction over the grid.
    """

    down: Any
    across: Any
    delta: stats.Difference | None
    p: float | None = None


@dataclass
class Grid:
    """Variants of a study that differ in two fields, the rest of their config being the same.

    Args:
        down: The field whose values are the rows.
        across: The field whose values are the columns.
        downs: The values of ``down``, the baseline's first.
        acrosses: The same of ``across``.
        rest: What all of them change besides the two.
        cells: (down, across) as repr -> the variant, where it was run or begun.
        interactions: One for each value of either field but the first.
    """

    study: Study
    down: str
    across: str
    downs: list[Any]
    acrosses: list[Any]
    rest: Changes
    cells: dict[tuple[str, str], Row]
    interactions: list[Interaction] = field(default_factory=list)

    def cell(self, down: Any, across: Any) -> Row | None:
        """The variant of two values."""
        return self.cells.get((repr(down), repr(across)))

    def values(self, down: Any, across: Any) -> dict[int, float]:
        """Its outcomes in percent by seed."""
        row = self.cell(down, across)
        return row.top1_by_seed if row else {}

    def flat(self, down: Any, across: Any) -> dict[str, Any]:
        """The flat config of two values, run or not."""
        rest = {name: after for name, (_, after) in self.rest.items()}
        return {**self.study.base_config, **rest, self.down: down, self.across: across}


def find_grids(found: Sequence[Study], asked: str) -> list[Grid]:
    """The grids of studies, one for each value of what else they vary.

    Args:
        found: The studies.
        asked: Two fields with a comma between them; empty where rows of one pair change both.

    Raises:
        ConfigError: There is no grid over the fields, or none was named and there are several.
    """
    known = [name for study in found[:1] for name in study.base_config]
    pairs = [_fields(asked, known)] if asked else _pairs(found)
    if len(pairs) > 1:
        told = " or ".join(",".join(map(_short, pair)) for pair in pairs)
        raise ConfigError(f"--pivot: rows change several pairs of fields: choose {told}")
    grids = [grid for study in found for pair in pairs for grid in _grids(study, *pair)]
    if not grids:
        over = " and ".join(map(_short, pairs[0])) if pairs else "two fields"
        raise ConfigError(
            f"--pivot: no study here is a grid over {over}: it needs two values of each, and a "
            "variant that changes both"
        )
    return grids


def _short(name: str) -> str:
    return name.split(".", 1)[1]


def _called(name: str) -> list[str]:
    """What a field may be called."""
    return [name, _short(name), FIELD_LABELS.get(name, name).lower()]


def _fields(asked: str, known: Sequence[str]) -> tuple[str, str]:
    words = [word.strip() for word in asked.split(",")]
    if len(words) != 2 or words[0] == words[1]:
        raise ConfigError(
            f"--pivot {asked!r} must be two fields with a comma between them, such as "
            "norm,mlp_ratio; folders of results stand before it"
        )
    found = []
    for word in words:
        fitting = [name for name in known if word.lower() in _called(name)]
        if not fitting:
            raise ConfigError(unknown_name("field of --pivot", word, map(_short, known)))
        found.append(fitting[0])
    return found[0], found[1]


def _pairs(found: Sequence[Study]) -> list[tuple[str, str]]:
    """The pairs of fields that rows change together and that make a grid."""
    together: dict[tuple[str, str], None] = {}
    for study in found:
        for row in study.rows:
            if len(row.changed) >= 2 and row.axis != controls.AXIS:
                names = diff.sort_fields(row.changed)
                together |= dict.fromkeys(
                    (a, b) for i, a in enumerate(names) for b in names[i + 1 :]
                )
    return [pair for pair in together if any(_grids(study, *pair) for study in found)]


def _grids(study: Study, down: str, across: str) -> list[Grid]:
    """The grids of a study over two fields: two values of each at least, and both changed once."""
    groups: dict[str, list[Row]] = {}
    rests: dict[str, Changes] = {}
    for row in (*study.rows, *study.pending_rows):
        rest = {name: change for name, change in row.changed.items() if name not in (down, across)}
        groups.setdefault(repr(rest), []).append(row)
        rests[repr(rest)] = rest
    found = []
    for key, rows in groups.items():
        values = [{name: _value(study, row, name) for name in (down, across)} for row in rows]
        downs, acrosses = (
            _ordered([each[name] for each in values], study.base_config.get(name))
            for name in (down, across)
        )
        cells = {
            (repr(each[down]), repr(each[across])): row
            for each, row in zip(values, rows, strict=True)
        }
        grid = Grid(study, down, across, downs, acrosses, rests[key], cells)
        both = any(grid.cell(d, a) for d in downs[1:] for a in acrosses[1:])
        if len(downs) > 1 and len(acrosses) > 1 and both:
            _interact(grid)
            found.append(grid)
    return found


def _value(study: Study, row: Row, name: str) -> Any:
    return row.changed[name][1] if name in row.changed else study.base_config.get(name)


def _ordered(values: Sequence[Any], base: Any) -> list[Any]:
    """Distinct values: the baseline's, then numbers by size and words by letters."""

    def key(value: Any) -> tuple[bool, bool, float, str]:
        number = isinstance(value, (int, float))
        return value != base, not number, value if number else 0.0, repr(value)

    return sorted({repr(value): value for value in values}.values(), key=key)


def _interact(grid: Grid) -> None:
    """Fill in the interactions against the first value of either field."""
    first, left = grid.downs[0], grid.acrosses[0]
    neither = grid.values(first, left)
    for down in grid.downs[1:]:
        for across in grid.acrosses[1:]:
            alone = grid.values(down, left), grid.values(first, across)
            there = _less(grid.values(down, across), alone[0])
            here = _less(alone[1], neither)
            delta = stats.paired_difference(there, here)
            grid.interactions.append(Interaction(down, across, delta))
    corrected = stats.holm_correction(
        [each.delta.p if each.delta else None for each in grid.interactions]
    )
    for each, p in zip(grid.interactions, corrected, strict=True):
        each.p = p


def _less(row: dict[int, float], other: dict[int, float]) -> dict[int, float]:
    return {seed: value - other[seed] for seed, value in row.items() if seed in other}


def pivot_table(grid: Grid) -> Table:
    """A grid as a reader sees it: mean ± standard deviation (n) of each variant."""
    down, across = (FIELD_LABELS.get(name, name) for name in (grid.down, grid.across))
    rest = f", with {naming.describe_values(grid.rest)}" if grid.rest else ""
    title = f"Pivot: {down} by {across}{rest}: {study_title(grid.study)}"
    head = naming.capitalize(down)
    lines = []
    for value in grid.downs:
        line = {head: _axis(grid.down, value)}
        for other in grid.acrosses:
            line[naming.capitalize(naming.value_label(grid.across, other))] = _cell(
                grid.cell(value, other)
            )
        lines.append(line)
    table = Table(title, pd.DataFrame(lines).astype(str), [head])
    table.width = WIDTH
    table.foot = ["Top-1 (%) of the last epoch, mean ± standard deviation (n seeds)."]
    table.foot += [_told(grid, each) for each in grid.interactions]
    if any(each.delta for each in grid.interactions):
        first, left = grid.downs[0], grid.acrosses[0]
        table.foot.append(
            f"Interaction: what both change together, less what each changes alone against "
            f"{naming.value_label(grid.down, first)}, {naming.value_label(grid.across, left)}; in "
            "points, paired by seed, ± half of its 95% t interval, p after Holm's correction over "
            "this grid."
        )
    table.foot += [
        f"Missing {naming.describe_values(_changes(grid, *pair))}: "
        f"`{missing.variant_command(grid.study, grid.flat(*pair))}`"
        for pair in _absent(grid)
    ]
    rows = [row for row in grid.cells.values() if row.records]
    table.foot += provenance.provenance_notes(_of(grid.study, rows))
    return table


def _of(study: Study, rows: list[Row]) -> Study:
    return replace(study, rows=rows)


def _axis(name: str, value: Any) -> str:
    """A value below the heading of its field: ``2``, ``BatchNorm``."""
    words = naming.value_label(name, value)
    return naming.capitalize(
        re.sub(rf"^{re.escape(FIELD_LABELS.get(name, name))} (?=\S)", "", words)
    )


def _cell(row: Row | None) -> str:
    if row is None:
        return "missing"
    return accuracy_text(row) if row.top1 is None else f"{accuracy_text(row)} ({row.top1.n})"


def _told(grid: Grid, each: Interaction) -> str:
    down = naming.value_label(grid.down, each.down)
    names = f"{down} with {naming.value_label(grid.across, each.across)}"
    if each.delta is None:
        return f"Interaction, {names}: a run is missing."
    half = each.delta.half_width
    told = signed_text(each.delta.mean, 2) + ("" if half is None else f" ± {half:.2f}")
    p = f", p {p_value_text(each.p)}" if each.p is not None else ""
    return f"Interaction, {names}: {told} (n = {each.delta.n}{p})."


def _changes(grid: Grid, down: Any, across: Any) -> Changes:
    return {grid.down: (None, down), grid.across: (None, across)}


def _absent(grid: Grid) -> list[tuple[Any, Any]]:
    """The pairs of values without a result."""
    pairs = [(down, across) for down in grid.downs for across in grid.acrosses]
    return [pair for pair in pairs if not grid.values(*pair)]


def pivot_frame(grid: Grid) -> pd.DataFrame:
    """A row a variant of a grid, raw numbers: accuracies in percent, differences in points."""
    found = {(repr(each.down), repr(each.across)): each for each in grid.interactions}
    absent = {tuple(map(repr, pair)) for pair in _absent(grid)}
    lines = []
    for down in grid.downs:
        for across in grid.acrosses:
            row, key = grid.cell(down, across), (repr(down), repr(across))
            interaction = found.get(key)
            delta = interaction.delta if interaction else None
            lines.append(
                {
                    **csv_columns.of_study(grid.study),
                    "down": grid.down,
                    "down_value": _axis(grid.down, down),
                    "across": grid.across,
                    "across_value": _axis(grid.across, across),
                    "with": "; ".join(naming.format_assignments(grid.rest)),
                    **csv_columns.of_outcome(row),
                    "top1_by_seed": csv_columns.by_seed(row),
                    **csv_columns.of_interval(delta, "interaction"),
                    "interaction_n": delta.n if delta else 0,
                    "interaction_p": delta.p if delta else None,
                    "interaction_p_holm": interaction.p if interaction else None,
                    **csv_columns.of_ends(row),
                    "missing_command": missing.variant_command(grid.study, grid.flat(down, across))
                    if key in absent
                    else "",
                    "run_ids": csv_columns.run_ids(row),
                }
            )
    return pd.DataFrame(lines)
