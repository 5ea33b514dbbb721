"""Cells -> variants: what differs in its seed only is probed once and is one row of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations import controls, labels, places, records, rows
from ablations.config import RunConfig
from ablations.resolve import resolve
from ablations.rows import Row
from ablations.sweep import Cell


@dataclass
class Variant:
    """A variant and its planned cells.

    Args:
        row: Its place in tables: axis, label, the paper's row. It has no records.
        cells: One a seed.
        done: The run ids of those that need no more training.
        cost: What its model costs; from a record until it is probed.
    """

    row: Row
    cells: list[RunConfig] = field(default_factory=list)
    done: set[str] = field(default_factory=set)
    cost: dict[str, Any] = field(default_factory=dict)

    @property
    def todo(self) -> list[RunConfig]:
        """The cells that are not done."""
        return [cell for cell in self.cells if cell.run_id not in self.done]

    @property
    def name(self) -> str:
        """Its label, with what else it changes unless the paper's row of that name does too."""
        rest = "" if self.row.paper else ", ".join(self.row.also)
        return f"{self.row.label} ({rest})" if rest else self.row.label


def variants(
    recipe: str,
    cells: Sequence[Cell],
    overrides: Mapping[str, Any],
    results: Path,
    reuse: bool = True,
) -> dict[str, Variant]:
    """The variants of cells by their ids, in the order of the cells.

    Args:
        recipe: The recipe of all of them.
        cells: The cells.
        overrides: Fields set in all of them: they are the baseline's too.
        results: The folder of all runs.
        reuse: Whether cells that are done need no more training.

    Raises:
        RecordError: A record that cannot be read.
    """
    base = labels.flat_config(resolve(recipe, {**overrides, "seed": 0}).to_json())
    found: dict[str, Variant] = {}
    for cell in cells:
        config = cell.config
        flat = labels.flat_config(config.to_json())
        if config.variant_id not in found:
            changed = labels.changes(base, flat)
            axis, label, paper = places.place(recipe, changed, flat)
            found[config.variant_id] = Variant(Row(axis, label, changed, [], paper))
        variant = found[config.variant_id]
        variant.cells.append(config)
        record = records.find(results, config.run_id) if reuse else None
        if record is not None and record.done:
            variant.done.add(config.run_id)
            variant.cost = record.cost
    return found


def ordered(found: Sequence[Variant]) -> list[Variant]:
    """Variants as tables order them; what is there as a control only is named so."""
    every = [
        controls.Candidate(each.row.changed, each.cost.get("macs"), each.row.paper is not None)
        for each in found
    ]
    study = controls.Variants(every)
    for index in study.only_controls(study.assign()):
        row = found[index].row
        row.axis, row.label = controls.AXIS, controls.label(row.changed)
    return sorted(found, key=lambda each: rows.place(each.row))
