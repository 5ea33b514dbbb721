"""The size sweep, S12 to M48: the rows of a study beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ablations.analysis import stats
from ablations.analysis.rows import Row
from ablations.analysis.stats import Difference
from ablations.analysis.study import Study
from ablations.config import diff
from ablations.config.resolve import size_name
from ablations.paper import matching, published
from ablations.paper.published import SIZE_AXIS, SIZE_NAMES, PaperRow
from ablations.tables import cells, csv_values, missing, our_rows, provenance
from ablations.tables.notes import study_title
from ablations.tables.table import Column, CommandNote, PlottedDifference, Table, Values
from poolformer.config import SIZES

BASE = "s12"  # the size that the others are compared with


@dataclass
class Size:
    """A size in a study.

    Args:
        name: s12 to m48.
        depths: Blocks a stage in the study's recipe.
        widths: Channels a stage there.
        row: Its runs; None if it was not run.
        paper: The paper's row; None if its files lack it.
        delta: Difference of its top-1 from the S12's in points; None if either has none.
        missing_seeds: Seeds that the S12 has an outcome of, and this size has not.
        p_holm: The p-value of ``delta`` after Holm's correction over the sizes.
    """

    name: str
    depths: Sequence[int]
    widths: Sequence[int]
    row: Row | None = None
    paper: PaperRow | None = None
    delta: Difference | None = None
    missing_seeds: Sequence[int] = ()
    p_holm: float | None = None


CSV_NAMES = ["source", "recipe", "data", "fingerprint", "epochs", "precision", "shared_changes"]
CSV_NAMES += ["model", "depths", "widths", "params", "macs", "macs_paper_v2", "image_size"]
CSV_NAMES += ["top1_mean", "top1_std", "n", "top1_by_seed", "delta_mean", "delta_low"]
CSV_NAMES += ["delta_high", "delta_n", "delta_paired", "p", "p_holm", "diverged", "failed"]
CSV_NAMES += ["missing_seeds", "missing_command", "commits", "run_ids", "note"]
NAME_COLUMNS = [
    Column("Model", "_label", words=True),
    Column("Depths", "depths", lambda depths: depths.replace(" ", "-"), words=True),
    Column("Widths", "widths", lambda widths: widths.replace(" ", "-"), words=True),
]
PAPER_COLUMNS = [
    Column("Paper params (M)", "_paper", lambda row: cells.number(row and row.params_m)),
    Column("Paper MACs (G)", "_paper", lambda row: cells.number(row and row.macs_g)),
    Column("Paper top-1", "_paper", lambda row: cells.number(row and row.top1)),
    Column("Paper Δ", "_paper_delta"),
]


def _our_columns(unit: str) -> list[Column]:
    """The columns of our numbers, MACs in M or G."""
    return [
        Column("Params (M)", "params", partial(cells.number, unit=1e6, digits=3)),
        Column(f"MACs ({unit})", "macs", partial(cells.number, unit=cells.UNITS[unit], digits=2)),
        Column("Top-1 (%)", "_row", cells.accuracy),
        Column("n", "n"),
        Column("Δ from S12", "_from_s12"),
        Column("95% CI", "_delta", cells.interval),
        Column("p", "p_holm", cells.p_value),
    ]


def sizes_table(study: Study | None = None) -> Table:
    """S12 to M48 of a study, with the commands that train what it lacks.

    Its values: counts, percent, points; ``source`` is published or ours.

    Args:
        study: Of any recipe; None for the paper's numbers alone.
    """
    sizes = _find_sizes(study)
    about = f": {study_title(study)}" if study else " (the paper's Tables 1, 2)"
    table = Table(f"Model sizes{about}", csv_names=CSV_NAMES, footnotes=_footnotes(study, sizes))
    for size in sizes:
        name, first, paper = SIZE_NAMES[size.name], size.name == BASE, size.paper
        note = f"{name}: {our_rows.note_sentence(paper.note)}" if paper and paper.note else ""
        table.lines.append(
            (_our_line(study, size) if study else _published_line(size))
            | {
                "_label": size.name.upper() + table.row_notes.mark(note),
                "_row": size.row,
                "_delta": size.delta,
                "_from_s12": "0" if first and size.row else cells.plain_points(size.delta),
                "_paper": paper,
                "_paper_delta": "" if first else cells.signed(paper and paper.delta),
            }
        )
        if study:
            paper_delta = paper.delta if paper and not first else None
            table.differences.append(PlottedDifference.of(size.delta, paper_delta))
    macs = [size.row.cost.get("macs") for size in sizes if size.row]
    unit = "M" if max((count for count in macs if count), default=1e9) < 1e8 else "G"
    table.columns = [*NAME_COLUMNS, *(_our_columns(unit) if study else []), *PAPER_COLUMNS]
    return table


def _find_sizes(study: Study | None) -> list[Size]:
    """The five sizes, with what a study has of them."""
    papers = published.model_rows()
    recipe, all_rows = (study.recipe, study.rows) if study else ("imagenet", [])
    rows = {name: row for row in all_rows if study and (name := _size_of(study, row))}
    base = rows[BASE].top1_by_seed if BASE in rows else {}
    found = []
    for name in SIZES:
        flat, row = diff.flat_recipe(recipe, name), rows.get(name)
        size = Size(name, flat["model.depths"], flat["model.dims"], row, papers.get(name))
        if row is not None and name != BASE:
            size.delta = stats.difference(row.top1_by_seed, base)
            size.missing_seeds = sorted(base.keys() - row.top1_by_seed.keys())
        found.append(size)
    corrected = stats.holm_correction([size.delta.p if size.delta else None for size in found])
    for size, p in zip(found, corrected, strict=True):
        size.p_holm = p
    return found


def _size_of(study: Study, row: Row) -> str | None:
    """The size that a row of a study is, if it changes nothing else; None for other rows."""
    config = row.records[0].config
    name = size_name(study.recipe, config["model"]["depths"], config["model"]["dims"])
    if name is None:
        return None
    shared = {field: value for field, (_, value) in missing.shared_changes(study).items()}
    changed = diff.changed_fields(diff.flat_recipe(study.recipe, name), diff.flat_config(config))
    own = {field for field, (_, value) in changed.items() if shared.get(field) != value}
    return name if own <= {"optim.epochs"} else None


def _command(study: Study) -> str:
    """The command that trains the sizes that a study lacks; finished runs are reused."""
    changed = missing.shared_changes(study)
    size = None
    if study.baseline is not None:
        model = study.baseline.records[0].config["model"]
        size = size_name(study.recipe, model["depths"], model["dims"])
    if size not in (None, BASE):  # the baseline's own size is not shared by all rows
        changed = {name: c for name, c in changed.items() if name not in matching.SIZE_FIELDS}
    return missing.sweep_command(study, missing.SWEEPS[SIZE_AXIS], changed)


def _names(size: Size) -> Values:
    """The values that name a size."""
    return {
        "model": size.name.upper(),
        "depths": " ".join(map(str, size.depths)),
        "widths": " ".join(map(str, size.widths)),
    }


def _our_line(study: Study, size: Size) -> Values:
    row, delta = size.row, size.delta
    command = _command(study)
    if row:
        seeds = size.missing_seeds
        command = missing.seeds_command(study, row, seeds) if seeds else ""
    return {
        **_names(size),
        "source": "ours",
        **csv_values.study_values(study),
        **csv_values.shared_changes(study),
        **csv_values.cost_values(row),
        **csv_values.outcome_values(row),
        **csv_values.seed_values(row),
        **csv_values.delta_values(delta),
        **csv_values.fields_of(delta, "paired", prefix="delta_"),
        **csv_values.fields_of(delta, "p"),
        "p_holm": size.p_holm,
        **csv_values.status_counts(row),
        "missing_seeds": " ".join(map(str, size.missing_seeds)),
        "missing_command": command,
        **csv_values.record_values(row),
    }


def _published_line(size: Size) -> Values:
    paper = size.paper
    assert paper is not None
    return {
        **_names(size),
        "source": "published",
        "data": "ImageNet-1K",
        "params": round(paper.params_m * 1e6),
        "macs": round(paper.macs_g * 1e9),
        "macs_paper_v2": round(paper.macs_v2_g * 1e9) if paper.macs_v2_g else None,
        "image_size": 224,
        "top1_mean": paper.top1,
        "delta_mean": paper.delta,
        "note": paper.note,
    }


def _footnotes(study: Study | None, sizes: Sequence[Size]) -> list[str]:
    notes = [
        "Published: arXiv 2111.11418 v3: params as in its Table 1, MACs (fvcore, 224x224 pixels) "
        f"and ImageNet-1K top-1 as in its Table 2. {our_rows.sources_note('table1_config.csv')}"
    ]
    before = [
        f"{size.name.upper()} {size.paper.macs_v2_g:.1f}"
        for size in sizes
        if size.paper and size.paper.macs_v2_g
    ]
    if before:
        notes.append(
            f"The paper's second version gave other MACs (G, macs_prefvcore): {', '.join(before)}."
        )
    if study is None:
        command = "`ablations run sweeps/model_size.yaml`"
        return [*notes, CommandNote(f"No rows of ours: {command} trains them.")]
    rows = [size.row for size in sizes if size.row]
    side = next((row.records[0].config["data"]["image_size"] for row in rows), "?")
    notes.append(
        "Top-1 is the last epoch's, mean ± standard deviation over n seeds; Δ is the difference "
        "from S12 in points, paired by seed, with its 95% t interval, p its p-value after Holm's "
        f"correction. Params and MACs are those of this recipe's models at {side}x{side} pixels."
    )
    if any(cells.uses_welch(size.delta) for size in sizes):
        notes.append("Sizes that share fewer than two seeds with S12 are compared by Welch's t.")
    absent = [size.name.upper() for size in sizes if size.row is None]
    if absent:
        notes.append(CommandNote(f"Missing {', '.join(absent)}: `{_command(study)}`"))
    for size in sizes:
        if size.row and size.missing_seeds:
            name = size.name.upper()
            notes.append(missing.seeds_note(study, size.row, name, size.missing_seeds))
    if others := len(study.rows) - len(rows):
        notes.append(f"Rows of the study that are not a size, in the ablation table: {others}.")
    return [*notes, *provenance.provenance_notes(replace(study, rows=rows))]
