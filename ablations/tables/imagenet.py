"""The paper's ImageNet table, with our rows among its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.paper import published
from ablations.paper.published import ImageNetRow
from ablations.store.records import Record
from ablations.tables import cells, csv_values, our_rows
from ablations.tables.our_rows import OUR_VALUES, OurRow
from ablations.tables.table import Column, CommandNote, Table, Values

CLASSES = 1000
SPLIT_SIZES = [1_281_167, 50_000]  # images of ImageNet-1K to train on, and to validate on

COLUMNS = [
    Column("General arch.", "_arch", words=True),
    Column("Token mixer", "token_mixer", lambda mixer: mixer or cells.EMPTY, words=True),
    Column("Outcome model", "_label", words=True),
    Column("Image size", "image_size"),
    Column("Params (M)", "_params"),
    Column("MACs (G)", "macs_g", cells.number),
    Column("Top-1 (%)", "_top1"),
]
CSV_NAMES = ["source", "general_arch", "token_mixer", "model", "image_size", "params_m"]
CSV_NAMES += ["frozen_params_m", "macs_g", "macs_g_paper_v2", "top1_mean", "top1_std", "n"]
CSV_NAMES += [*OUR_VALUES, "cited", "note"]


def imagenet_table(studies: Sequence[Study] = ()) -> Table:
    """The paper's Table 2, with our rows that were trained on ImageNet-1K.

    Its values: millions, billions and percent; ``source`` is published or ours; ``cited`` is what a
    published row is cited from.

    Args:
        studies: Studies of any images; a footnote counts the records that are left out.
    """
    ours, others = _split(studies)
    title = "ImageNet-1K classification (the paper's Table 2)"
    table = Table(title, COLUMNS, section="Token mixer", csv_names=CSV_NAMES)
    rows = [(row.mixer, _published_values(row)) for row in published.imagenet_rows()]
    lines = our_rows.merged_lines(rows, [(row, _our_values(row)) for row in ours], table.row_notes)
    for before, line in zip([{}, *lines], lines, strict=False):
        arch = line["general_arch"]
        table.lines.append(line | {"_arch": arch if arch != before.get("general_arch") else ""})
    table.footnotes = [*_footnotes(ours, others), *our_rows.our_provenance(ours)]
    return table


def _of_imagenet(record: Record) -> bool:
    """Whether a run is of ImageNet-1K: a folder of 1000 classes."""
    return record.config["data"]["name"] == "folder" and _classes(record) == CLASSES


def _classes(record: Record) -> object:
    return record.data.get("classes", record.config["model"].get("num_classes"))


def _split(studies: Sequence[Study]) -> tuple[list[OurRow], list[Row]]:
    """Our rows of ImageNet-1K, and the others."""
    kept: list[Study] = []
    others: list[Row] = []
    for study in studies:
        rows: list[Row] = []
        for row in study.rows:
            (rows if all(map(_of_imagenet, row.records)) else others).append(row)
        if rows:
            kept.append(replace(study, rows=rows))
    return our_rows.find_our_rows(kept), others


def _our_values(ours: OurRow) -> Values:
    cost = ours.row.cost
    return {
        "general_arch": "MetaFormer",
        "token_mixer": ours.section,
        "model": ours.model,
        "image_size": ours.row.records[0].config["data"]["image_size"],
        "params_m": our_rows.cost_in(cost, "params", 1e6),
        "_params": cells.number(cost.get("params"), 1e6, 1),
        "frozen_params_m": our_rows.cost_in(cost, "frozen_params", 1e6),
        "macs_g": our_rows.cost_in(cost, "macs", 1e9),
        "_top1": cells.accuracy(ours.row),
        **csv_values.outcome_values(ours.row),
    }


def _published_values(row: ImageNetRow) -> Values:
    return {
        "general_arch": row.arch,
        "token_mixer": row.mixer,
        "_label": row.model,
        **csv_values.fields_of(row, "model", "image_size", "params_m", "macs_g", "note"),
        "_params": f"{row.params_m:g}",
        "macs_g_paper_v2": row.macs_v2_g,
        "_top1": cells.number(row.top1),
        "top1_mean": row.top1,
        "cited": row.source,
    }


def _footnotes(ours: Sequence[OurRow], others: Sequence[Row]) -> list[str]:
    notes = [
        "Published: arXiv 2111.11418 v3, Table 2; its MACs are fvcore's. "
        + our_rows.sources_note("imagenet.csv")
    ]
    before = [
        f"{row.model} {row.macs_v2_g:.1f}"
        for row in published.imagenet_rows()
        if row.macs_v2_g not in (None, row.macs_g)
    ]
    if before:
        notes.append(f"The paper's second version gave other MACs (G): {', '.join(before)}.")
    notes.append(
        "An article on the paper has PoolFormer-S36 3.7 points above ResNet-101, which implies "
        "77.7 for that; no table that we found has this number."
    )
    if ours:
        notes.append(
            f"{our_rows.OUR_ROWS_NOTE} Only recipe imagenet at 300 epochs is the paper's training."
        )
    else:
        notes.append(
            CommandNote(
                "No rows of ours: `ablations run sweeps/model_size.yaml --recipe imagenet "
                "--data.root DIR` trains the five PoolFormers."
            )
        )
    for each in ours:
        data = next((run.data for run in each.row.records if run.data), {})
        split = [data.get("train"), data.get("val")]
        if None not in split and split != SPLIT_SIZES:
            notes.append(
                f"{each.model} ({each.source}): {split[0]} images to train on and {split[1]} to "
                f"validate on; ImageNet-1K has {SPLIT_SIZES[0]} and {SPLIT_SIZES[1]}."
            )
    if others:
        records = [record for row in others for record in row.records]
        kinds = [f"{r.config['data']['name']} ({_classes(r)} classes)" for r in records]
        notes.append(our_rows.left_out_note(kinds, "not of ImageNet-1K (a folder of 1000 classes)"))
    return notes
