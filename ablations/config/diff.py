"""The fields in which a config differs from a baseline or from its recipe.

A flat config maps dotted fields to JSON values (``{"model.pool_size": 3, ...}``). It covers what
changes the result, without the seed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ablations.config.resolve import flatten, resolve

# The axis of each field in the paper's ablation table, in the paper's order. A row that changes
# several of these fields belongs to the axis of the first.
AXES = {
    "model.token_mixers": "Token mixers",
    "model.pool_size": "Token mixers",
    "model.norm": "Normalization",
    "model.activation": "Activation",
    "model.residual": "Other components",
    "model.channel_mlp": "Other components",
    "model.depths": "Model size",
    "model.dims": "Model size",
}
SHAPE_FIELDS = ("model.depths", "model.dims")  # together they are one change: the model's size
# The location of the files does not change the result; the others follow from the data.
NOT_COMPARED = ["data.root", "model.in_channels", "model.num_classes", "model.image_size"]

Changes = dict[str, tuple[Any, Any]]  # field -> (value of the baseline, value of the variant)


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flat config of a config as JSON values, such as that of a record."""
    flat = flatten({group: config[group] for group in ("model", "data", "optim")})
    return {field: value for field, value in flat.items() if field not in NOT_COMPARED}


def changed_fields(baseline: Mapping[str, Any], config: Mapping[str, Any]) -> Changes:
    """The fields in which two flat configs differ, sorted by name."""
    fields = {field for field, value in config.items() if baseline.get(field) != value}
    fields |= {field for field in baseline.keys() - config.keys() if baseline[field] is not None}
    return {field: (baseline.get(field), config.get(field)) for field in sorted(fields)}


@functools.cache
def flat_recipe(recipe: str, preset: str | None = None) -> dict[str, Any]:
    """The flat config of a recipe with one of its presets. Callers must not modify it."""
    return flat_config(resolve(recipe, preset=preset).to_json())


def changes_from_recipe(config: Mapping[str, Any]) -> Changes:
    """What a config, as JSON values, changes against its recipe."""
    return changed_fields(flat_recipe(config["recipe"]), flat_config(config))


def primary_field(changed: Changes) -> str | None:
    """The field that decides the axis of a row; None for the baseline."""
    return min(changed, key=_position, default=None)


def primary_fields(changed: Changes) -> tuple[str, ...]:
    """The field that decides the axis, or both of the model's size; none for the baseline."""
    field = primary_field(changed)
    return SHAPE_FIELDS if field in SHAPE_FIELDS else (field,) if field else ()


def sort_fields(changed: Changes) -> list[str]:
    """Fields in the paper's order, then those of the model, the data and the optimizer."""
    return sorted(changed, key=_position)


@functools.cache
def _position(field: str) -> tuple[int, int, str]:
    groups = ("model", "data", "optim")
    group = field.split(".", 1)[0]
    return (
        list(AXES).index(field) if field in AXES else len(AXES),
        groups.index(group) if group in groups else len(groups),
        field,
    )


def primary_change(changed: Changes) -> Changes:
    """The change that decides the axis; depths and widths together are one change."""
    fields = primary_fields(changed)
    return {name: change for name, change in changed.items() if name in fields}


def secondary_changes(changed: Changes) -> Changes:
    """All changes but the primary one."""
    primary = primary_change(changed)
    return {field: change for field, change in changed.items() if field not in primary}
