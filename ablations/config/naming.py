"""Names of variants and runs, in words.

`variant_name` names a variant and `run_name` a run, wherever they are shown. A name follows from
the config alone: it does not depend on which other runs exist.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ablations.config.diff import (
    AXES,
    SHAPE_FIELDS,
    Changes,
    changed_fields,
    changes_from_recipe,
    flat_config,
    flat_recipe,
    primary_change,
    primary_field,
    primary_fields,
    secondary_changes,
    sort_fields,
)
from ablations.config.resolve import FIELDS, preset_names, size_name
from ablations.text.phrases import pluralize

BASELINE = "Baseline"
HYBRID = "Hybrid stages"
SEVERAL = "Several changes"  # the section of rows that change three axes or more
MIXER_LABELS = {
    "pool": "Pooling",
    "identity": "Identity mapping",
    "random": "Global random matrix",
    "depthwise": "Depthwise convolution",
    "attention": "Attention",
    "spatial_fc": "Spatial FC",
    "separable_conv": "Separable convolution",
}
# As the paper spells them in a list of stages.
STAGE_MIXER_LABELS = {
    **MIXER_LABELS,
    "pool": "Pool",
    "identity": "Identity",
    "random": "Random",
    "depthwise": "DWConv",
    "spatial_fc": "SpatialFC",
    "separable_conv": "SepConv",
}
# Fields whose values have names of their own, and components that can be left out.
VALUE_LABELS = {
    "model.norm": {
        "group": "Modified LayerNorm",
        "layer": "LayerNorm",
        "batch": "BatchNorm",
        "none": "None",
    },
    "model.activation": {"gelu": "GELU", "relu": "ReLU", "silu": "SiLU", "star_relu": "StarReLU"},
}
COMPONENTS = ("model.residual", "model.channel_mlp")
LENGTH_FIELDS = ["optim.epochs", "optim.warmup_epochs", "optim.cooldown_epochs"]

# A field is called by its name with spaces, except these. Fields of other versions keep their
# dotted names.
FIELD_LABELS = {
    field: field.split(".")[1].replace("_", " ")
    for field in FIELDS
    if field.startswith(("model.", "data.", "optim."))
} | {
    "model.pool_size": "pooling size",
    "model.norm": "normalization",
    "model.residual": "residual connection",
    "model.channel_mlp": "channel MLP",
    "model.dims": "widths",
    "model.mlp_ratio": "MLP ratio",
    "model.layer_scale_init": "LayerScale init",
    "model.head_dim": "head dimension",
    "model.down_kernel": "downsampling kernel",
    "model.down_stride": "downsampling stride",
    "model.down_padding": "downsampling padding",
    "data.name": "data set",
    "data.hflip": "horizontal flip",
    "data.fit": "image fit",
    "data.auto_augment": "auto-augment",
    "data.crop_pct": "evaluation crop",
    "data.train_interpolation": "training interpolation",
    "data.cutmix": "CutMix",
    "data.mixup_prob": "mixup probability",
    "data.mixup_switch_prob": "mixup switch probability",
    "optim.lr": "learning rate",
    "optim.lr_base": "base learning rate",
    "optim.eps": "epsilon",
    "optim.warmup_epochs": "warm-up epochs",
    "optim.warmup_lr": "warm-up learning rate",
    "optim.min_lr": "minimum learning rate",
    "optim.cooldown_epochs": "cool-down epochs",
    "optim.grad_clip": "gradient clipping",
}


def run_name(config: Mapping[str, Any]) -> str:
    """A run in words: its variant, its seed, and its epochs where they differ from the recipe's.

    The plan, W&B, `ablations status` and the training log all show this name.

    Args:
        config: The whole config as JSON values.
    """
    changed = changes_from_recipe(config)
    length = {field: changed.pop(field) for field in LENGTH_FIELDS if field in changed}
    words = [variant_name(config["recipe"], changed, flat_config(config)), f"seed {config['seed']}"]
    if epochs := length.pop("optim.epochs", None):
        words.append(pluralize(epochs[1], "epoch"))
    return ", ".join([*words, *(value_label(field, after) for field, (_, after) in length.items())])


def variant_name(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> str:
    """A variant in words: all that it changes against a baseline.

    A single change shows the baseline's value too (``Pooling -> Identity mapping``), several do
    not (``BatchNorm, MLP ratio 2``). A hybrid or a model size that is a preset of the recipe has
    the paper's name, which is its primary change; a footnote lists the other changes.

    Args:
        recipe: The recipe of the variant and of the baseline.
        changed: What the variant changes against the baseline.
        flat: The flat config of the variant.
    """
    if not changed:
        return BASELINE
    sizes = _size_names(recipe, changed, flat)
    others = secondary_changes(changed)
    if others and names_all_changes(recipe, changed, flat):
        words = [value_label(field, changed[field][1], sizes) for field in _name_order(changed)]
        return capitalize(", ".join(dict.fromkeys(words)))
    label = change_label(changed)
    if sizes[1] and primary_field(changed) in SHAPE_FIELDS:
        label = " -> ".join(size for size in sizes if size)
    if others:
        return label
    # A preset that makes the same primary change and more has the shorter name.
    taken = any(
        all(preset[field] == flat[field] for field in primary_fields(changed)) and preset != flat
        for preset in _same_axis_presets(recipe, changed, flat)
    )
    return f"{label} alone" if taken else label


def names_all_changes(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> bool:
    """Whether `variant_name` shows all changes, and not the paper's name of a preset."""
    return not secondary_changes(changed) or flat not in _same_axis_presets(recipe, changed, flat)


def named_changes(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> Changes:
    """The changes that `variant_name` shows."""
    return changed if names_all_changes(recipe, changed, flat) else primary_change(changed)


def axis_of(changed: Changes) -> str:
    """The axis of a row: that of its primary change."""
    field = primary_field(changed)
    return BASELINE if field is None else _axis(field, changed[field][1])


def section_title(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> str:
    """The section of a table that a row belongs to: the axes in its name."""
    shown = named_changes(recipe, changed, flat)
    axes = dict.fromkeys(_axis(field, shown[field][1]) for field in _name_order(shown))
    return (" + ".join(axes) or BASELINE) if len(axes) < 3 else SEVERAL


def change_label(changed: Changes) -> str:
    """The primary change in the paper's words, such as ``Pooling -> Identity mapping``."""
    field = primary_field(changed)
    if field is None:
        return BASELINE
    before, after = changed[field]
    if field == "model.token_mixers":
        after_label = _mixer_label(after)
        return after_label if _is_list(after) else f"{_mixer_label(before)} -> {after_label}"
    if labels := VALUE_LABELS.get(field):
        return f"{_label(labels, before)} -> {_label(labels, after)}"
    if field in COMPONENTS:
        parts = [capitalize(FIELD_LABELS[field]), "None"]
        return " -> ".join(parts if before or not after else parts[::-1])
    if field in SHAPE_FIELDS:
        return capitalize(size_label(changed))
    return f"{capitalize(FIELD_LABELS.get(field, field))} {_plain(before)} -> {_plain(after)}"


def size_label(changed: Changes) -> str:
    """The depths and widths of a model of another size."""
    return ", ".join(
        f"{FIELD_LABELS[field]} {_plain(changed[field][1])}"
        for field in SHAPE_FIELDS
        if field in changed
    )


def other_changes(changed: Changes) -> list[str]:
    """All changes but that of the primary field, such as ``norm group -> layer``."""
    primary = primary_field(changed)
    return format_transitions({field: pair for field, pair in changed.items() if field != primary})


def other_change_labels(changed: Changes) -> list[str]:
    """All changes but the primary one in words, such as ``batch size 128 -> 32``."""
    others = secondary_changes(changed)
    return [_lowercase(change_label({field: others[field]})) for field in sort_fields(others)]


def format_transitions(changed: Changes) -> list[str]:
    """Changes as ``field before -> after``."""
    return [
        f"{field.split('.', 1)[1]} {_plain(before)} -> {_plain(after)}"
        for field, (before, after) in changed.items()
    ]


def format_assignments(changed: Changes) -> list[str]:
    """Changes as ``field=value``."""
    return [f"{field.split('.', 1)[1]}={_plain(after)}" for field, (_, after) in changed.items()]


def describe_values(changed: Changes) -> str:
    """The new values in words, such as ``MLP ratio 2, learning rate 0.003``."""
    return ", ".join(value_label(field, changed[field][1]) for field in _name_order(changed))


def describe_config(config: Mapping[str, Any]) -> str:
    """What a config, as JSON values, changes against its recipe, as ``field=value``."""
    return ", ".join(format_assignments(changes_from_recipe(config))) or BASELINE.lower()


def value_label(field: str, value: Any, sizes: tuple[str | None, str | None] = (None, None)) -> str:
    """A value as part of a name that shows several."""
    if field == "model.token_mixers":
        return _mixer_label(value)
    if field in VALUE_LABELS:
        label = _label(VALUE_LABELS[field], value)
        return f"no {FIELD_LABELS[field]}" if label == "None" else label
    if field in COMPONENTS:
        return FIELD_LABELS[field] if value else f"no {FIELD_LABELS[field]}"
    if field in SHAPE_FIELDS and sizes[1]:
        return sizes[1]
    return f"{FIELD_LABELS.get(field, field)} {_plain(value)}"


def capitalize(text: str) -> str:
    """Text with a capital first letter; a dotted field name is unchanged."""
    return text if "." in text.split(" ", 1)[0] else text[:1].upper() + text[1:]


def _lowercase(text: str) -> str:
    """A label within a sentence. Proper names, such as those of layers, keep their capital."""
    labels = (label for label in FIELD_LABELS.values() if capitalize(label) != label)
    label = next((label for label in labels if text.startswith(capitalize(label))), "")
    return label + text[len(label) :]


def _name_order(changed: Changes) -> list[str]:
    """Fields in the order of a name that shows several: the size comes last of the model's."""
    size = ("model.depths", "model.dims", "model.head_dim")
    fields = sort_fields(changed)
    return sorted(fields, key=lambda field: (not field.startswith("model."), field in size))


def _axis(field: str, after: Any) -> str:
    if field == "model.token_mixers" and _is_list(after):
        return HYBRID
    return AXES.get(field, capitalize(FIELD_LABELS.get(field, field)))


def _same_axis_presets(
    recipe: str, changed: Changes, flat: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The hybrids or sizes among a recipe's presets, with what the baseline sets in all variants.

    Empty for other primary fields: the paper's other rows change one field each.
    """
    primary = primary_field(changed)
    if primary != "model.token_mixers" and primary not in SHAPE_FIELDS:
        return []
    default = flat_recipe(recipe)
    fixed = {**flat, **{field: before for field, (before, _) in changed.items()}}
    fixed = {field: value for field, value in fixed.items() if default.get(field) != value}
    return [{**preset, **fixed} for preset in _presets_changing(recipe, primary)]


@functools.cache
def _presets_changing(recipe: str, primary: str) -> list[Mapping[str, Any]]:
    """The recipe's presets with a primary field, as flat configs."""
    default = flat_recipe(recipe)
    presets = [flat_recipe(recipe, preset) for preset in preset_names(recipe)]
    return [each for each in presets if primary_field(changed_fields(default, each)) == primary]


def _size_names(
    recipe: str, changed: Changes, flat: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """The recipe's names of the baseline's size and the variant's, such as ``S12``."""
    if not any(field in changed for field in SHAPE_FIELDS):
        return None, None
    after = [flat[field] for field in SHAPE_FIELDS]
    before = [changed[f][0] if f in changed else flat[f] for f in SHAPE_FIELDS]
    old, new = (size_name(recipe, *shape) for shape in (before, after))
    return old and old.upper(), new and new.upper()


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _label(labels: Mapping[str, str], value: Any) -> str:
    """The label of a value. An unknown value that equals another's label is quoted."""
    text = labels.get(value, str(value))
    return f"'{text}'" if value not in labels and text in labels.values() else text


def _mixer_label(value: Any) -> str:
    if _is_list(value):
        return "[" + ",".join(_label(STAGE_MIXER_LABELS, mixer) for mixer in value) + "]"
    return _label(MIXER_LABELS, value)


def _plain(value: Any) -> str:
    if _is_list(value):
        return "[" + ",".join(_plain(item) for item in value) + "]"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return "none" if value is None else str(value)
