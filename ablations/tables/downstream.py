"""The paper's tables of COCO and ADE20K, with rows of ours under the same backbones.

A record is of such a table where it has its outcomes (``reading.TASKS``), in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from ablations.analysis import stats
from ablations.analysis.build import build_studies
from ablations.analysis.stats import Spread
from ablations.paper import published
from ablations.paper.published import DownstreamRow
from ablations.store.load import TASK_METRICS, record_task
from ablations.store.records import Record
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


@dataclass(frozen=True)
class Shown:
    """What is shown of a downstream task.

    Args:
        title: The heading.
        rows: The published rows.
        columns: Column of the file -> heading.
        file: The name of the file.
        foot: What belongs to the numbers, and what the sources contradict; a line each.
    """

    title: str
    rows: Callable[[], list[DownstreamRow]]
    columns: dict[str, str]
    file: str
    foot: tuple[str, ...] = ()


COCO = (
    "The paper trains with AdamW at a batch of 16 for 12 epochs (1x), backbones pretrained on "
    "ImageNet-1K, the short side 800 pixels and the long one 1333 at most."
)
SHOWN = {
    "retinanet": Shown(
        "COCO detection, RetinaNet 1x (the paper's Table 3)",
        published.retinanet_rows,
        {name: name for name in published.RETINANET},
        "coco_retinanet.csv",
        (
            "AP of boxes in percent; AP50 and AP75 at these overlaps, APS, APM and APL of small, "
            "medium and large objects.",
            f"{COCO} Learning rate 1e-4.",
        ),
    ),
    "maskrcnn": Shown(
        "COCO detection and instance segmentation, Mask R-CNN 1x (the paper's Table 3)",
        published.maskrcnn_rows,
        {name: name for name in published.MASKRCNN},
        "coco_maskrcnn.csv",
        (
            "APb is AP of boxes and APm of masks, in percent; 50 and 75 at these overlaps.",
            f"{COCO} Learning rate: 1e-4 in the text, 2e-4 in the released configs.",
        ),
    ),
    "ade20k": Shown(
        "ADE20K semantic segmentation, Semantic FPN (the paper's Table 4)",
        published.ade20k_rows,
        {
            "mIoU": "mIoU (%)",
            "mIoU_official_ckpt_eval": "Checkpoint (%)",
            "mIoU_mmseg_retrained": "Retrained (%)",
        },
        "ade20k.csv",
        (
            "Checkpoint: the authors' weights, evaluated by mmsegmentation (its PR 1537); "
            "Retrained: trained again there (its README).",
            "The text's +4.3 over ResNet-18 and +1.5 over PVT-Tiny fit PoolFormer-S12's 37.2.",
            "The paper trains with AdamW at a batch of 32 for 40,000 iterations, learning rate "
            "2e-4; it tests with the short side 512, resized to multiples of 32: with "
            "mmsegmentation's plain resize S12 has 36.0 to 36.7.",
        ),
    ),
}


def downstream_table(name: str, records: Sequence[Record] = ()) -> Table:
    """A table of the paper's with rows of ours.

    Args:
        name: One of ``reading.TASKS``.
        records: Usable ones of any task; a line says what is left aside.
    """
    shown = SHOWN[name]
    found, aside = _split(name, records)
    table = Table(shown.title, pd.DataFrame(), ["Backbone"])
    lines = [_cells(table, name, each) for each in _rows(name, found)]
    columns = ["Backbone", "Params (M)", *shown.columns.values()]
    table.frame = pd.DataFrame(lines, columns=columns).astype(str)
    table.foot = [
        f"Published: arXiv 2111.11418 v3. {sources_note(shown.file)}",
        *shown.foot,
    ]
    first = next(iter(TASK_METRICS[name].values()))
    table.foot.append(OURS if found else f"No rows of ours: no record here has {first}.")
    if aside:
        kinds = [record_task(record) or f"recipe {record.config['recipe']}" for record in aside]
        table.foot.append(left_out_note(kinds, f"without {first}"))
    table.foot += our_provenance(found)
    return table


def downstream_frame(name: str, records: Sequence[Record] = ()) -> pd.DataFrame:
    """The same rows as raw numbers: millions, percent; ``source`` is published or ours.

    Args:
        name: One of ``reading.TASKS``.
        records: Usable ones of any task.
    """
    metrics = list(SHOWN[name].columns)
    columns = [
        "source",
        "backbone",
        "params_m",
        *metrics,
        *(f"{m}_std" for m in TASK_METRICS[name]),
    ]
    columns += ["n", *FACTS, "setting", "cited", "note"]
    found, _ = _split(name, records)
    rows = [_tidy_row(name, each) for each in _rows(name, found)]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _split(name: str, records: Sequence[Record]) -> tuple[list[OurRow], list[Record]]:
    """Rows of a task, and the records of others."""
    return find_our_rows(build_studies(records, task=name)), [
        record for record in records if record_task(record) != name
    ]


def _rows(name: str, found: Sequence[OurRow]) -> list[DownstreamRow | OurRow]:
    return merge_rows([("", row.backbone, row) for row in SHOWN[name].rows()], found)


def _spread(each: OurRow, metric: str) -> Spread | None:
    values = [record.metric(metric) for record in each.row.records if record.done]
    return stats.spread([value for value in values if value is not None])


def _count(name: str, each: OurRow) -> int:
    """Seeds that have the table's first outcome."""
    first = _spread(each, next(iter(TASK_METRICS[name].values())))
    return first.n if first else 0


def _cells(table: Table, name: str, each: DownstreamRow | OurRow) -> dict[str, str]:
    columns = SHOWN[name].columns
    if isinstance(each, DownstreamRow):
        mark = f" {table.note(note_sentence(each.note))}" if each.note else ""
        values = {
            title: number_text(each.values[column], 1, 1) for column, title in columns.items()
        }
        if name == "ade20k":  # others print two digits
            for column in list(columns)[1:]:
                values[columns[column]] = number_text(each.values[column], 1, 2)
        return {
            "Backbone": each.backbone + mark,
            "Params (M)": f"{each.params_m:.1f}",
            **values,
        }
    n = _count(name, each)
    values = dict.fromkeys(columns.values(), MISSING)
    for column, metric in TASK_METRICS[name].items():
        values[columns[column]] = _shown(_spread(each, metric), n)
    return {
        "Backbone": each.label(table, n),
        "Params (M)": number_text(each.row.cost.get("params"), 1e6, 1),
        **values,
    }


def _shown(found: Spread | None, n: int) -> str:
    """Mean ± standard deviation, and how many seeds where these are not those of the row."""
    if found is None:
        return MISSING
    std = "" if found.std is None else f" ± {found.std:.2f}"
    fewer = "" if found.n == n else f" (n = {found.n})"
    return f"{found.mean:.2f}{std}{fewer}"


def _tidy_row(name: str, each: DownstreamRow | OurRow) -> dict[str, object]:
    if isinstance(each, DownstreamRow):
        return {
            "source": "published",
            "backbone": each.backbone,
            "params_m": each.params_m,
            **each.values,
            "setting": each.setting,
            "cited": each.source,
            "note": each.note,
        }
    row: dict[str, object] = {"source": "ours", "backbone": each.model}
    row["params_m"] = cost_in(each.row.cost, "params", 1e6)
    for column, metric in TASK_METRICS[name].items():
        found = _spread(each, metric)
        row[column] = found.mean if found else None
        row[f"{column}_std"] = found.std if found else None
    return row | {"n": _count(name, each), **each.facts}
