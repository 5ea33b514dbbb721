"""The paper's numbers (``paper/*.csv``, shipped as given) and which row of ours each belongs to."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations import labels
from ablations.labels import AXES, Changes, own_field
from ablations.resolve import size_name

PAPER = Path(__file__).parent / "paper"

# Row of ablation.csv -> the change that makes it. Baseline values are not part of the match, so
# the rows hold for every recipe.
ROWS: dict[str, tuple[str, Any]] = {
    "Pooling -> Identity mapping": ("model.token_mixers", "identity"),
    "Pooling -> Global random matrix": ("model.token_mixers", "random"),
    "Pooling -> Depthwise convolution": ("model.token_mixers", "depthwise"),
    "Pooling size 3 -> 5": ("model.pool_size", 5),
    "Pooling size 3 -> 7": ("model.pool_size", 7),
    "Pooling size 3 -> 9": ("model.pool_size", 9),
    "Modified LayerNorm -> LayerNorm": ("model.norm", "layer"),
    "Modified LayerNorm -> BatchNorm": ("model.norm", "batch"),
    "Modified LayerNorm -> None": ("model.norm", "none"),
    "GELU -> ReLU": ("model.activation", "relu"),
    "GELU -> SiLU": ("model.activation", "silu"),
    "Residual connection -> None": ("model.residual", False),
    "Channel MLP -> None": ("model.channel_mlp", False),
    "[Pool,Pool,Pool,Attention]": ("model.token_mixers", ["pool", "pool", "pool", "attention"]),
    "[Pool,Pool,Attention,Attention]": (
        "model.token_mixers",
        ["pool", "pool", "attention", "attention"],
    ),
    "[Pool,Pool,Pool,SpatialFC]": ("model.token_mixers", ["pool", "pool", "pool", "spatial_fc"]),
    "[Pool,Pool,SpatialFC,SpatialFC]": (
        "model.token_mixers",
        ["pool", "pool", "spatial_fc", "spatial_fc"],
    ),
}
# What the paper's own row changes besides its axis; a row that changes more is another row.
ATTENTION_ROWS = {"model.norm", "model.position_embedding", "data.batch_size", "optim.lr"}
ACCOMPANIED = {
    "[Pool,Pool,Pool,Attention]": ATTENTION_ROWS | {"data.crop_pct"},
    "[Pool,Pool,Attention,Attention]": ATTENTION_ROWS | {"data.crop_pct"},
    "[Pool,Pool,SpatialFC,SpatialFC]": {"data.crop_pct"},
}


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's ablation table; ``position`` is its place there.

    Args:
        params_m: Parameters in millions.
        macs_g: MACs in billions at 224 pixels.
        top1: ImageNet-1K top-1 in percent.
        delta: Difference from the baseline in points.
        macs_before_g: MACs in billions as the paper's second version gives them.
        frozen_params_m: Parameters in millions that are not trained, where the paper names them.
        note: What else the sources say of the row.
    """

    axis: str
    variant: str
    params_m: float
    macs_g: float
    top1: float
    delta: float
    position: int
    macs_before_g: float | None = None
    frozen_params_m: float | None = None
    note: str = ""


def _known(text: str) -> float | None:
    return float(text) if text else None


@functools.cache
def ablation_rows() -> dict[str, PaperRow]:
    """The 18 rows of the paper's ablation table by variant, in its order."""
    with (PAPER / "ablation.csv").open(newline="") as file:
        return {
            line["variant"]: PaperRow(
                axis=line["ablation"],
                variant=line["variant"],
                params_m=float(line["params_m"]),
                macs_g=float(line["macs_g"]),
                top1=float(line["top1"]),
                delta=float(line["delta_vs_baseline"]),
                position=position,
                macs_before_g=_known(line["macs_g_prefvcore"]),
                frozen_params_m=_known(line["extra_frozen_params_m"]),
                note=line["note"],
            )
            for position, line in enumerate(csv.DictReader(file))
        }


@functools.cache
def model_rows() -> dict[str, PaperRow]:
    """The five PoolFormers of the paper's Table 1 by size name (s12, ...)."""
    with (PAPER / "table1_config.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    return {
        line["model"].removeprefix("PoolFormer-").lower(): PaperRow(
            axis=AXES["model.depths"],
            variant=line["model"],
            params_m=float(line["params_m_v3_table1"]),
            macs_g=float(line["macs_g_v3_fvcore"]),
            top1=float(line["top1"]),
            delta=round(float(line["top1"]) - float(lines[0]["top1"]), 1),
            position=100 + position,
            macs_before_g=_known(line["macs_g_prefvcore"]),
            note=line["note"],
        )
        for position, line in enumerate(lines)
    }


# What the paper gives a size besides depths and widths.
WITH_SIZE = {"model.depths", "model.dims", "model.layer_scale_init", "model.drop_path"}
WITH_SIZE |= {"data.crop_pct"}


def size_row(size: str, changed: Changes) -> PaperRow | None:
    """The paper's row of a size, None where the variant changes more than a size does."""
    return model_rows()[size] if set(changed) <= WITH_SIZE else None


def match(changed: Changes) -> PaperRow | None:
    """The paper's row for what a variant changes against the baseline, None where it has none."""
    if not changed:
        return next(iter(ablation_rows().values()))
    own = own_field(changed)
    for variant, (name, value) in ROWS.items():
        if own == name and changed[name][1] == value:
            others = set(changed) - {name}
            return ablation_rows()[variant] if others <= ACCOMPANIED.get(variant, set()) else None
    return None


SHAPE = ["model.depths", "model.dims"]


def place(recipe: str, changed: Changes, flat: dict[str, Any]) -> tuple[str, str, PaperRow | None]:
    """The axis and the label of what a variant changes against a baseline, and the paper's row.

    Args:
        recipe: The recipe of both.
        changed: The variant's changes.
        flat: Its whole config, flat.
    """
    axis, label, paper = labels.axis(changed), labels.label(changed), match(changed)
    if axis == "Model size":
        before = {name: changed[name][0] if name in changed else flat[name] for name in SHAPE}
        names = [
            size_name(recipe, *shape.values())
            for shape in (before, {name: flat[name] for name in SHAPE})
        ]
        if names[0] and names[1]:
            label = f"{names[0].upper()} -> {names[1].upper()}"
            paper = size_row(names[1], changed)
    return axis, label, paper
