"""What a cell changes, in words: rows of a table and names of runs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ablations.resolve import flatten, resolve

# What a field's axis is called in the paper's table, in the paper's order. The first of these that
# a row changes is its own axis; its other changes are told in a note.
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
HYBRID = "Hybrid stages"
BASELINE = "Baseline"
MIXERS = {
    "pool": "Pooling",
    "identity": "Identity mapping",
    "random": "Global random matrix",
    "depthwise": "Depthwise convolution",
    "attention": "Attention",
    "spatial_fc": "Spatial FC",
    "separable_conv": "Separable convolution",
}
# The paper's spelling within a list of stages.
STAGE_MIXERS = {**MIXERS, "pool": "Pool", "identity": "Identity", "spatial_fc": "SpatialFC"}
STAGE_MIXERS |= {"random": "Random", "depthwise": "DWConv", "separable_conv": "SepConv"}
NORMS = {"group": "Modified LayerNorm", "layer": "LayerNorm", "batch": "BatchNorm", "none": "None"}
ACTIVATIONS = {"gelu": "GELU", "relu": "ReLU", "silu": "SiLU", "star_relu": "StarReLU"}

# How long a run is trained: the same for all rows of a table, so no row is named after it.
LENGTH = ["optim.epochs", "optim.warmup_epochs", "optim.cooldown_epochs"]
# Not told: where the pictures lie, and what follows from them.
UNSEEN = ["data.root", "model.in_channels", "model.num_classes", "model.image_size"]

Changes = dict[str, tuple[Any, Any]]  # field -> (baseline's value, row's value)


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A record's config as dotted fields of the half that changes the result, seed left out."""
    groups = {name: config[name] for name in ("model", "data", "optim")}
    flat = flatten(groups)
    return {name: value for name, value in flat.items() if name not in UNSEEN}


def changes(baseline: Mapping[str, Any], config: Mapping[str, Any]) -> Changes:
    """Fields in which two flat configs differ."""
    differing = [name for name, value in config.items() if baseline.get(name) != value]
    differing += [name for name in baseline.keys() - config.keys() if baseline[name] is not None]
    return {name: (baseline.get(name), config.get(name)) for name in sorted(differing)}


def own_field(changed: Changes) -> str | None:
    """The field that gives a row its place: its axis. None for the baseline."""
    return next((name for name in AXES if name in changed), min(changed, default=None))


def axis(changed: Changes) -> str:
    """The section of a row."""
    name = own_field(changed)
    if name is None:
        return BASELINE
    if name == "model.token_mixers" and not isinstance(changed[name][1], str):
        return HYBRID
    return AXES.get(name, name)


def label(changed: Changes) -> str:
    """The row's own change in the paper's words, such as ``Pooling -> Identity mapping``."""
    name = own_field(changed)
    if name is None:
        return BASELINE
    before, after = changed[name]
    if name == "model.token_mixers":
        if not isinstance(after, str):
            return "[" + ",".join(STAGE_MIXERS.get(mixer, mixer) for mixer in after) + "]"
        return f"{_mixers(before)} -> {_mixers(after)}"
    if name == "model.pool_size":
        return f"Pooling size {before} -> {after}"
    if name == "model.norm":
        return f"{NORMS.get(before, before)} -> {NORMS.get(after, after)}"
    if name == "model.activation":
        return f"{ACTIVATIONS.get(before, before)} -> {ACTIVATIONS.get(after, after)}"
    if name == "model.residual":
        return "Residual connection -> None"
    if name == "model.channel_mlp":
        return "Channel MLP -> None"
    if name in ("model.depths", "model.dims"):
        return size_label(changed)
    return f"{name} {_plain(before)} -> {_plain(after)}"


def size_label(changed: Changes) -> str:
    """Depths and widths of a model of another size."""
    parts = [
        f"{word} {_plain(changed[name][1])}"
        for name, word in (("model.depths", "depths"), ("model.dims", "widths"))
        if name in changed
    ]
    return ", ".join(parts)


def also(changed: Changes) -> list[str]:
    """A row's changes besides its own, such as ``norm group -> layer``."""
    own = own_field(changed)
    return moved({name: change for name, change in changed.items() if name != own})


def moved(changed: Changes) -> list[str]:
    """Changes as ``field before -> after``."""
    return [
        f"{name.split('.', 1)[1]} {_plain(before)} -> {_plain(after)}"
        for name, (before, after) in changed.items()
    ]


def describe(config: Mapping[str, Any]) -> str:
    """A short name of a run's variant: all that its config changes against its recipe."""
    return ", ".join(listed(against_recipe(config))) or BASELINE.lower()


def names(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Names by run id: what tells the runs of a study apart, and the seed.

    What all of them change (fewer epochs, say) is left out.

    Args:
        configs: Whole configs as JSON values, by run id.
    """
    changed = {run_id: against_recipe(config) for run_id, config in configs.items()}
    common: set[str] = set()
    if len(changed) > 1:
        common = set.intersection(*({*map(repr, c.items())} for c in changed.values()))
    found = {}
    for run_id, config in configs.items():
        own = {k: v for k, v in changed[run_id].items() if repr((k, v)) not in common}
        found[run_id] = f"{', '.join(listed(own)) or BASELINE.lower()}, seed {config['seed']}"
    return found


def against_recipe(config: Mapping[str, Any]) -> Changes:
    """What a run changes against its recipe."""
    return changes(flat_recipe(config["recipe"]), flat_config(config))


@functools.cache
def flat_recipe(recipe: str, preset: str | None = None) -> dict[str, Any]:
    """What a recipe, with a preset of it, sets: a flat config, not to be changed."""
    return flat_config(resolve(recipe, preset=preset).to_json())


def listed(changed: Changes) -> list[str]:
    """Changes as ``field=value``."""
    return [f"{name.split('.', 1)[1]}={_plain(value)}" for name, (_, value) in changed.items()]


def _mixers(value: Any) -> str:
    if isinstance(value, str):
        return MIXERS.get(value, value)
    return "[" + ",".join(STAGE_MIXERS.get(mixer, mixer) for mixer in value) + "]"


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_plain(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
