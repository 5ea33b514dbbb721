"""What a variant changes -> its axis, its name, and the paper's row with the same change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ablations.config import diff, naming
from ablations.config.diff import SHAPE_FIELDS, Changes, flat_recipe, primary_field
from ablations.config.resolve import size_name
from ablations.paper import published
from ablations.paper.published import BASELINE, PaperRow

# Variant in ablation.csv -> the change that makes it. The baseline's value does not matter, so that
# a row matches in every recipe.
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
# What the paper's rows change besides their axis; a row that changes more is another row.
_WITH_ATTENTION = {"model.norm", "model.position_embedding", "data.batch_size", "optim.lr"}
_ALSO_CHANGED = {
    "[Pool,Pool,Pool,Attention]": _WITH_ATTENTION | {"data.crop_pct"},
    "[Pool,Pool,Attention,Attention]": _WITH_ATTENTION | {"data.crop_pct"},
    "[Pool,Pool,SpatialFC,SpatialFC]": {"data.crop_pct"},
}
# The values that these fields have in the paper's rows; with other values it is another row.
_REQUIRED: dict[str, dict[str, Any]] = {
    "[Pool,Pool,Pool,Attention]": {"model.norm": "layer", "model.position_embedding": 4},
    "[Pool,Pool,Attention,Attention]": {"model.norm": "layer", "model.position_embedding": 3},
}
# The paper's baseline, in the fields that the rows of its table change.
PAPER_BASELINE: dict[str, Any] = {
    "model.token_mixers": "pool",
    "model.pool_size": 3,
    "model.norm": "group",
    "model.activation": "gelu",
    "model.residual": True,
    "model.channel_mlp": True,
}
# What the paper changes with a size.
SIZE_FIELDS = {*SHAPE_FIELDS, "model.layer_scale_init", "model.drop_path", "data.crop_pct"}


def changes_from_paper(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> Changes:
    """A variant's changes against the paper's baseline in a recipe, whatever the study's baseline.

    For the model these are all differences. For data and training these are the variant's own
    changes: what all variants of a study share (a batch size, for example) does not count.

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


def find_paper_row(changed: Changes) -> PaperRow | None:
    """The paper's row with the changes of a variant against the baseline; None without one."""
    if not changed:
        return published.ablation_rows()[BASELINE]
    own = primary_field(changed)
    for variant, (name, value) in PAPER_CHANGES.items():
        if own == name and changed[name][1] == value:
            others = changed.keys() - {name} - _ALSO_CHANGED.get(variant, set())
            return None if others else published.ablation_rows()[variant]
    return None


def describe_variant(
    recipe: str, changed: Changes, flat: Mapping[str, Any]
) -> tuple[str, str, PaperRow | None]:
    """The section of a variant, its name, and the paper's row if there is one.

    Args:
        recipe: The recipe of the variant and of the baseline.
        changed: The variant's changes against the baseline.
        flat: Its whole config, flat.
    """
    axis = naming.section_title(recipe, changed, flat)
    label = naming.variant_name(recipe, changed, flat)
    return axis, label, _paper_row(recipe, changes_from_paper(recipe, changed, flat), flat)


def _paper_row(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> PaperRow | None:
    """The paper's row of a variant, by its changes against the paper's baseline."""
    if primary_field(changed) in SHAPE_FIELDS:
        size = size_name(recipe, *(flat[name] for name in SHAPE_FIELDS))
        return published.model_rows().get(size or "") if changed.keys() <= SIZE_FIELDS else None
    found = find_paper_row(changed)
    wanted = _REQUIRED.get(found.variant, {}) if found else {}
    return found if all(flat[name] == value for name, value in wanted.items()) else None
