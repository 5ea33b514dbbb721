"""The paper's numbers: the CSV files in this folder as typed rows.

The files are shipped as they were given, with their sources in ``SOURCES.md``. Tests check their
contents and their hashes, so that reading them only converts the types. Standard library only.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from ablations.errors import SchemaError
from poolformer.config import SIZES

PAPER_DIR = Path(__file__).parent
BASELINE = "PoolFormer-S12"  # the variant that the paper's ablation table compares with
SIZE_NAMES = {size: f"PoolFormer-{size.upper()}" for size in SIZES}
SIZE_AXIS = "Model size"
RETINANET = ["AP", "AP50", "AP75", "APS", "APM", "APL"]
MASKRCNN = ["APb", "APb50", "APb75", "APm", "APm50", "APm75"]
ADE20K = ["mIoU", "mIoU_official_ckpt_eval", "mIoU_mmseg_retrained"]

Line = Mapping[str, str]  # column -> text
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's ablation table, or a model size as if it were one.

    Args:
        params_m: Parameters in millions.
        macs_g: MACs in billions at 224 pixels.
        top1: ImageNet-1K top-1 in percent.
        delta: Difference from the baseline in points.
        position: Its position in the paper's table; sizes come after the ablations.
        macs_v2_g: MACs in billions as the paper's second version gives them.
        frozen_params_m: Parameters in millions that are not trained, where the paper gives them.
        note: Remarks from the sources.
    """

    axis: str
    variant: str
    params_m: float
    macs_g: float
    top1: float
    delta: float
    position: int
    macs_v2_g: float | None = None
    frozen_params_m: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ImageNetRow:
    """A row of the paper's Table 2: a model on ImageNet-1K.

    Args:
        arch: Convolutional or MetaFormer.
        mixer: Attention, Spatial MLP or Pooling; empty for a convolutional network.
        image_size: Side of an image in pixels.
        params_m: Parameters in millions.
        macs_g: MACs in billions.
        top1: Top-1 in percent.
        macs_v2_g: MACs in billions as the paper's second version gives them.
        source: Where the numbers are from (SOURCES.md).
        note: Remarks from the sources.
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
        note: Remarks from the sources.
    """

    backbone: str
    params_m: float
    values: Mapping[str, float | None]
    setting: str
    source: str
    note: str


@dataclass(frozen=True)
class SpeedRow:
    """A measured speed; none is from the paper itself.

    Args:
        mode: Training or inference.
        value: Images per second; None where the source has only words.
    """

    model: str
    hardware: str
    mode: str
    value: float | None
    source: str


def parse_csv(name: str, parse: Callable[[Line], Parsed]) -> list[Parsed]:
    """The lines of one of the paper's files.

    Raises:
        SchemaError: A line lacks a column, or has a value of the wrong type.
    """
    path = PAPER_DIR / name
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        try:
            return [parse(line) for line in reader]
        except (KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"{path}, line {reader.line_num}: {error!r}") from error


def typed_row(
    kind: type[Parsed], line: Line, columns: Mapping[str, str], /, **given: Any
) -> Parsed:
    """A line as a dataclass, its texts converted to the types of the fields.

    Args:
        kind: The dataclass. An empty text is None in a field that may be None.
        line: The line.
        columns: Field -> column, where their names differ.
        given: Values of fields that are not from the line.
    """
    values = dict(given)
    for name, wanted in get_type_hints(kind).items():
        if name not in given:
            text, optional = line[columns.get(name, name)], get_args(wanted)
            convert = optional[0] if optional else wanted
            values[name] = convert(text) if text or not optional else None
    return kind(**values)


@functools.cache
def ablation_rows() -> dict[str, PaperRow]:
    """The 18 rows of the paper's ablation table by variant, in its order."""
    columns = {
        "axis": "ablation",
        "delta": "delta_vs_baseline",
        "macs_v2_g": "macs_g_prefvcore",
        "frozen_params_m": "extra_frozen_params_m",
    }
    return {
        line["variant"]: typed_row(PaperRow, line, columns, position=position)
        for position, line in enumerate(parse_csv("ablation.csv", dict))
    }


@functools.cache
def model_rows() -> dict[str, PaperRow]:
    """The five PoolFormers of the paper's Table 1 by size name (s12, ...)."""
    columns = {
        "variant": "model",
        "params_m": "params_m_v3_table1",
        "macs_g": "macs_g_v3_fvcore",
        "macs_v2_g": "macs_g_prefvcore",
    }
    lines = {line["model"]: line for line in parse_csv("table1_config.csv", dict)}
    rows = {}
    for position, (size, model) in enumerate(SIZE_NAMES.items(), start=100):
        delta = round(float(lines[model]["top1"]) - float(lines[BASELINE]["top1"]), 1)
        given = {"axis": SIZE_AXIS, "delta": delta, "position": position, "frozen_params_m": None}
        rows[size] = typed_row(PaperRow, lines[model], columns, **given)
    return rows


@functools.cache
def imagenet_rows() -> list[ImageNetRow]:
    """The rows of the paper's Table 2, in its order."""
    columns = {"arch": "general_arch", "mixer": "token_mixer", "macs_v2_g": "macs_g_prefvcore_awes"}
    return parse_csv("imagenet.csv", lambda line: typed_row(ImageNetRow, line, columns))


def _downstream_rows(name: str, columns: list[str], setting: str) -> list[DownstreamRow]:
    def parse(line: Line) -> DownstreamRow:
        values = {column: float(line[column]) if line[column] else None for column in columns}
        note = line.get("note", "")
        return typed_row(DownstreamRow, line, {"setting": setting}, values=values, note=note)

    return parse_csv(name, parse)


@functools.cache
def retinanet_rows() -> list[DownstreamRow]:
    """RetinaNet on COCO: AP, AP50, AP75, APS, APM, APL of boxes (Table 3, in its order)."""
    return _downstream_rows("coco_retinanet.csv", RETINANET, "schedule")


@functools.cache
def maskrcnn_rows() -> list[DownstreamRow]:
    """Mask R-CNN on COCO: APb, APb50, APb75 of boxes, APm, APm50, APm75 of masks (Table 3)."""
    return _downstream_rows("coco_maskrcnn.csv", MASKRCNN, "schedule")


@functools.cache
def ade20k_rows() -> list[DownstreamRow]:
    """Semantic FPN on ADE20K: mIoU, and mIoU as two others measured it (Table 4, in its order)."""
    return _downstream_rows("ade20k.csv", ADE20K, "head")


@functools.cache
def speed_rows() -> list[SpeedRow]:
    """Speeds that others measured; the hardware is empty where the source does not give it."""
    return parse_csv("speed.csv", lambda line: typed_row(SpeedRow, line, {}))
