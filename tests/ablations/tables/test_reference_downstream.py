"""The paper's tables of COCO and ADE20K, with rows measured by other tasks."""

from __future__ import annotations

import pytest

from ablations import tables
from ablations.paper import published
from ablations.store import load
from tests.factories.records import BASE
from tests.factories.reference import csv_rows, measured, names


@pytest.mark.parametrize(
    ("of", "heads", "row"),
    [
        (
            "retinanet",
            ["Backbone", "Params (M)", "AP", "AP50", "AP75", "APS", "APM", "APL"],
            ["PoolFormer-S12", "21.7", "36.2", "56.2", "38.2", "20.8", "39.1", "48.0"],
        ),
        (
            "maskrcnn",
            ["Backbone", "Params (M)", "APb", "APb50", "APb75", "APm", "APm50", "APm75"],
            ["PoolFormer-S12", "31.6", "37.3", "59.0", "40.1", "34.6", "55.8", "36.9"],
        ),
        (
            "ade20k",
            ["Backbone", "Params (M)", "mIoU (%)", "Checkpoint (%)", "Retrained (%)"],
            ["PoolFormer-S12 ¹", "15.7", "37.2", "37.15", "37.07"],
        ),
    ],
)
def test_published_rows_downstream(of, heads, row):
    table = tables.downstream_table(of)
    assert list(table.frame.columns) == heads
    assert row in table.frame.to_numpy().tolist()
    rows = {"retinanet": 6, "maskrcnn": 6, "ade20k": 14}[of]
    assert len(table.frame) == rows
    assert names(table)[0] == "ResNet-18"


def test_contradictions_of_the_sources_are_in_footnotes():
    assert "Running text (and a summary of the paper) say 37.1" in next(
        iter(tables.downstream_table("ade20k").row_notes)
    )
    assert any(
        "+4.3 over ResNet-18 and +1.5" in text
        for text in tables.downstream_table("ade20k").footnotes
    )
    assert any(
        "1e-4 in the text, 2e-4 in the" in text
        for text in tables.downstream_table("maskrcnn").footnotes
    )


def test_our_rows_follow_the_published_row_of_their_backbone():
    found = [
        measured({"val/AP": 36.0, "val/AP50": 56.0, "val/AP_small": 20.0}, 0),
        measured({"val/AP": 36.6, "val/AP50": 57.0}, 1),
        measured({"val/AP": 39.0}, preset="s24", params=31_100_000),
        measured({"val/AP": 33.0}, model__token_mixers="identity"),
        measured({"val/box_AP": 37.0, "val/mask_AP": 34.0, "val/mask_AP75": 36.0}),
        measured({"val/mIoU": 37.3}),
        *BASE,
    ]
    table = tables.downstream_table("retinanet", found)
    assert names(table) == [
        "ResNet-18",
        "PoolFormer-S12",
        "PoolFormer-S12 (ours: imagenet, 300 epochs, n = 2)",
        "ResNet-50",
        "PoolFormer-S24",
        "PoolFormer-S24 (ours: imagenet, 300 epochs, n = 1)",
        "ResNet-101",
        "PoolFormer-S36",
        "PoolFormer-S12 with Pooling -> Identity mapping (ours: imagenet, 300 epochs, n = 1)",
    ]
    row = list(table.frame.iloc[2])[1:]
    # 36.0 and 36.6: mean 36.3, deviation 0.6 / sqrt(2).
    assert row == ["21.7", "36.30 ± 0.42", "56.50 ± 0.71", "–", "20.00 (n = 1)", "–", "–"]
    assert "5 records left out, without val/AP: 1 of ade20k, 1 of maskrcnn, 3 of recipe mini." in (
        table.footnotes
    )
    assert "Made from 4 records" in table.footnotes[-1]
    row = list(tables.downstream_table("maskrcnn", found).frame.iloc[2])[2:]
    assert row == ["37.00", "–", "–", "34.00", "–", "36.00"]
    row = list(tables.downstream_table("ade20k", found).frame.iloc[3])[2:]
    assert row == ["37.30", "–", "–"]


def test_csv_of_downstream_tables():
    found = [measured({"val/mIoU": 37.0 + seed}, seed) for seed in range(3)]
    rows = csv_rows(found, "ade20k")
    assert len(rows) == 15
    ours = rows[3]
    assert (ours["source"], ours["backbone"], ours["mIoU"], ours["mIoU_std"], ours["n"]) == (
        "ours",
        "PoolFormer-S12",
        "38.0",
        "1.0",
        "3",
    )
    assert (rows[2]["source"], rows[2]["mIoU"], rows[2]["mIoU_official_ckpt_eval"]) == (
        "published",
        "37.2",
        "37.15",
    )
    assert rows[0]["setting"] == "Semantic FPN"


def test_the_tasks_have_the_papers_columns():
    assert list(load.TASK_METRICS["retinanet"]) == published.RETINANET
    assert list(load.TASK_METRICS["maskrcnn"]) == published.MASKRCNN
    assert list(load.TASK_METRICS["ade20k"]) == published.ADE20K[:1]
    names = [metric for metrics in load.TASK_METRICS.values() for metric in metrics.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("task", load.TASK_METRICS)
def test_a_record_of_another_task_can_be_used(task):
    first = next(iter(load.TASK_METRICS[task].values()))
    run = measured({first: 30.0})
    assert load.record_problem(run) is None
    assert load.record_task(run) == task
    assert load.record_problem(measured({first: 300.0})) == (
        f"{first} 300.0 is not a percentage, 0 to 100"
    )
    assert load.record_problem(measured({first: float("nan")})) == (
        f"{first} nan is not a percentage, 0 to 100"
    )


def test_a_record_without_any_outcome_cannot_be_used():
    assert load.record_problem(measured({"val/loss": 1.0})) == (
        "it is finished and has no val/top1 (nor val/AP, val/box_AP, val/mIoU)"
    )
    assert load.record_task(BASE[0]) is None
