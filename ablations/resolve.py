"""Recipe + preset + overrides -> RunConfig. The one place where values get their types.

A recipe (``recipes/*.yaml``) is a bundle of defaults; it may extend another. Its presets are named
lists of changes that belong together: a model size, or a row of the paper that moves more than one
field. An extending recipe adds to a preset field by field. Later wins: recipe, preset, overrides.
Files whose name starts with an underscore are there to be extended only.
"""

from __future__ import annotations

import functools
import typing
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from ablations import plugins
from ablations.config import SOURCES, DataConfig, OptimConfig, RunConfig, SystemConfig
from poolformer.config import SIZES, ConfigError, MetaFormerConfig, nearest, unknown

RECIPES = Path(__file__).parent / "recipes"
GROUPS: dict[str, type] = {
    "model": MetaFormerConfig,
    "data": DataConfig,
    "optim": OptimConfig,
    "system": SystemConfig,
}
# Follow from the data; a flag for them would be a second place for one fact. The number of classes
# of a folder is the exception: the recipe may state it, and the files must agree.
DERIVED = ["model.in_channels", "model.image_size"]
FIELDS = [
    f"{group}.{item.name}"
    for group, kind in GROUPS.items()
    for item in fields(kind)
    if f"{group}.{item.name}" not in DERIVED
] + ["seed"]


@functools.cache
def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(path.stem for path in RECIPES.glob("[!_]*.yaml"))


def unknown_recipe(recipe: str) -> str | None:
    """What to say of a recipe that this version does not have; None where it does."""
    known = recipe_names()
    return None if recipe in known else unknown("recipe", recipe, known)


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """``{"model": {"norm": x}}`` and ``{"model.norm": x}`` -> ``{"model.norm": x}``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and key in GROUPS:
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            flat[str(key)] = value
    return flat


@functools.cache
def _read_recipe(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    tree = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    values: dict[str, Any] = {}
    presets: dict[str, dict[str, Any]] = {}
    if base := tree.pop("extends", None):
        base_values, base_presets = _read_recipe(base)
        values.update(base_values)
        presets.update(base_presets)
    for preset, added in tree.pop("presets", {}).items():
        presets[preset] = {**presets.get(preset, {}), **added}
    values.update(flatten(tree))
    return values, presets


def _known_recipe(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    if name not in recipe_names():
        raise ConfigError(unknown("recipe", name, recipe_names()))
    return _read_recipe(name)


def preset_names(recipe: str) -> list[str]:
    """The presets of a recipe."""
    return list(_known_recipe(recipe)[1])


def resolve(
    recipe: str, overrides: Mapping[str, Any] | None = None, preset: str | None = None
) -> RunConfig:
    """The run that a recipe, a preset of it and overrides by dotted name describe.

    Args:
        recipe: A name of ``recipe_names()``.
        overrides: ``{"model.pool_size": 5, "seed": 1}``; strings are read as YAML would read them.
        preset: A name of ``preset_names(recipe)``.

    The number of classes follows from the data: for a folder, from ``data.root``; without a root,
    or where an override states it, it is taken as stated and checked when the pictures are read.

    Raises:
        ConfigError: Anything that does not exist, is of another type or cannot be built.
    """
    values, presets = _known_recipe(recipe)
    values = dict(values)
    if preset is not None:
        if preset not in presets:
            raise ConfigError(unknown(f"preset of recipe {recipe}", preset, presets))
        values.update(presets[preset])
    values.update(flatten(overrides or {}))
    for name in values:
        if name not in FIELDS:
            raise ConfigError(unknown_field("field", name))
    grouped: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    seed: Any = 0
    for name, value in values.items():
        if name == "seed":
            seed = typed(name, int, value)
            continue
        group, field = name.split(".", 1)
        grouped[group][field] = typed(name, _types(GROUPS[group])[field], value)
    plugins.load(grouped["system"].get("plugins", ()))
    data = DataConfig(**grouped["data"])
    channels, classes = SOURCES[data.name]
    if classes is None:
        stated = "model.num_classes" in flatten(overrides or {})
        if data.root is None or stated:
            classes = grouped["model"].get("num_classes") or _count_classes(data)
        else:
            classes = _count_classes(data)
    elif grouped["model"].get("num_classes", classes) != classes:
        raise ConfigError(f"model.num_classes follows from data.name {data.name}: {classes}")
    grouped["model"].update(in_channels=channels, image_size=data.image_size, num_classes=classes)
    optim = OptimConfig(**grouped["optim"])
    if optim.lr is None:
        assert optim.lr_base is not None
        optim = replace(optim, lr=optim.lr_base * data.batch_size / 1024)
    return RunConfig(
        model=MetaFormerConfig(**grouped["model"]),
        data=data,
        # Once it has given the learning rate the rule is no longer part of the run: two ways to
        # the same rate are the same run.
        optim=replace(optim, lr_base=None),
        system=SystemConfig(**grouped["system"]),
        seed=seed,
        recipe=recipe,
    )


def unknown_field(what: str, name: str) -> str:
    """One line for a field that does not exist: the nearest ones, or those of its group."""
    group = name.split(".", 1)[0]
    listed = [field for field in FIELDS if field.startswith(f"{group}.")]
    places = ", ".join(listed) if listed else f"{', '.join(f'{group}.*' for group in GROUPS)}, seed"
    return nearest(what, name, FIELDS, otherwise=f"valid are {places}")


def size_name(recipe: str, depths: Sequence[int], dims: Sequence[int]) -> str | None:
    """The paper's size (s12 ... m48) whose depths and widths these are in a recipe, if any."""
    values, presets = _known_recipe(recipe)
    for name in SIZES:
        model = {**values, **presets.get(name, {})}
        if (model["model.depths"], model["model.dims"]) == (list(depths), list(dims)):
            return name
    return None


def _count_classes(data: DataConfig) -> int:
    from ablations.data.folder import class_names

    return len(class_names(data))


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def typed(name: str, kind: Any, value: Any) -> Any:
    """``value`` as the type of its field, from any spelling that YAML or a sweep agent gives it.

    Raises:
        ConfigError: The value is of another type; names the field and the type.
    """
    if value == "None":  # how an agent spells null: str(None)
        value = None
    try:
        parsed = _parser(kind).parse_object({"value": value})["value"]
    except Exception as error:
        raise ConfigError(f"{name} {value!r} is not {_spelled(kind)}") from error
    if parsed is None and type(None) not in _members(kind):  # the parser takes null for anything
        raise ConfigError(f"{name} is null and must be {_spelled(kind)}")
    if isinstance(parsed, list):
        return tuple(parsed)
    # 1 and 1.0 are one learning rate and must be one id.
    if isinstance(parsed, int) and not isinstance(parsed, bool) and float in _members(kind):
        return float(parsed)
    return parsed


@functools.cache
def _parser(kind: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from jsonargparse import ArgumentParser

        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--value", type=kind)
    return parser


def _members(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) or (kind,)


def _spelled(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
    words[type(None)] = "null"
    if typing.get_origin(kind) is tuple:
        inner = {int: "whole numbers", float: "numbers", str: "names"}
        return f"a list of {inner[_members(kind)[0]]}"
    if len(members := _members(kind)) > 1:
        return " or ".join(_spelled(member) for member in members)
    return words[kind]
