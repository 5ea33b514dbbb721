"""Recipe, preset and overrides -> RunConfig. Values get their types here and nowhere else.

A recipe (``recipes/*.yaml``) is a set of defaults and may extend another one. A preset is a named
set of changes that belong together: a model size, or a row of the paper that changes several
fields. An extending recipe may add fields to a preset. Presets override recipes, and overrides
override both. A file whose name starts with an underscore can only be extended.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ablations.config import plugins, unused_fields
from ablations.config.data_sources import find_data_source
from ablations.config.schema import DataConfig, OptimConfig, RunConfig, SystemConfig
from ablations.errors import ConfigError
from ablations.text.parsing import LARGEST, NO, WHOLE, YES, parse_float
from poolformer.config import SIZES, MetaFormerConfig, unknown_name

RECIPES = Path(__file__).parent / "recipes"
GROUPS: dict[str, type] = {
    "model": MetaFormerConfig,
    "data": DataConfig,
    "optim": OptimConfig,
    "system": SystemConfig,
}
# These follow from the data. So does the number of classes, but a recipe may state it for a folder
# of images, and the files must agree.
DERIVED_FIELDS = ["model.in_channels", "model.image_size"]
FIELD_TYPES: dict[str, Any] = {
    f"{group}.{name}": kind
    for group, config in GROUPS.items()
    for name, kind in typing.get_type_hints(config).items()
    if f"{group}.{name}" not in DERIVED_FIELDS
} | {"seed": int}
FIELDS = list(FIELD_TYPES)


@functools.cache
def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(path.stem for path in RECIPES.glob("[!_]*.yaml"))


def unknown_recipe(recipe: str) -> str | None:
    """A message about a recipe that this version does not have; None for a known one."""
    return None if recipe in recipe_names() else unknown_name("recipe", recipe, recipe_names())


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
    if problem := unknown_recipe(name):
        raise ConfigError(problem)
    return _read_recipe(name)


def preset_names(recipe: str) -> list[str]:
    """The presets of a recipe."""
    return list(_known_recipe(recipe)[1])


def recipe_values(recipe: str, preset: str | None = None) -> dict[str, Any]:
    """The values of a recipe and one of its presets, by dotted name, as their files spell them.

    Raises:
        ConfigError: Unknown recipe or preset.
    """
    values, presets = _known_recipe(recipe)
    if preset is None:
        return dict(values)
    if preset not in presets:
        raise ConfigError(unknown_name(f"preset of recipe {recipe}", preset, presets))
    return {**values, **presets[preset]}


def resolve(
    recipe: str,
    overrides: Mapping[str, Any] | None = None,
    preset: str | None = None,
    study_overrides: Collection[str] = (),
    count_classes: Callable[[DataConfig], int] | None = None,
) -> RunConfig:
    """Build the config of a run from a recipe, a preset and overrides.

    Args:
        recipe: A name of ``recipe_names()``.
        overrides: ``{"model.pool_size": 5, "seed": 1}``; strings are parsed.
        preset: A name of ``preset_names(recipe)``.
        study_overrides: Overrides of a whole study, which this run need not use.
        count_classes: Counts the classes of an image folder (``ablations.data.count_classes``).
            Called where ``data.root`` is a folder and no override states the number of classes, or
            where nothing states it. A stated number is checked when the images are loaded.

    Raises:
        ConfigError: An unknown name, a value of the wrong type, a model that cannot be built, or
            an override that the run would not use.
    """
    values = recipe_values(recipe, preset)
    given = flatten(overrides or {})
    values.update(given)
    grouped: dict[str, dict[str, Any]] = {group: {} for group in ("", *GROUPS)}
    for name, value in values.items():
        if name not in FIELDS:
            raise ConfigError(unknown_field("field", name))
        group, _, field = name.rpartition(".")
        grouped[group][field] = parse_value(name, value)
    plugins.load_plugins(grouped["system"].get("plugins", ()))
    data = DataConfig(**grouped["data"])
    source = find_data_source(data.name)
    data, classes = replace(data, name=source.config_name), source.num_classes
    if classes is None:
        if data.root is None or "model.num_classes" in given:
            classes = grouped["model"].get("num_classes")
        if not classes:
            if count_classes is None:
                raise ConfigError(f"data.name {data.name} needs model.num_classes")
            classes = count_classes(data)
    elif grouped["model"].get("num_classes", classes) != classes:
        raise ConfigError(f"model.num_classes follows from data.name {data.name}: {classes}")
    grouped["model"].update(
        in_channels=source.channels, image_size=data.image_size, num_classes=classes
    )
    optim = OptimConfig(**grouped["optim"])
    if optim.lr is not None and given.get("optim.lr_base") not in (None, "None", "null"):
        raise ConfigError(
            f"optim.lr_base {given['optim.lr_base']!r} sets the learning rate only if optim.lr is "
            "null, and optim.lr is set too: leave one out"
        )
    if optim.lr is None:
        assert optim.lr_base is not None
        optim = replace(optim, lr=optim.lr_base * data.batch_size / 1024)
    run = RunConfig(
        model=MetaFormerConfig(**grouped["model"]),
        data=data,
        # Only the resulting learning rate is part of the run, so that equal rates have equal ids.
        optim=replace(optim, lr_base=None),
        system=SystemConfig(**grouped["system"]),
        recipe=recipe,
        **grouped[""],
    )
    changed = {
        name: value
        for name, value in given.items()
        if differs_from_default(recipe, preset, name, value)
    }
    unused_fields.check_unused(run, changed, study_overrides)
    return run


def unknown_field(what: str, name: str) -> str:
    """A message about an unknown field, with the closest names or those of its group."""
    group = name.split(".", 1)[0]
    listed = [field for field in FIELDS if field.startswith(f"{group}.")]
    valid = ", ".join(listed) if listed else f"{', '.join(f'{group}.*' for group in GROUPS)}, seed"
    return unknown_name(what, name, FIELDS, otherwise=f"valid are {valid}")


def size_name(recipe: str, depths: Sequence[int], dims: Sequence[int]) -> str | None:
    """The name (s12 ... m48) of the size with these depths and widths in a recipe; else None."""
    values, presets = _known_recipe(recipe)
    for name in SIZES:
        model = {**values, **presets.get(name, {})}
        if (model["model.depths"], model["model.dims"]) == (list(depths), list(dims)):
            return name
    return None


def default_value(recipe: str, preset: str | None, name: str) -> Any:
    """The value of a field in a recipe with a preset."""
    group, _, field = name.rpartition(".")
    default = getattr(GROUPS.get(group, RunConfig), field)
    return parse_value(name, recipe_values(recipe, preset).get(name, default))


def differs_from_default(recipe: str, preset: str | None, name: str, value: Any) -> bool:
    """Whether a value differs from that of a recipe with a preset."""
    return bool(default_value(recipe, preset, name) != parse_value(name, value))


def parse_value(name: str, value: Any) -> Any:
    """A value as the type of its field, from any spelling that YAML or a sweep agent uses.

    Args:
        name: The field. Its type is str, int, float, bool, a tuple of one of these, or a union.
        value: The value, or text that spells it: ``"1e-3"``, ``"[1, 2]"``, ``"1,2"``, ``"null"``.

    Raises:
        ConfigError: The value has another type.
    """
    kind = FIELD_TYPES[name]
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    nullable = type(None) in kinds
    # An agent spells null as str(None).
    if value == "None" or (
        isinstance(value, str) and value.lower() == "null" and (nullable or str not in kinds)
    ):
        value = None
    if value is None:
        if nullable:
            return None
        raise ConfigError(f"{name} is null and must be {_describe(kind)}")
    try:
        for each in kinds:
            if typing.get_origin(each) is tuple and (items := _list_items(value)) is not None:
                first, *others = typing.get_args(each)
                if others == [...] or len(items) == 1 + len(others):
                    return tuple(_parse_scalar(first, item) for item in items)
        (scalar,) = (each for each in kinds if each in _SCALARS)
        return _parse_scalar(scalar, value)
    except OverflowError as error:
        raise ConfigError(f"{name} {_shown(value)} is beyond 64 bits") from error
    except ValueError as error:
        raise ConfigError(f"{name} {_shown(value)} is not {_describe(kind)}") from error


def _list_items(value: Any) -> list[Any] | None:
    """The items of a list or of text that spells one, as people type it; None for other values."""
    if not isinstance(value, str):
        return list(value) if isinstance(value, list | tuple) else None
    bracketed = value[:1] + value[-1:] in ("[]", "()")
    if not bracketed and "," not in value:
        return None
    items = [item.strip() for item in (value[1:-1] if bracketed else value).split(",")]
    if not items[-1]:  # of an empty list, or after a trailing comma
        items.pop()
    if any(not item or set(item) & set("[](){}") for item in items):
        return None
    return [item[1:-1] if item[:1] + item[-1:] in ("''", '""') else item for item in items]


def _parse_scalar(kind: Any, value: Any) -> Any:
    """A value as a str, int, float or bool.

    Raises:
        ValueError: It has another type, or is spelled so that Python or YAML would read another
            number: ``1_0`` is 10 to both, ``010`` is 8 and ``1:30`` is 90 to YAML.
        OverflowError: It does not fit into 64 bits.
    """
    if isinstance(value, str):
        if kind is bool:
            value = {**dict.fromkeys(YES, True), **dict.fromkeys(NO, False)}.get(value.lower())
        elif kind is int and WHOLE.fullmatch(value):
            value = int(value) if len(value) <= 20 else 2**64
        elif kind is float:
            value = parse_float(value)
    if type(value) is int:
        if kind is int and abs(value) > LARGEST:
            raise OverflowError
        if kind is float:  # 1 and 1.0 are one learning rate, and must have one id
            value = float(value)
    if type(value) is not kind:
        raise ValueError
    return value + 0.0 if kind is float else value  # -0.0 and 0.0 must have one id too


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


_SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}


def _describe(kind: Any) -> str:
    """A type in words: ``a whole number or null``, ``a list of 2 numbers``."""
    if isinstance(kind, types.UnionType):
        return " or ".join(map(_describe, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        items = {int: "whole numbers", float: "numbers", str: "names"}
        first, *others = typing.get_args(kind)
        return f"a list of {'' if others == [...] else f'{1 + len(others)} '}{items[first]}"
    return _SCALARS.get(kind, "null")
