"""What a cell changes -> its axis, its name, and the paper's row of the same change.

Where the paper's files lack that row, or it is left out of them, the cell is a row without the
paper's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablations.config import diff, naming
from ablations.config.diff import SHAPE_FIELDS, Changes, flat_recipe, primary_field
from ablations.config.resolve import size_name
from ablations.paper import csv_schema, published
from ablations.paper.published import BASELINE, PaperRow

# Row of ablation.csv -> the change that makes it. Baseline values are not part of the match, so
# the rows hold for every recipe.
PAPER_CHANGES: dict[str, tuple[str, Any]] = {
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
# The values of what goes with them in the model; with others it is no row of the paper.
ATTENTION = "[Pool,Pool,Pool,Attention]", "[Pool,Pool,Attention,Attention]"
WITH = {
    variant: {"model.norm": "layer", "model.position_embedding": stage}
    for variant, stage in zip(ATTENTION, (4, 3), strict=True)
}
# What the paper gives a size besides depths and widths.
WITH_SIZE = {*SHAPE_FIELDS, "model.layer_scale_init", "model.drop_path", "data.crop_pct"}


def rows() -> dict[str, PaperRow]:
    """The rows of the paper's ablation table that a cell of ours makes, in its order."""
    return {name: row for name, row in published.ablation_rows().items() if not _trouble(row)}


def row_of(variant: str) -> PaperRow | None:
    """The paper's row of that name, None where no cell of ours makes it."""
    row = published.ablation_rows().get(variant)
    return None if row is None or _trouble(row) else row


def problems() -> list[str]:
    """What is left out of the paper's files, and rows of the ablation table that no cell makes."""
    odd = [_trouble(row) for row in published.ablation_rows().values()]
    return published.problems() + [problem for problem in odd if problem]


def _trouble(row: PaperRow) -> str | None:
    """Why no cell makes a row, in words; None where one does."""
    if row.variant == BASELINE:
        axis = naming.BASELINE
    elif row.variant in PAPER_CHANGES:
        name, value = PAPER_CHANGES[row.variant]
        axis = naming.axis_of({name: (None, value)})
    else:
        valid = ", ".join([BASELINE, *PAPER_CHANGES])
        return f"{row.place}: variant {csv_schema.quoted(row.variant)} must be one of {valid}"
    if row.axis != axis:
        return (
            f"{row.place}: ablation {csv_schema.quoted(row.axis)} of {row.variant} must be {axis}"
        )
    return None


# What the paper's baseline has in the fields that the rows of its table change.
PAPER_BASELINE: dict[str, Any] = {
    "model.token_mixers": "pool",
    "model.pool_size": 3,
    "model.norm": "group",
    "model.activation": "gelu",
    "model.residual": True,
    "model.channel_mlp": True,
}


def changes_from_paper(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> Changes:
    """What tells a variant from the paper's baseline as a recipe has it, whatever a study's is.

    In the model that is all that differs. In data and training it is what the variant changes: what
    all variants of a study share (a batch, say) is no change of a row.

    Args:
        recipe: Its recipe.
        changed: Its changes against the study's baseline.
        flat: Its whole config, flat.
    """
    default = {**flat_recipe(recipe), **PAPER_BASELINE}
    return {
        name: change
        for name, change in diff.changed_fields(default, flat).items()
        if name.startswith("model.") or name in changed
    }


def find_size_row(size: str, changed: Changes) -> PaperRow | None:
    """The paper's row of a size, None where the variant changes more than a size does."""
    return published.model_rows().get(size) if set(changed) <= WITH_SIZE else None


def find_paper_row(changed: Changes) -> PaperRow | None:
    """The paper's row for what a variant changes against the baseline, None where it has none."""
    if not changed:
        return row_of(BASELINE)
    own = primary_field(changed)
    for variant, (name, value) in PAPER_CHANGES.items():
        if own == name and changed[name][1] == value:
            others = set(changed) - {name}
            return row_of(variant) if others <= ACCOMPANIED.get(variant, set()) else None
    return None


def describe_variant(
    recipe: str, changed: Changes, flat: Mapping[str, Any]
) -> tuple[str, str, PaperRow | None]:
    """The section and the name of what a variant changes against a baseline, and the paper's row.

    Args:
        recipe: The recipe of both.
        changed: The variant's changes.
        flat: Its whole config, flat.
    """
    axis, label = (
        naming.section_title(recipe, changed, flat),
        naming.variant_name(recipe, changed, flat),
    )
    return axis, label, _paper_row(recipe, changes_from_paper(recipe, changed, flat), flat)


def _paper_row(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> PaperRow | None:
    """The paper's row that a variant is, by what tells it from the paper's baseline."""
    if primary_field(changed) in SHAPE_FIELDS:
        size = size_name(recipe, *(flat[name] for name in SHAPE_FIELDS))
        return find_size_row(size, changed) if size else None
    found = find_paper_row(changed)
    wanted = WITH.get(found.variant, {}) if found else {}
    return found if all(flat[name] == value for name, value in wanted.items()) else None
