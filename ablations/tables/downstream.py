"""The paper's tables of COCO and ADE20K, with our rows of the same backbones.

A record belongs to the table of which it has the metrics (``store.load.TASK_METRICS``), in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ablations.analysis import stats
from ablations.analysis.build import build_studies
from ablations.analysis.stats import Spread
from ablations.paper import published
from ablations.paper.published import DownstreamRow
from ablations.store.load import TASK_METRICS, record_task
from ablations.store.records import Record
from ablations.tables import cells, csv_values, our_rows
from ablations.tables.our_rows import OUR_VALUES, OurRow
from ablations.tables.table import Column, Table, Values


@dataclass(frozen=True)
class Task:
    """A downstream task.

    Args:
        title: The title of its table.
        rows: The published rows.
        headings: Column of the paper's file -> heading.
        file: The name of that file.
        footnotes: How the numbers were measured, and where the sources disagree.
        digits: Column -> decimals of the published numbers, if not one.
    """

    title: str
    rows: Callable[[], list[DownstreamRow]]
    headings: dict[str, str]
    file: str
    footnotes: tuple[str, ...] = ()
    digits: Mapping[str, int] = field(default_factory=dict)


COCO = (
    "The paper trains with AdamW at a batch of 16 for 12 epochs (1x), backbones pretrained on "
    "ImageNet-1K, the short side 800 pixels and the long one 1333 at most."
)
TASKS = {
    "retinanet": Task(
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
    "maskrcnn": Task(
        "COCO detection and instance segmentation, Mask R-CNN 1x (the paper's Table 3)",
        published.maskrcnn_rows,
        {name: name for name in published.MASKRCNN},
        "coco_maskrcnn.csv",
        (
            "APb is AP of boxes and APm of masks, in percent; 50 and 75 at these overlaps.",
            f"{COCO} Learning rate: 1e-4 in the text, 2e-4 in the released configs.",
        ),
    ),
    "ade20k": Task(
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
        digits={"mIoU_official_ckpt_eval": 2, "mIoU_mmseg_retrained": 2},
    ),
}


def downstream_table(name: str, records: Sequence[Record] = ()) -> Table:
    """A table of the paper with our rows. Its values: millions, percent.

    Args:
        name: One of ``TASK_METRICS``.
        records: Usable records of any task; a footnote counts those that are left out.
    """
    task, metrics = TASKS[name], TASK_METRICS[name]
    ours = our_rows.find_our_rows(build_studies(records, task=name))
    metric = next(iter(metrics.values()))
    ours_note = our_rows.OUR_ROWS_NOTE if ours else f"No rows of ours: no record here has {metric}."
    footnotes = [
        f"Published: arXiv 2111.11418 v3. {our_rows.sources_note(task.file)}",
        *task.footnotes,
        ours_note,
    ]
    others = [record for record in records if record_task(record) != name]
    if others:
        kinds = [record_task(record) or f"recipe {record.config['recipe']}" for record in others]
        footnotes.append(our_rows.left_out_note(kinds, f"without {metric}"))
    table = Table(
        task.title,
        [
            Column("Backbone", "_label", words=True),
            Column("Params (M)", "params_m", cells.number),
            *(Column(heading, f"_{column}") for column, heading in task.headings.items()),
        ],
        csv_names=[
            *("source", "backbone", "params_m", *task.headings),
            *(f"{column}_std" for column in metrics),
            *("n", *OUR_VALUES, "setting", "cited", "note"),
        ],
        footnotes=[*footnotes, *our_rows.our_provenance(ours)],
    )
    table.lines = our_rows.merged_lines(
        [("", _published_values(task, row)) for row in task.rows()],
        [(row, _our_values(task, metrics, row)) for row in ours],
        table.row_notes,
    )
    return table


def _published_values(task: Task, row: DownstreamRow) -> Values:
    return {
        "_label": row.backbone,
        **csv_values.fields_of(row, "backbone", "params_m", "setting", "note"),
        **row.values,
        **{
            f"_{column}": cells.number(value, 1, task.digits.get(column, 1))
            for column, value in row.values.items()
        },
        "cited": row.source,
    }


def _our_values(task: Task, metrics: Mapping[str, str], ours: OurRow) -> Values:
    spreads = {column: _spread(ours, metric) for column, metric in metrics.items()}
    first = next(iter(spreads.values()))
    n = first.n if first else 0
    return {
        "backbone": ours.model,
        "params_m": our_rows.cost_in(ours.row.cost, "params", 1e6),
        **{f"_{column}": _spread_text(spreads.get(column), n) for column in task.headings},
        **{column: spread.mean for column, spread in spreads.items() if spread},
        **{f"{column}_std": spread.std for column, spread in spreads.items() if spread},
        "n": n,
    }


def _spread(ours: OurRow, metric: str) -> Spread | None:
    values = [record.metric(metric) for record in ours.row.records if record.done]
    return stats.spread([value for value in values if value is not None])


def _spread_text(spread: Spread | None, n: int) -> str:
    """Mean ± standard deviation, and the number of seeds if it is not the row's."""
    if spread is None:
        return cells.EMPTY
    fewer = "" if spread.n == n else f" (n = {spread.n})"
    return cells.mean_and_std(spread.mean, spread.std) + fewer
