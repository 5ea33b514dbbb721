"""The size sweep, S12 to M48: the rows of a study beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from ablations.analysis.method_notes import method_note
from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config import diff
from ablations.config.resolve import size_name
from ablations.paper import matching, published
from ablations.paper.published import SIZE_AXIS, SIZE_NAMES, PaperRow
from ablations.tables import cells, csv_values, missing, our_rows, provenance
from ablations.tables.ablation import row_values
from ablations.tables.notes import study_title
from ablations.tables.table import Column, CommandNote, PlottedDifference, Table, Values

BASE = "s12"  # the size that the others are compared with


CSV_NAMES = ["source", "recipe", "data", "fingerprint", "epochs", "precision", "shared_changes"]
CSV_NAMES += ["model", "depths", "widths", "params", "macs", "macs_paper_v2", "image_size"]
CSV_NAMES += ["top1_mean", "top1_std", "n", "top1_by_seed", "delta_mean", "delta_low"]
CSV_NAMES += ["delta_high", "delta_n", "delta_paired", "p", "p_corrected", "diverged", "failed"]
CSV_NAMES += ["missing_seeds", "missing_command", "commits", "run_ids", "note"]
NAME_COLUMNS = [
    Column("Model", "_label", words=True),
    Column("Depths", "depths", lambda depths: depths.replace(" ", "-"), words=True),
    Column("Widths", "widths", lambda widths: widths.replace(" ", "-"), words=True),
]
PAPER_COLUMNS = [
    Column("Paper params (M)", "paper_params_m", cells.number),
    Column("Paper MACs (G)", "paper_macs_g", cells.number),
    Column("Paper top-1", "paper_top1", cells.number),
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
        Column("p", "_delta", cells.reported_p),
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
    for name, row in sizes.items():
        first, paper = name == BASE, published.model_rows()[name]
        note = f"{SIZE_NAMES[name]}: {our_rows.note_sentence(paper.note)}" if paper.note else ""
        text: Values = {
            "_label": name.upper() + table.row_notes.mark(note),
            "_row": row,
            "_delta": row.delta,
            "_from_s12": "0" if first and row.records else cells.plain_points(row.delta),
            "_paper_delta": "" if first else cells.signed(paper.delta),
        }
        values = _our_values(study, row) if study else _published_values(paper)
        names = _name_values(study.recipe if study else "imagenet", name)
        if study:
            text["_difference"] = PlottedDifference.of(row.delta, None if first else paper.delta)
        table.lines.append(values | names | text)
    macs = [row.cost["macs"] for row in sizes.values() if row.cost.get("macs")]
    unit = "M" if max(macs, default=1e9) < 1e8 else "G"
    table.columns = [*NAME_COLUMNS, *(_our_columns(unit) if study else []), *PAPER_COLUMNS]
    return table


def _find_sizes(study: Study | None) -> dict[str, Row]:
    """The five sizes, each compared with the S12; without runs where a study lacks it."""
    rows = {name: row for row in study.rows if (name := _size_of(study, row))} if study else {}
    base = rows[BASE].top1_by_seed if BASE in rows else {}
    deltas = {}
    if study and BASE in rows:
        others = [row.label for name, row in rows.items() if name != BASE]
        deltas = study.comparisons.family(others, rows[BASE].label)
    found = {}
    for name, paper in published.model_rows().items():
        row = replace(rows.get(name, Row(SIZE_AXIS, name, {}, [])), paper=paper)
        seeds = base.keys() - row.top1_by_seed.keys() if row.records else ()
        delta = deltas.get(row.label)
        found[name] = replace(row, delta=delta, missing_seeds=sorted(seeds))
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


def _name_values(recipe: str, name: str) -> Values:
    flat = diff.flat_recipe(recipe, name)
    return {
        "model": name.upper(),
        "depths": " ".join(map(str, flat["model.depths"])),
        "widths": " ".join(map(str, flat["model.dims"])),
    }


def _our_values(study: Study, row: Row) -> Values:
    command = "" if row.records else _command(study)
    if row.missing_seeds:
        command = missing.seeds_command(study, row, row.missing_seeds)
    return {
        **row_values(study, row),
        "source": "ours",
        **csv_values.fields_of(row.delta, "paired", prefix="delta_"),
        "missing_command": command,
    }


def _published_values(paper: PaperRow) -> Values:
    return {
        "source": "published",
        "data": "ImageNet-1K",
        "params": round(paper.params_m * 1e6),
        "macs": round(paper.macs_g * 1e9),
        "macs_paper_v2": round(paper.macs_v2_g * 1e9) if paper.macs_v2_g else None,
        "image_size": 224,
        "top1_mean": paper.top1,
        "delta_mean": paper.delta,
        "note": paper.note,
        **csv_values.fields_of(paper, "params_m", "macs_g", "top1", prefix="paper_"),
    }


def _footnotes(study: Study | None, sizes: Mapping[str, Row]) -> list[str]:
    notes = [
        "Published: arXiv 2111.11418 v3: params as in its Table 1, MACs (fvcore, 224x224 pixels) "
        f"and ImageNet-1K top-1 as in its Table 2. {our_rows.sources_note('table1_config.csv')}"
    ]
    before = [
        f"{name.upper()} {paper.macs_v2_g:.1f}"
        for name, paper in published.model_rows().items()
        if paper.macs_v2_g
    ]
    if before:
        notes.append(
            f"The paper's second version gave other MACs (G, macs_prefvcore): {', '.join(before)}."
        )
    if study is None:
        command = "`ablations run sweeps/model_size.yaml`"
        return [*notes, CommandNote(f"No rows of ours: {command} trains them.")]
    rows = [row for row in sizes.values() if row.records]
    side = next((row.records[0].config["data"]["image_size"] for row in rows), "?")
    notes.append(
        "Top-1 is the last epoch's, mean ± standard deviation over n seeds; Δ is the difference "
        "from S12 in points, paired by seed, with its 95% interval and p. "
        f"{method_note(study.comparisons, 'all sizes')} Params and MACs are those of this "
        f"recipe's models at {side}x{side} pixels."
    )
    if any(cells.uses_welch(row.delta) for row in rows):
        notes.append(
            "Sizes that share fewer than two seeds with S12 are compared by means, as independent."
        )
    absent = [name.upper() for name, row in sizes.items() if not row.records]
    if absent:
        notes.append(CommandNote(f"Missing {', '.join(absent)}: `{_command(study)}`"))
    for name, row in sizes.items():
        if row.missing_seeds:
            notes.append(missing.seeds_note(study, row, name.upper(), row.missing_seeds))
    if others := len(study.rows) - len(rows):
        notes.append(f"Rows of the study that are not a size, in the ablation table: {others}.")
    return [*notes, *provenance.provenance_notes(replace(study, rows=rows))]
