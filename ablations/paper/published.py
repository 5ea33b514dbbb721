"""The paper's numbers: ``paper/*.csv``, shipped as given, line by line as typed rows.

A line that is nonsense is left out, and ``problems`` tells it. Standard library only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ablations.paper import csv_schema
from ablations.paper.csv_schema import Kind, Line, Near, Number, Sheet, Words
from poolformer.config import SIZES

PAPER_DIR = Path(__file__).parent
BASELINE = "PoolFormer-S12"  # variant of the ablation table that the others are compared with
SIZE_NAMES = {size: f"PoolFormer-{size.upper()}" for size in SIZES}
SIZE_AXIS = "Model size"

PERCENT = Number(0, 100)
KNOWN_PERCENT = Number(0, 100, empty=True)
# Parameters in millions, MACs in billions; the paper's lie between 0.2 and 307.
COUNT = Number(0.01, 10_000)
KNOWN_COUNT = Number(0.01, 10_000, empty=True)
POINTS = Number(-100, 100)
NAME = Words()
NOTE = Words(empty=True)
# How far the printed difference may lie from that of the printed accuracies: each is rounded to
# 0.1 (SOURCES.md: pool size 9's is 0.4 in the table and 0.5 in the text).
ROUNDED = 0.1


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's ablation table, or a size as if it were one; ``position`` is its place.

    Args:
        params_m: Parameters in millions.
        macs_g: MACs in billions at 224 pixels.
        top1: ImageNet-1K top-1 in percent.
        delta: Difference from the baseline in points; None where the baseline is not known.
        macs_v2_g: MACs in billions as the paper's second version gives them.
        frozen_params_m: Parameters in millions that are not trained, where the paper names them.
        note: What else the sources say of the row.
        place: The file and the line.
    """

    axis: str
    variant: str
    params_m: float
    macs_g: float
    top1: float
    delta: float | None
    position: int
    macs_v2_g: float | None = None
    frozen_params_m: float | None = None
    note: str = ""
    place: str = ""


@dataclass(frozen=True)
class ImageNetRow:
    """A row of the paper's Table 2: a model on ImageNet-1K.

    Args:
        arch: Convolutional or MetaFormer.
        mixer: Attention, Spatial MLP or Pooling; empty for a convolutional network.
        image_size: Side of a picture in pixels.
        params_m: Parameters in millions.
        macs_g: MACs in billions.
        top1: Top-1 in percent.
        macs_v2_g: MACs in billions as the paper's second version gives them.
        source: Where the numbers are from (SOURCES.md).
        note: What else the sources say of the row.
    """

    arch: str
    mixer: str
    model: str
    image_size: int
    params_m: float
    macs_g: float
    top1: float
    macs_v2_g: float | None
    source: str
    note: str


@dataclass(frozen=True)
class DownstreamRow:
    """A row of the paper's Table 3 (COCO) or 4 (ADE20K): a backbone under a head.

    Args:
        params_m: Parameters in millions, head included.
        values: Column of the file -> percent; None where no source has it.
        setting: The schedule (COCO) or the head (ADE20K).
        source: Where the numbers are from (SOURCES.md).
        note: What else the sources say of the row.
    """

    backbone: str
    params_m: float
    values: Mapping[str, float | None]
    setting: str
    source: str
    note: str


@dataclass(frozen=True)
class LongerRow:
    """A row of the paper's Table 7: top-1 in percent after so many epochs."""

    model: str
    epochs: int
    top1: float
    source: str


@dataclass(frozen=True)
class SpeedRow:
    """A measured speed, none of them the paper's own.

    Args:
        value: In ``unit`` (img/s or fps); None where only ``claim`` is known.
        claim: What the source says in words.
    """

    model: str
    hardware: str
    precision: str
    batch_size: int | None
    image_size: int | None
    mode: str
    value: float | None
    unit: str
    claim: str
    source: str
    note: str


RETINANET = ["AP", "AP50", "AP75", "APS", "APM", "APL"]
MASKRCNN = ["APb", "APb50", "APb75", "APm", "APm50", "APm75"]
ADE20K = ["mIoU", "mIoU_official_ckpt_eval", "mIoU_mmseg_retrained"]
COCO: dict[str, Kind] = {"backbone": NAME, "params_m": COUNT, "schedule": NAME, "source": NAME}
SHAPE = [f"{what}_s{stage}" for what in ("blocks", "dim") for stage in (1, 2, 3, 4)]

SHEETS = {
    "ablation.csv": Sheet(
        {
            "ablation": NAME,
            "variant": NAME,
            "params_m": COUNT,
            "macs_g": COUNT,
            "macs_g_prefvcore": KNOWN_COUNT,
            "top1": PERCENT,
            "delta_vs_baseline": POINTS,
            "extra_frozen_params_m": KNOWN_COUNT,
            "params_m_recomputed": KNOWN_COUNT,
            "macs_g_fvcore_recomputed": KNOWN_COUNT,
            "note": NOTE,
        },
        key=("variant",),
        near=(
            Near("params_m", "params_m_recomputed", 0.05),
            Near("macs_g", "macs_g_fvcore_recomputed", 0.05),
        ),
        lines=18,
    ),
    "table1_config.csv": Sheet(
        {
            "model": Words(tuple(SIZE_NAMES.values())),
            **{name: Number(1, 10_000, whole=True) for name in SHAPE},
            "pool_size": Number(1, 99, whole=True),
            "mlp_ratio": Number(0.1, 100),
            "params_m_v3_table1": COUNT,
            "params_m_v3_table2": COUNT,
            "params_m_recomputed": KNOWN_COUNT,
            "macs_g_prefvcore": KNOWN_COUNT,
            "macs_g_v3_fvcore": COUNT,
            "macs_g_fvcore_recomputed": KNOWN_COUNT,
            "top1": PERCENT,
            "drop_path": Number(0, 1),
            "layer_scale_init": Number(0, 1),
            "eval_crop_pct": Number(0.05, 1),
            "note": NOTE,
        },
        key=("model",),
        near=(
            # SOURCES.md: three of Table 1 are 0.1 below the rounded count.
            Near("params_m_v3_table1", "params_m_recomputed", 0.1),
            Near("params_m_v3_table2", "params_m_recomputed", 0.5),
            Near("macs_g_v3_fvcore", "macs_g_fvcore_recomputed", 0.05),
        ),
        lines=5,
    ),
    "imagenet.csv": Sheet(
        {
            "general_arch": Words(("Convolutional", "MetaFormer")),
            "token_mixer": NOTE,
            "model": NAME,
            "image_size": Number(1, 10_000, whole=True),
            "params_m": COUNT,
            "macs_g": COUNT,
            "macs_g_prefvcore_awes": KNOWN_COUNT,
            "top1": PERCENT,
            "source": NAME,
            "note": NOTE,
        },
        key=("model", "image_size"),
        lines=27,
    ),
    "coco_retinanet.csv": Sheet(
        COCO | dict.fromkeys(RETINANET, PERCENT), key=("backbone", "schedule"), lines=6
    ),
    "coco_maskrcnn.csv": Sheet(
        COCO | dict.fromkeys(MASKRCNN, PERCENT), key=("backbone", "schedule"), lines=6
    ),
    "ade20k.csv": Sheet(
        {
            "backbone": NAME,
            "params_m": COUNT,
            "mIoU": PERCENT,
            "mIoU_official_ckpt_eval": KNOWN_PERCENT,
            "mIoU_mmseg_retrained": KNOWN_PERCENT,
            "head": NAME,
            "source": NAME,
            "note": NOTE,
        },
        key=("backbone", "head"),
        lines=14,
    ),
    "longer_training.csv": Sheet(
        {
            "model": NAME,
            "epochs": Number(1, 1_000_000, whole=True),
            "top1": PERCENT,
            "source": NAME,
        },
        key=("model", "epochs"),
        lines=8,
    ),
    "speed.csv": Sheet(
        {
            "model": NAME,
            "hardware": NOTE,
            "precision": NOTE,
            "batch_size": Number(1, 1_000_000, whole=True, empty=True),
            "image_size": Number(1, 10_000, whole=True, empty=True),
            "mode": Words(("inference", "training")),
            "value": Number(0.001, 1e9, empty=True),
            "unit": Words(("img/s", "fps"), empty=True),
            "qualitative_claim": NOTE,
            "source": NAME,
            "note": NOTE,
        },
        key=("model", "hardware", "precision", "batch_size", "mode", "source"),
        lines=76,
    ),
}


def problems() -> list[str]:
    """A line for each thing in the paper's files that is left out: file, line, column, value."""
    return list(_read(PAPER_DIR)[1])


def forget() -> None:
    """Read the files anew at the next call: for tests that change them."""
    _read.cache_clear()
    _ablation_rows.cache_clear()


@functools.cache
def _read(folder: Path) -> tuple[dict[str, list[Line]], list[str]]:
    found: dict[str, list[Line]] = {}
    told: list[str] = []
    for name, sheet in SHEETS.items():
        found[name], odd = csv_schema.read(folder / name, sheet)
        told += odd
    found["ablation.csv"], odd = _consistent(found["ablation.csv"])
    return found, told + odd


def _consistent(lines: list[Line]) -> tuple[list[Line], list[str]]:
    """The lines of the ablation table whose top-1 and difference imply the same baseline."""

    def implied(line: Line) -> float:
        return float(line.values["top1"] - line.values["delta_vs_baseline"])

    good, told = [], []
    middle = sorted(map(implied, lines))[len(lines) // 2 :]  # what most lines say
    baseline = middle[0] if middle else 0.0
    for line in lines:
        if abs(implied(line) - baseline) <= ROUNDED + 1e-9:
            good.append(line)
            continue
        top1, delta = (line.values[name] for name in ("top1", "delta_vs_baseline"))
        told.append(
            f"{line.place}: delta_vs_baseline '{delta:g}' must be within {ROUNDED} of "
            f"{top1 - baseline:+.1f}: top1 is {top1:g}, the baseline of the other lines "
            f"{baseline:.1f}"
        )
    return good, told


Made = TypeVar("Made")


def _rows(name: str, make: Callable[[dict[str, Any]], Made]) -> list[Made]:
    return [make(line.values) for line in _read(PAPER_DIR)[0][name]]


def ablation_rows() -> dict[str, PaperRow]:
    """The 18 rows of the paper's ablation table by variant, in its order."""
    return _ablation_rows(PAPER_DIR)


@functools.cache
def _ablation_rows(folder: Path) -> dict[str, PaperRow]:
    return {
        line.values["variant"]: PaperRow(
            axis=line.values["ablation"],
            variant=line.values["variant"],
            params_m=line.values["params_m"],
            macs_g=line.values["macs_g"],
            top1=line.values["top1"],
            delta=line.values["delta_vs_baseline"],
            position=position,
            macs_v2_g=line.values["macs_g_prefvcore"],
            frozen_params_m=line.values["extra_frozen_params_m"],
            note=line.values["note"] or "",
            place=line.place,
        )
        for position, line in enumerate(_read(folder)[0]["ablation.csv"])
    }


def model_rows() -> dict[str, PaperRow]:
    """The five PoolFormers of the paper's Table 1 by size name (s12, ...)."""
    lines = {line.values["model"]: line for line in _read(PAPER_DIR)[0]["table1_config.csv"]}
    first = lines.get(BASELINE)
    return {
        size: PaperRow(
            axis=SIZE_AXIS,
            variant=model,
            params_m=lines[model].values["params_m_v3_table1"],
            macs_g=lines[model].values["macs_g_v3_fvcore"],
            top1=lines[model].values["top1"],
            delta=round(lines[model].values["top1"] - first.values["top1"], 1) if first else None,
            position=100 + position,
            macs_v2_g=lines[model].values["macs_g_prefvcore"],
            note=lines[model].values["note"] or "",
            place=lines[model].place,
        )
        for position, (size, model) in enumerate(SIZE_NAMES.items())
        if model in lines
    }


def imagenet_rows() -> list[ImageNetRow]:
    """The rows of the paper's Table 2, in its order."""
    return _rows(
        "imagenet.csv",
        lambda line: ImageNetRow(
            arch=line["general_arch"],
            mixer=line["token_mixer"] or "",
            model=line["model"],
            image_size=line["image_size"],
            params_m=line["params_m"],
            macs_g=line["macs_g"],
            top1=line["top1"],
            macs_v2_g=line["macs_g_prefvcore_awes"],
            source=line["source"],
            note=line["note"] or "",
        ),
    )


def _downstream(name: str, columns: list[str], setting: str) -> list[DownstreamRow]:
    return _rows(
        name,
        lambda line: DownstreamRow(
            backbone=line["backbone"],
            params_m=line["params_m"],
            values={column: line[column] for column in columns},
            setting=line[setting],
            source=line["source"],
            note=line.get("note") or "",
        ),
    )


def retinanet_rows() -> list[DownstreamRow]:
    """RetinaNet on COCO: AP, AP50, AP75, APS, APM, APL of boxes (Table 3, in its order)."""
    return _downstream("coco_retinanet.csv", RETINANET, "schedule")


def maskrcnn_rows() -> list[DownstreamRow]:
    """Mask R-CNN on COCO: APb, APb50, APb75 of boxes, APm, APm50, APm75 of masks (Table 3)."""
    return _downstream("coco_maskrcnn.csv", MASKRCNN, "schedule")


def ade20k_rows() -> list[DownstreamRow]:
    """Semantic FPN on ADE20K: mIoU, and mIoU as two others found it (Table 4, in its order)."""
    return _downstream("ade20k.csv", ADE20K, "head")


def longer_rows() -> list[LongerRow]:
    """PoolFormer-S12 trained for longer (Table 7, in its order)."""
    names = ("model", "epochs", "top1", "source")
    return _rows("longer_training.csv", lambda line: LongerRow(*(line[name] for name in names)))


def speed_rows() -> list[SpeedRow]:
    """Speeds that others measured; the hardware is empty where the source does not say it."""
    return _rows(
        "speed.csv",
        lambda line: SpeedRow(
            model=line["model"],
            hardware=line["hardware"] or "",
            precision=line["precision"] or "",
            batch_size=line["batch_size"],
            image_size=line["image_size"],
            mode=line["mode"],
            value=line["value"],
            unit=line["unit"] or "",
            claim=line["qualitative_claim"] or "",
            source=line["source"],
            note=line["note"] or "",
        ),
    )
