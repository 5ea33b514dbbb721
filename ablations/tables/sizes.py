"""The size sweep, S12 to M48: rows of a study beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ablations.analysis import stats
from ablations.analysis.rows import Row
from ablations.analysis.stats import Difference
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.config.resolve import size_name
from ablations.paper import matching, published
from ablations.paper.published import PaperRow
from ablations.tables import csv_columns, missing, provenance
from ablations.tables.ablation import accuracy_text, interval_text, study_title
from ablations.tables.our_rows import cost_in, note_sentence, sources_note
from ablations.tables.table import PlottedDifference, Table, number_text, p_value_text, signed_text
from poolformer.config import SIZES

SWEEP = missing.SWEEPS[published.SIZE_AXIS]


@dataclass(frozen=True)
class Size:
    """A size in a study.

    Args:
        name: s12 to m48.
        depths: Blocks a stage in the study's recipe.
        widths: Channels a stage there.
        row: Its runs; None where it was not run.
        paper: The paper's row; None where its files lack it.
        delta: Difference of its top-1 from the S12's in points; None where either has none.
        missing_seeds: Seeds that the S12 has an outcome of and this size has not.
    """

    name: str
    depths: Sequence[int]
    widths: Sequence[int]
    row: Row | None = None
    paper: PaperRow | None = None
    delta: Difference | None = None
    missing_seeds: tuple[int, ...] = ()
    p: float | None = None  # of the difference, after Holm's correction over the sizes


def sizes_table(study: Study | None = None) -> Table:
    """S12 to M48 of a study, with the commands that fill what it lacks.

    Args:
        study: Of any recipe; None for the paper's numbers alone.
    """
    found = _found(study)
    title = (
        f"Model sizes: {study_title(study)}" if study else "Model sizes (the paper's Tables 1, 2)"
    )
    table = Table(title, pd.DataFrame(), ["Model", "Depths", "Widths"])
    costs = [cost_in(size.row.cost, "macs", 1e9) for size in found if size.row]
    small = max((cost for cost in costs if cost), default=1) < 0.1
    unit, letter = (1e6, "M") if small else (1e9, "G")
    lines = []
    for size in found:
        note = size.paper.note if size.paper else ""
        mark = (
            f" {table.note(f'{published.SIZE_NAMES[size.name]}: {note_sentence(note)}')}"
            if note
            else ""
        )
        line = {
            "Model": size.name.upper() + mark,
            "Depths": "-".join(map(str, size.depths)),
            "Widths": "-".join(map(str, size.widths)),
        }
        if study:
            line |= _cells(size, unit, letter)
        paper = size.paper
        lines.append(
            line
            | {
                "Paper params (M)": number_text(paper.params_m if paper else None, 1, 1),
                "Paper MACs (G)": number_text(paper.macs_g if paper else None, 1, 1),
                "Paper top-1": number_text(paper.top1 if paper else None, 1, 1),
                "Paper Δ": ""
                if size.name == "s12"
                else signed_text(paper.delta if paper else None),
            }
        )
        if study:
            table.drawn.append(_drawn(size))
    table.frame = pd.DataFrame(lines).astype(str)
    table.foot = _foot(study, found)
    return table


TIDY = ["source", "recipe", "data", "fingerprint", "epochs", "precision", "shared_changes", "model"]
TIDY += ["depths", "widths", "params", "macs", "macs_paper_v2", "image_size", "top1_mean"]
TIDY += ["top1_std", "n", "top1_by_seed", "delta_mean", "delta_low", "delta_high", "delta_n"]
TIDY += [
    "delta_paired",
    "p",
    "p_holm",
    "diverged",
    "failed",
    "missing_seeds",
    "missing_command",
    "commits",
]
TIDY += ["run_ids", "note"]


def sizes_frame(found: Sequence[Study] = ()) -> pd.DataFrame:
    """The same rows as raw numbers: counts, percent, points; ``source`` is published or ours.

    Args:
        found: Studies of any recipes; their rows stand before the published ones.
    """
    rows = [_tidy_row(study, size) for study in found for size in _found(study)]
    return pd.DataFrame([*rows, *_published()], columns=TIDY, dtype=object)


def _found(study: Study | None) -> list[Size]:
    """The five sizes, as far as a study has them."""
    papers = published.model_rows()
    if study is None:
        return [Size(name, *_shape("imagenet", name), paper=papers.get(name)) for name in SIZES]
    rows = {name: row for row in study.rows if (name := _size_of(study, row))}
    first = rows["s12"].top1_by_seed if "s12" in rows else {}
    found = []
    for name in SIZES:
        row, delta, missing_seeds = rows.get(name), None, set[int]()
        if row is not None and name != "s12":
            delta = stats.difference(row.top1_by_seed, first)
            missing_seeds = first.keys() - row.top1_by_seed.keys()
        shape = _shape(study.recipe, name)
        found.append(Size(name, *shape, row, papers.get(name), delta, tuple(sorted(missing_seeds))))
    corrected = stats.holm_correction([size.delta.p if size.delta else None for size in found])
    return [replace(size, p=p) for size, p in zip(found, corrected, strict=True)]


def _shape(recipe: str, size: str) -> tuple[Sequence[int], Sequence[int]]:
    """Depths and widths of a size in a recipe."""
    flat = diff.flat_recipe(recipe, size)
    return flat["model.depths"], flat["model.dims"]


def _size_of(study: Study, row: Row) -> str | None:
    """The size that a row of a study is, where it changes nothing else; None for other rows."""
    config = row.records[0].config
    name = size_name(study.recipe, config["model"]["depths"], config["model"]["dims"])
    if name is None:
        return None
    preset = diff.flat_recipe(study.recipe, name)
    shared = _shared(study)
    beyond = diff.changed_fields(preset, diff.flat_config(config))
    own = {field for field, (_, value) in beyond.items() if shared.get(field) != value}
    return name if own <= {"optim.epochs"} else None


def _shared(study: Study) -> dict[str, Any]:
    """Field -> value of what all rows of a study change against its recipe."""
    return {name: value for name, (_, value) in missing.shared_changes(study).items()}


def _command(study: Study) -> str:
    """The command that trains the sizes that a study lacks; what is done is reused."""
    changed = missing.shared_changes(study)
    size = None
    if study.baseline is not None:
        model = study.baseline.records[0].config["model"]
        size = size_name(study.recipe, model["depths"], model["dims"])
    if size not in (None, "s12"):  # its own size is none of what all rows share
        changed = {name: c for name, c in changed.items() if name not in matching.SIZE_FIELDS}
    return missing.sweep_command(study, SWEEP, changed)


def _cells(size: Size, unit: float, letter: str) -> dict[str, str]:
    row, delta = size.row, size.delta
    cost = row.cost if row else {}
    return {
        "Params (M)": number_text(cost.get("params"), 1e6, 3),
        f"MACs ({letter})": number_text(cost.get("macs"), unit, 2),
        "Top-1 (%)": accuracy_text(row) if row else "missing",
        "n": str(row.top1.n if row and row.top1 else 0),
        "Δ from S12": "0"
        if size.name == "s12" and row
        else signed_text(delta.mean, 2)
        if delta
        else "",
        "95% CI": interval_text(delta),
        "p": p_value_text(size.p),
    }


def _drawn(size: Size) -> PlottedDifference:
    paper = size.paper.delta if size.paper and size.name != "s12" else None
    if size.delta is None:
        return PlottedDifference(paper=paper)
    return PlottedDifference(size.delta.mean, size.delta.low, size.delta.high, paper)


def _foot(study: Study | None, found: Sequence[Size]) -> list[str]:
    lines = [
        "Published: arXiv 2111.11418 v3: params as in its Table 1, MACs (fvcore, 224x224 pixels) "
        f"and ImageNet-1K top-1 as in its Table 2. {sources_note('table1_config.csv')}"
    ]
    before = [
        f"{size.name.upper()} {size.paper.macs_v2_g:.1f}"
        for size in found
        if size.paper and size.paper.macs_v2_g
    ]
    if before:
        lines.append(
            f"The paper's second version gave other MACs (G, macs_prefvcore): {', '.join(before)}."
        )
    if study is None:
        lines.append("No rows of ours: `ablations run sweeps/model_size.yaml` trains them.")
        return lines
    rows = [size.row for size in found if size.row]
    side = next((row.records[0].config["data"]["image_size"] for row in rows), "?")
    lines.append(
        "Top-1 is the last epoch's, mean ± standard deviation over n seeds; Δ is the difference "
        "from S12 in points, paired by seed, with its 95% t interval, p its p-value after Holm's "
        f"correction. Params and MACs are those of this recipe's models at {side}x{side} pixels."
    )
    deltas = [size.delta for size in found if size.delta]
    if any(delta.p is not None and not delta.paired for delta in deltas):
        lines.append("Sizes that share fewer than two seeds with S12 are compared by Welch's t.")
    absent = [size.name.upper() for size in found if size.row is None]
    if absent:
        lines.append(f"Missing {', '.join(absent)}: `{_command(study)}`")
    for size in found:
        if size.row and size.missing_seeds:
            lines.append(missing.seeds_note(study, size.row, size.name.upper(), size.missing_seeds))
    if others := len(study.rows) - len(rows):
        lines.append(f"Rows of the study that are no size, left to the ablation table: {others}.")
    return [*lines, *provenance.provenance_notes(replace(study, rows=rows))]


def _tidy_row(study: Study, size: Size) -> csv_columns.Columns:
    row, delta = size.row, size.delta
    command = _command(study)
    if row:
        command = (
            missing.seeds_command(study, row, size.missing_seeds) if size.missing_seeds else ""
        )
    return {
        "source": "ours",
        **csv_columns.of_study(study),
        "shared_changes": "; ".join(naming.format_assignments(study.shared_changes)),
        "model": size.name.upper(),
        "depths": " ".join(map(str, size.depths)),
        "widths": " ".join(map(str, size.widths)),
        **csv_columns.of_cost(row),
        **csv_columns.of_outcome(row),
        "top1_by_seed": csv_columns.by_seed(row),
        **csv_columns.of_difference(delta),
        "delta_paired": delta.paired if delta else None,
        "p": delta.p if delta else None,
        "p_holm": size.p,
        **csv_columns.of_ends(row),
        "missing_seeds": " ".join(map(str, size.missing_seeds)),
        "missing_command": command,
        **csv_columns.of_records(row),
    }


def _published() -> list[csv_columns.Columns]:
    return [
        {
            "source": "published",
            "data": "ImageNet-1K",
            "model": size.upper(),
            "depths": " ".join(map(str, SIZES[size].depths)),
            "widths": " ".join(map(str, SIZES[size].dims)),
            "params": round(paper.params_m * 1e6),
            "macs": round(paper.macs_g * 1e9),
            "macs_paper_v2": round(paper.macs_v2_g * 1e9) if paper.macs_v2_g else None,
            "image_size": 224,
            "top1_mean": paper.top1,
            "delta_mean": paper.delta,
            "note": paper.note,
        }
        for size, paper in published.model_rows().items()
    ]
