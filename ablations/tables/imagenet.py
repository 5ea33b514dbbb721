"""The paper's ImageNet table with rows of ours among its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.paper import published
from ablations.paper.published import ImageNetRow
from ablations.store.records import Record
from ablations.tables import csv_columns
from ablations.tables.ablation import accuracy_text
from ablations.tables.our_rows import (
    FACTS,
    OURS,
    OurRow,
    cost_in,
    find_our_rows,
    left_out_note,
    merge_rows,
    note_sentence,
    our_provenance,
    sources_note,
)
from ablations.tables.table import MISSING, Table, number_text

CLASSES = 1000
PICTURES = [1_281_167, 50_000]  # of ImageNet-1K: to train on, to validate on


def imagenet_table(studies: Sequence[Study] = ()) -> Table:
    """The paper's Table 2, with the rows of ours that were trained on ImageNet-1K.

    Args:
        studies: Studies of any pictures; a line says what is left aside.
    """
    found, aside = _split(studies)
    words = ["General arch.", "Token mixer", "Outcome model"]
    table = Table("ImageNet-1K classification (the paper's Table 2)", pd.DataFrame(), words)
    table.section = "Token mixer"
    lines, before = [], ""
    for each in _rows(found):
        arch, cells = _cells(table, each)
        lines.append({"General arch.": arch if arch != before else "", **cells})
        before = arch
    table.frame = pd.DataFrame(lines, columns=[*words, *NUMBERS]).astype(str)
    table.foot = [*_foot(found, aside), *our_provenance(found)]
    return table


NUMBERS = ["Image size", "Params (M)", "MACs (G)", "Top-1 (%)"]
TIDY = ["source", "general_arch", "token_mixer", "model", "image_size", "params_m"]
TIDY += ["frozen_params_m", "macs_g", "macs_g_paper_v2", "top1_mean", "top1_std", "n", *FACTS]
TIDY += ["cited", "note"]


def imagenet_frame(studies: Sequence[Study] = ()) -> pd.DataFrame:
    """The same rows as raw numbers: millions, billions and percent.

    ``source`` is published or ours; ``cited`` is what a published row is cited from.
    """
    found, _ = _split(studies)
    return pd.DataFrame([_tidy_row(each) for each in _rows(found)], columns=TIDY, dtype=object)


def of_imagenet(record: Record) -> bool:
    """Whether a run is of ImageNet-1K: its pictures are a folder of 1000 classes."""
    config = record.config
    classes = record.data.get("classes", config["model"].get("num_classes"))
    return bool(config["data"]["name"] == "folder" and classes == CLASSES)


def _split(studies: Sequence[Study]) -> tuple[list[OurRow], list[Row]]:
    """Rows of ImageNet-1K, and the others."""
    kept: list[Study] = []
    aside: list[Row] = []
    for study in studies:
        good: list[Row] = []
        for row in study.rows:
            (good if all(map(of_imagenet, row.records)) else aside).append(row)
        if good:
            kept.append(replace(study, rows=good))
    return find_our_rows(kept), aside


def _rows(found: Sequence[OurRow]) -> list[ImageNetRow | OurRow]:
    rows = published.imagenet_rows()
    return merge_rows([(row.mixer, row.model, row) for row in rows], found)


def _cells(table: Table, each: ImageNetRow | OurRow) -> tuple[str, dict[str, str]]:
    """The architecture, and the other cells of a row."""
    if isinstance(each, OurRow):
        cost, top1 = each.row.cost, each.row.top1
        return "MetaFormer", {
            "Token mixer": each.section,
            "Outcome model": each.label(table, top1.n if top1 else 0),
            "Image size": str(each.row.records[0].config["data"]["image_size"]),
            "Params (M)": number_text(cost.get("params"), 1e6, 1),
            "MACs (G)": number_text(cost.get("macs"), 1e9, 1),
            "Top-1 (%)": accuracy_text(each.row),
        }
    mark = f" {table.note(note_sentence(each.note))}" if each.note else ""
    return each.arch, {
        "Token mixer": each.mixer or MISSING,
        "Outcome model": each.model + mark,
        "Image size": str(each.image_size),
        "Params (M)": f"{each.params_m:g}",
        "MACs (G)": f"{each.macs_g:.1f}",
        "Top-1 (%)": f"{each.top1:.1f}",
    }


def _tidy_row(each: ImageNetRow | OurRow) -> csv_columns.Columns:
    if isinstance(each, OurRow):
        cost = each.row.cost
        return {
            "source": "ours",
            "general_arch": "MetaFormer",
            "token_mixer": each.section,
            "model": each.model,
            "image_size": each.row.records[0].config["data"]["image_size"],
            "params_m": cost_in(cost, "params", 1e6),
            "frozen_params_m": cost_in(cost, "frozen_params", 1e6),
            "macs_g": cost_in(cost, "macs", 1e9),
            **csv_columns.of_outcome(each.row),
            **each.facts,
        }
    return {
        "source": "published",
        "general_arch": each.arch,
        "token_mixer": each.mixer,
        "model": each.model,
        "image_size": each.image_size,
        "params_m": each.params_m,
        "macs_g": each.macs_g,
        "macs_g_paper_v2": each.macs_v2_g,
        "top1_mean": each.top1,
        "n": None,
        "cited": each.source,
        "note": each.note,
    }


def _foot(found: Sequence[OurRow], aside: Sequence[Row]) -> list[str]:
    lines = [
        "Published: arXiv 2111.11418 v3, Table 2; its MACs are fvcore's. "
        + sources_note("imagenet.csv")
    ]
    before = [
        f"{row.model} {row.macs_v2_g:.1f}"
        for row in published.imagenet_rows()
        if row.macs_v2_g not in (None, row.macs_g)
    ]
    if before:
        lines.append(f"The paper's second version gave other MACs (G): {', '.join(before)}.")
    lines.append(
        "An article on the paper has PoolFormer-S36 3.7 points above ResNet-101, which implies "
        "77.7 for that; no table seen has it."
    )
    if found:
        lines.append(f"{OURS} Only recipe imagenet at 300 epochs is the paper's training.")
    else:
        lines.append(
            "No rows of ours: `ablations run sweeps/model_size.yaml --recipe imagenet --data.root "
            "DIR` trains the five PoolFormers."
        )
    for row in found:
        data = next((run.data for run in row.row.records if run.data), {})
        split = [data.get("train"), data.get("val")]
        if None not in split and split != PICTURES:
            lines.append(
                f"{row.model} ({row.told}): {split[0]} images to train on and {split[1]} to "
                f"validate on, where ImageNet-1K has {PICTURES[0]} and {PICTURES[1]}."
            )
    if aside:
        kinds = [_pictures(record) for row in aside for record in row.records]
        lines.append(left_out_note(kinds, "not of ImageNet-1K (a folder of 1000 classes)"))
    return lines


def _pictures(record: Record) -> str:
    classes = record.data.get("classes", record.config["model"].get("num_classes"))
    return f"{record.config['data']['name']} ({classes} classes)"
