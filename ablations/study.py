"""Records -> studies -> rows: what belongs together, what the baseline is, what each row changes.

A study is what may be compared: records of one recipe, one set of pictures, one number of epochs
and one precision. Its baseline is the variant whose changes against the recipe every other variant
has too. A row is a variant: runs that differ in nothing but the seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ablations import labels, published, stats
from ablations.labels import Changes
from ablations.published import PaperRow
from ablations.records import Record
from ablations.resolve import resolve

# Axes in the order of the paper's table; what it lacks follows.
ORDER = [
    labels.BASELINE,
    "Token mixers",
    "Normalization",
    "Activation",
    "Other components",
    labels.HYBRID,
    "Model size",
]


@dataclass
class Row:
    """One variant with its runs.

    Args:
        changed: Its changes against the study's baseline.
        records: Its runs, by seed.
        paper: The paper's row of the same change, if it has one.
        top1: Mean and spread of ``val/top1`` in percent over the runs that have it.
        delta: Paired difference from the baseline in points; None without common seeds.
    """

    axis: str
    label: str
    changed: Changes
    records: list[Record]
    paper: PaperRow | None = None
    top1: stats.Spread | None = None
    delta: stats.Difference | None = None

    def count(self, status: str) -> int:
        """Runs with a status."""
        return sum(record.status == status for record in self.records)

    @property
    def also(self) -> list[str]:
        """Changes besides the row's own, in words."""
        return labels.also(self.changed)


@dataclass
class Study:
    """Rows that may be compared, the baseline first, in the paper's order.

    Args:
        shared: What the baseline, and so every row, changes against the recipe.
    """

    recipe: str
    data: str
    fingerprint: str
    epochs: int
    precision: str
    rows: list[Row] = field(default_factory=list)
    has_baseline: bool = True
    shared: Changes = field(default_factory=dict)

    @property
    def records(self) -> list[Record]:
        """All runs of all rows."""
        return [record for row in self.rows for record in row.records]


def studies(records: Iterable[Record]) -> list[Study]:
    """Sort records into studies, and their runs into rows."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        config = record.config
        key = (
            config["recipe"],
            config["data"]["name"],
            record.data.get("fingerprint", ""),
            config["optim"]["epochs"],
            record.environment.get("precision"),
        )
        groups.setdefault(key, []).append(record)
    _place_failures(groups)
    found = [_study(members, *key) for key, members in groups.items()]
    return sorted(found, key=lambda study: (study.recipe, study.data, study.epochs))


def _place_failures(groups: dict[tuple[Any, ...], list[Record]]) -> None:
    """A run that failed before it knew its pictures or precision joins the study it is of."""
    for key in [key for key in groups if key[-1] is None]:
        recipe, data, fingerprint, epochs, _ = key
        for other in groups:
            same = (other[0], other[1], other[3]) == (recipe, data, epochs)
            if same and other[-1] is not None and fingerprint in ("", other[2]):
                groups[other].extend(groups.pop(key))
                break


def _study(
    records: list[Record],
    recipe: str,
    data: str,
    fingerprint: str,
    epochs: int,
    precision: str | None,
) -> Study:
    study = Study(recipe, data, fingerprint, epochs, precision or "unknown")
    default = labels.flat_config(resolve(recipe).to_json())
    variants: dict[str, tuple[dict[str, Any], list[Record]]] = {}
    for record in records:
        flat = labels.flat_config(record.config)
        key = json.dumps(flat, sort_keys=True)
        variants.setdefault(key, (flat, []))[1].append(record)
    baseline = _baseline(default, [flat for flat, _ in variants.values()])
    study.has_baseline = baseline is not None
    study.shared = labels.changes(default, baseline or default)
    study.shared.pop("optim.epochs", None)  # a study says its epochs anyway
    for flat, runs in variants.values():
        changed = labels.changes(baseline or default, flat)
        runs.sort(key=lambda record: record.config["seed"])
        study.rows.append(_row(recipe, changed, flat, runs))
    if baseline is not None:
        base = next(row for row in study.rows if not row.changed)
        reference = _by_seed(base.records)
        for row in study.rows:
            if row is not base:
                row.delta = stats.paired_difference(_by_seed(row.records), reference)
    study.rows.sort(key=_place)
    return study


def _baseline(default: dict[str, Any], variants: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The variant whose changes against the recipe all others share; None if there is none.

    Changes that a whole study shares (fewer epochs, say) become part of its baseline. Of data and
    optimizer the names count, not the values: the attention hybrids scale the study's own batch.
    """

    def marks(flat: dict[str, Any]) -> set[tuple[str, str]]:
        return {
            (name, repr(after) if name.startswith("model.") else "")
            for name, (_, after) in labels.changes(default, flat).items()
        }

    common = set.intersection(*(marks(flat) for flat in variants))
    found = [flat for flat in variants if marks(flat) == common]
    lone = len(variants) == 1 and any(name.startswith("model.") for name, _ in common)
    return found[0] if len(found) == 1 and not lone else None


def _row(recipe: str, changed: Changes, flat: dict[str, Any], runs: list[Record]) -> Row:
    axis, label, paper = published.place(recipe, changed, flat)
    values = _by_seed(runs)
    return Row(axis, label, changed, runs, paper, stats.spread(list(values.values())))


def _by_seed(runs: Iterable[Record]) -> dict[int, float]:
    """Seed -> final top-1, of the runs that have one."""
    values = {run.config["seed"]: run.metric("val/top1") for run in runs if run.done}
    return {seed: value for seed, value in values.items() if value is not None}


def _place(row: Row) -> tuple[int, str, float, str]:
    known = row.axis in ORDER
    position = row.paper.position if row.paper else float("inf")
    return (
        ORDER.index(row.axis) if known else len(ORDER),
        "" if known else row.axis,
        position,
        row.label,
    )
