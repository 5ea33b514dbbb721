"""What a variant changes, in words: rows of tables and names of runs.

One function names a variant wherever it is shown (``name``), and one a run (``run_name``). A name
follows from the config alone: it never depends on which other runs there are.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from ablations.config.resolve import flatten, preset_names, resolve, size_name
from ablations.text.phrases import counted

# What a field's axis is called in the paper's table, in the paper's order. The first of these that
# a row changes is its own axis.
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
SEVERAL = "Several changes"  # the section of rows that change three axes or more
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

# What a field is called in words; one that is not here keeps its dotted name.
FIELDS = {
    "model.token_mixers": "token mixers",
    "model.pool_size": "pooling size",
    "model.norm": "normalization",
    "model.activation": "activation",
    "model.residual": "residual connection",
    "model.channel_mlp": "channel MLP",
    "model.depths": "depths",
    "model.dims": "widths",
    "model.mlp_ratio": "MLP ratio",
    "model.layer_scale_init": "LayerScale init",
    "model.drop_path": "drop path",
    "model.position_embedding": "position embedding",
    "model.head_dim": "head dimension",
    "model.stem_kernel": "stem kernel",
    "model.stem_stride": "stem stride",
    "model.stem_padding": "stem padding",
    "model.down_kernel": "downsampling kernel",
    "model.down_stride": "downsampling stride",
    "model.down_padding": "downsampling padding",
    "data.name": "data set",
    "data.image_size": "image size",
    "data.batch_size": "batch size",
    "data.pipeline": "pipeline",
    "data.hflip": "horizontal flip",
    "data.fit": "image fit",
    "data.crop_padding": "crop padding",
    "data.auto_augment": "auto-augment",
    "data.color_jitter": "color jitter",
    "data.random_erasing": "random erasing",
    "data.crop_scale": "crop scale",
    "data.crop_pct": "evaluation crop",
    "data.train_interpolation": "training interpolation",
    "data.mixup": "mixup",
    "data.cutmix": "CutMix",
    "data.mixup_prob": "mixup probability",
    "data.mixup_switch_prob": "mixup switch probability",
    "optim.optimizer": "optimizer",
    "optim.lr": "learning rate",
    "optim.lr_base": "base learning rate",
    "optim.weight_decay": "weight decay",
    "optim.betas": "betas",
    "optim.eps": "epsilon",
    "optim.epochs": "epochs",
    "optim.warmup_epochs": "warm-up epochs",
    "optim.warmup_lr": "warm-up learning rate",
    "optim.min_lr": "minimum learning rate",
    "optim.cooldown_epochs": "cool-down epochs",
    "optim.schedule_unit": "schedule unit",
    "optim.label_smoothing": "label smoothing",
    "optim.grad_clip": "gradient clipping",
}
SHAPE = ("model.depths", "model.dims")
SCALE = (*SHAPE, "model.head_dim")  # how large a model is: after what else it changes in the model
# Fields whose value names itself, and parts that can be left out.
VALUES = {"model.norm": NORMS, "model.activation": ACTIVATIONS}
SWITCHES = ("model.residual", "model.channel_mlp")

# How long a run is trained: a name has it last.
LENGTH = ["optim.epochs", "optim.warmup_epochs", "optim.cooldown_epochs"]
# Not told: where the images lie, and what follows from them.
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
    return min(changed, key=_position, default=None)


def axis(changed: Changes) -> str:
    """The axis of a row's own field."""
    name = own_field(changed)
    return BASELINE if name is None else _axis(name, changed[name][1])


def heading(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> str:
    """The section of a row: the axes that its name tells of."""
    if not _others(changed) or not tells_all(recipe, changed, flat):
        return axis(changed)
    axes = list(dict.fromkeys(_axis(field, changed[field][1]) for field in _as_named(changed)))
    return " + ".join(axes) if len(axes) < 3 else SEVERAL


def name(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> str:
    """A variant in words: all that it changes against a baseline.

    One change is told with the baseline's value (``Pooling -> Identity mapping``), several without
    (``BatchNorm, MLP ratio 2``). A hybrid or a size that is a preset of the recipe is called by its
    own change, as in the paper; what goes with it is a footnote (``Row.also_changes``).

    Args:
        recipe: The recipe of the variant and of the baseline.
        changed: What the variant changes against the baseline.
        flat: Its whole config, flat.
    """
    if not changed:
        return BASELINE
    sizes = _sizes(recipe, changed, flat)
    if _others(changed) and tells_all(recipe, changed, flat):
        words = [part(field, changed[field][1], sizes) for field in _as_named(changed)]
        return capital(", ".join(dict.fromkeys(words)))
    own = label(changed)
    if sizes[1] and own_field(changed) in SHAPE:
        own = " -> ".join(size for size in sizes if size)
    apart = not _others(changed) and _accompanied(recipe, changed, flat)
    return f"{own} alone" if apart else own


def told(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> Changes:
    """The changes that a variant's name tells of."""
    if tells_all(recipe, changed, flat):
        return changed
    return {field: changed[field] for field in _owned(changed) if field in changed}


def label(changed: Changes) -> str:
    """A row's own change in the paper's words, such as ``Pooling -> Identity mapping``."""
    field = own_field(changed)
    if field is None:
        return BASELINE
    before, after = changed[field]
    if field == "model.token_mixers":
        return _mixers(after) if _listed(after) else f"{_mixers(before)} -> {_mixers(after)}"
    if field in VALUES:
        return f"{_word(VALUES[field], before)} -> {_word(VALUES[field], after)}"
    if field in SWITCHES:
        parts = [capital(FIELDS[field]), "None"]
        return " -> ".join(parts if before or not after else parts[::-1])
    if field in SHAPE:
        return capital(size_label(changed))
    return f"{capital(FIELDS.get(field, field))} {_plain(before)} -> {_plain(after)}"


def size_label(changed: Changes) -> str:
    """Depths and widths of a model of another size."""
    return ", ".join(f"{FIELDS[f]} {_plain(changed[f][1])}" for f in SHAPE if f in changed)


def also(changed: Changes) -> list[str]:
    """A row's changes besides its own, such as ``norm group -> layer``."""
    own = own_field(changed)
    return moved({field: change for field, change in changed.items() if field != own})


def besides(changed: Changes) -> list[str]:
    """A row's changes besides its own in words, such as ``batch size 128 -> 32``."""
    others = _others(changed)
    return [_lower(label({field: others[field]})) for field in in_order(others)]


def moved(changed: Changes) -> list[str]:
    """Changes as ``field before -> after``."""
    return [
        f"{name.split('.', 1)[1]} {_plain(before)} -> {_plain(after)}"
        for name, (before, after) in changed.items()
    ]


def described(changed: Changes) -> str:
    """The values of changes in words, such as ``MLP ratio 2, learning rate 0.003``."""
    return ", ".join(part(field, changed[field][1]) for field in _as_named(changed))


def describe(config: Mapping[str, Any]) -> str:
    """What a run's config changes against its recipe, as ``field=value``."""
    return ", ".join(listed(against_recipe(config))) or BASELINE.lower()


def run_name(config: Mapping[str, Any]) -> str:
    """A run in words: its variant against its recipe, its seed, and another length than usual.

    The same in the plan, in W&B, in ``status`` and while it is trained.

    Args:
        config: Its whole config as JSON values.
    """
    changed = against_recipe(config)
    length = {field: changed.pop(field) for field in LENGTH if field in changed}
    words = [name(config["recipe"], changed, flat_config(config)), f"seed {config['seed']}"]
    if epochs := length.pop("optim.epochs", None):
        words.append(counted(epochs[1], "epoch"))
    return ", ".join([*words, *(part(field, after) for field, (_, after) in length.items())])


def names(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Names by run id.

    Args:
        configs: Whole configs as JSON values, by run id.
    """
    return {run_id: run_name(config) for run_id, config in configs.items()}


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


def tells_all(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> bool:
    """Whether a name tells all changes; a hybrid or size that is a preset has the paper's name."""
    return not _others(changed) or flat not in _presets(recipe, changed, flat)


def capital(text: str) -> str:
    """Words as a name begins; a dotted name stays as it is."""
    return text if "." in text.split(" ", 1)[0] else text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    """Words of ``FIELDS`` as they stand within a sentence; names of layers keep their capital."""
    lowered = (w for w in FIELDS.values() if capital(w) != w)
    words = next((w for w in lowered if text.startswith(capital(w))), "")
    return words + text[len(words) :]


def in_order(changed: Changes) -> list[str]:
    """Fields in the order of a name: the paper's axes, then the model, the data, the optimizer."""
    return sorted(changed, key=_position)


@functools.cache
def _position(field: str) -> tuple[int, int, str]:
    groups = ("model", "data", "optim")
    group = field.split(".", 1)[0]
    place = groups.index(group) if group in groups else len(groups)
    return list(AXES).index(field) if field in AXES else len(AXES), place, field


def _as_named(changed: Changes) -> list[str]:
    """Fields in the order of a name that tells several: how large the model is comes last of it."""
    model = [field for field in in_order(changed) if field.startswith("model.")]
    scale = [field for field in SCALE if field in changed]
    rest = [field for field in in_order(changed) if field not in model]
    return [*(field for field in model if field not in scale), *scale, *rest]


def _axis(field: str, after: Any) -> str:
    if field == "model.token_mixers" and _listed(after):
        return HYBRID
    return AXES.get(field, capital(FIELDS.get(field, field)))


def _owned(changed: Changes) -> tuple[str, ...]:
    """The fields of the own change."""
    own = own_field(changed)
    return SHAPE if own in SHAPE else (own,) if own else ()


def _others(changed: Changes) -> Changes:
    """All but the own change; depths and widths are one."""
    owned = _owned(changed)
    return {field: change for field, change in changed.items() if field not in owned}


def _accompanied(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> bool:
    """Whether a preset has this own change and others with it, so that it has the shorter name."""
    owned = _owned(changed)
    return any(
        all(preset[field] == flat[field] for field in owned) and preset != flat
        for preset in _presets(recipe, changed, flat)
    )


def _presets(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The recipe's hybrids and sizes as flat configs, with what the baseline sets in all variants.

    None where the own change is of another field: the paper's other rows change one field each.
    """
    own = own_field(changed)
    if own != "model.token_mixers" and own not in SHAPE:
        return []
    default = flat_recipe(recipe)
    fixed = {**flat, **{field: before for field, (before, _) in changed.items()}}
    fixed = {field: value for field, value in fixed.items() if default.get(field) != value}
    return [{**preset, **fixed} for preset in _presets_by(recipe, own)]


@functools.cache
def _presets_by(recipe: str, own: str) -> list[Mapping[str, Any]]:
    """The recipe's presets whose own change is of a field, as flat configs."""
    found = [flat_recipe(recipe, preset) for preset in preset_names(recipe)]
    return [each for each in found if own_field(changes(flat_recipe(recipe), each)) == own]


def _sizes(recipe: str, changed: Changes, flat: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """What the recipe calls the baseline's size and the variant's, ``S12``; None where no size."""
    if not any(field in changed for field in SHAPE):
        return None, None
    before = [changed[field][0] if field in changed else flat[field] for field in SHAPE]
    found = [size_name(recipe, *shape) for shape in (before, [flat[f] for f in SHAPE])]
    return found[0] and found[0].upper(), found[1] and found[1].upper()


def part(field: str, value: Any, sizes: tuple[str | None, str | None] = (None, None)) -> str:
    """A value within a name that tells several."""
    if field == "model.token_mixers":
        return _mixers(value)
    if field in VALUES:
        words = _word(VALUES[field], value)
        return f"no {FIELDS[field]}" if words == "None" else words
    if field in SWITCHES:
        return FIELDS[field] if value else f"no {FIELDS[field]}"
    if field in SHAPE and sizes[1]:
        return sizes[1]
    return f"{FIELDS.get(field, field)} {_plain(value)}"


def _listed(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _word(words: Mapping[str, str], value: Any) -> str:
    """What a value is called; one that is not known and called like another is quoted."""
    text = words.get(value, str(value))
    return f"'{text}'" if value not in words and text in words.values() else text


def _mixers(value: Any) -> str:
    if _listed(value):
        return "[" + ",".join(_word(STAGE_MIXERS, mixer) for mixer in value) + "]"
    return _word(MIXERS, value)


def _plain(value: Any) -> str:
    if _listed(value):
        return "[" + ",".join(_plain(item) for item in value) + "]"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return "none" if value is None else str(value)
