"""The images that flip between two rows as tables, and McNemar's counts beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from ablations.analysis.flips import P_NOTE, Counts, Flip, Flips
from ablations.tables import cells
from ablations.tables.ablation import WIDTH
from ablations.tables.table import Column, Table, Values, word_columns

NAMES = ["image", "direction", "true_class", "baseline_class", "row_class"]
NAMES += ["baseline_right", "baseline_seeds", "row_right", "row_seeds"]
COLUMNS = [
    Column("Image", "image"),
    *word_columns(
        true_class="True class",
        baseline_class="Baseline's class",
        _baseline="Baseline right",
        row_class="Row's class",
        _row="Row right",
    ),
]
COUNT_COLUMNS = [
    Column("Seed", "seed"),
    Column("Both right", "both", "{:,}".format),
    Column("Only the row", "gained", "{:,}".format),
    Column("Only the baseline", "lost", "{:,}".format),
    Column("Both wrong", "neither", "{:,}".format),
    Column("p", "p", cells.p_value),
]


def flips_frame(flips: Flips, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """All images that flip, one a row.

    Args:
        flips: The images.
        classes: The names of the classes; without, their numbers stand for them.
    """
    return pd.DataFrame([_line(flips, flip, classes) for flip in flips.flips], columns=NAMES)


def flips_tables(flips: Flips, classes: Sequence[str] | None, most: int) -> list[Table]:
    """A table of the images gained, one of those lost, and one of McNemar's counts.

    Args:
        flips: The images.
        classes: The names of the classes, if they are known.
        most: How many images the text shows of each direction; CSV has all.
    """
    base, row = (side.row.label for side in flips.sides)
    tables = []
    for gained, right, wrong in ((True, row, base), (False, base, row)):
        lines = [_line(flips, flip, classes) for flip in flips.flips if flip.gained is gained]
        hidden = len(lines) - most
        tables.append(
            Table(
                f"{'Gained' if gained else 'Lost'}: right with {right}, wrong with {wrong}, "
                f"{len(lines):,} of {len(flips.labels):,} images",
                COLUMNS,
                lines[:most],
                csv_names=NAMES,
                csv_lines=lines,
                footnotes=[f"{hidden:,} more: --most N."] if hidden > 0 else [],
                width=WIDTH,
            )
        )
    tables[1].footnotes += [
        "An image flips where most seeds of one row get it right, and most seeds of the other "
        "wrong. A class is the one that most seeds predict; where most are wrong, the most "
        "frequent wrong one.",
        *(
            []
            if classes
            else [
                "Classes are numbers: the images, which have their names, are "
                "not at hand (--data.root DIR)."
            ]
        ),
        *flips.notes,
    ]
    return tables


def counts_table(flips: Flips) -> Table:
    """McNemar's counts of each common seed, and their sum."""
    lines: list[Values] = [
        {"seed": seed, **_counts(counts), "p": counts.p} for seed, counts in flips.counts.items()
    ]
    if len(lines) > 1:
        lines.append({"seed": "all", **_counts(flips.summed)})
    title = f"McNemar's counts, {flips.row.row.label} against {flips.baseline.row.label}"
    return Table(title, COUNT_COLUMNS, lines, footnotes=[P_NOTE], width=WIDTH)


def flips_json(flips: Flips, classes: Sequence[str] | None) -> str:
    """One JSON document with all images and counts."""
    tree = {
        "study": flips.study.name,
        "baseline": flips.baseline.row.label,
        "row": flips.row.row.label,
        "images": len(flips.labels),
        "flips": [
            {name: _line(flips, flip, classes)[name] for name in NAMES} for flip in flips.flips
        ],
        "mcnemar": [
            {"seed": seed, **_counts(counts), "p": counts.p}
            for seed, counts in flips.counts.items()
        ],
        "notes": list(flips.notes),
    }
    return json.dumps(tree, indent=2) + "\n"


def _counts(counts: Counts) -> dict[str, int]:
    return asdict(counts)


def _line(flips: Flips, flip: Flip, classes: Sequence[str] | None) -> dict[str, Any]:
    seeds = [len(side.by_seed) for side in flips.sides]

    def name(label: int) -> str:
        return classes[label] if classes else str(label)

    return {
        "image": flip.image,
        "direction": "gained" if flip.gained else "lost",
        "true_class": name(flip.label),
        "baseline_class": name(flip.predicted[0]),
        "row_class": name(flip.predicted[1]),
        "baseline_right": flip.right[0],
        "baseline_seeds": seeds[0],
        "row_right": flip.right[1],
        "row_seeds": seeds[1],
        "_baseline": f"{flip.right[0]} of {seeds[0]}",
        "_row": f"{flip.right[1]} of {seeds[1]}",
    }
