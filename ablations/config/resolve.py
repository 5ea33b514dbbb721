"""Recipe + preset + overrides -> RunConfig. The one place where values get their types.

A recipe (``recipes/*.yaml``) is a bundle of defaults; it may extend another. Its presets are named
lists of changes that belong together: a model size, or a row of the paper that moves more than one
field. An extending recipe adds to a preset field by field. Later wins: recipe, preset, overrides.
Files whose name starts with an underscore are there to be extended only.
"""

from __future__ import annotations

import functools
import re
import typing
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from ablations.config import plugins, unused_fields
from ablations.config.data_sources import find_data_source
from ablations.config.schema import DataConfig, OptimConfig, RunConfig, SystemConfig
from ablations.errors import ConfigError
from ablations.text.parsing import DECIMAL, LARGEST, WHOLE
from poolformer.config import SIZES, MetaFormerConfig, unknown_name

RECIPES = Path(__file__).parent / "recipes"
GROUPS: dict[str, type] = {
    "model": MetaFormerConfig,
    "data": DataConfig,
    "optim": OptimConfig,
    "system": SystemConfig,
}
# Follow from the data; a flag for them would be a second place for one fact. The number of classes
# of a folder is the exception: the recipe may state it, and the files must agree.
DERIVED_FIELDS = ["model.in_channels", "model.image_size"]
FIELDS = [
    f"{group}.{item.name}"
    for group, kind in GROUPS.items()
    for item in fields(kind)
    if f"{group}.{item.name}" not in DERIVED_FIELDS
] + ["seed"]


@functools.cache
def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(path.stem for path in RECIPES.glob("[!_]*.yaml"))


def unknown_recipe(recipe: str) -> str | None:
    """What to say of a recipe that this version does not have; None where it does."""
    known = recipe_names()
    return None if recipe in known else unknown_name("recipe", recipe, known)


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
        raise ConfigError(unknown_name("recipe", name, recipe_names()))
    return _read_recipe(name)


def preset_names(recipe: str) -> list[str]:
    """The presets of a recipe."""
    return list(_known_recipe(recipe)[1])


def recipe_values(recipe: str, preset: str | None = None) -> dict[str, Any]:
    """What a recipe and a preset of it set, by dotted name, as their files spell it.

    Raises:
        ConfigError: There is no such recipe, or it has no such preset.
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
    """The run that a recipe, a preset of it and overrides by dotted name describe.

    Args:
        recipe: A name of ``recipe_names()``.
        overrides: ``{"model.pool_size": 5, "seed": 1}``; strings are read as YAML would read them.
        preset: A name of ``preset_names(recipe)``.
        study_overrides: Overrides of a whole study, which this run need not use.
        count_classes: Counts the classes of an image folder (``ablations.data.count_classes``).
            Called where ``data.root`` is a folder and no override states the number of classes, or
            where nothing states it. A stated number is checked when the images are loaded.

    Raises:
        ConfigError: Anything that does not exist, is of another type, cannot be built or would not
            be read.
    """
    values = recipe_values(recipe, preset)
    given = flatten(overrides or {})
    values.update(given)
    for name in values:
        if name not in FIELDS:
            raise ConfigError(unknown_field("field", name))
    grouped: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    seed: Any = 0
    for name, value in values.items():
        if name == "seed":
            seed = parse_value(name, int, value)
            continue
        group, field = name.split(".", 1)
        grouped[group][field] = parse_value(name, _types(GROUPS[group])[field], value)
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
            f"optim.lr_base {given['optim.lr_base']!r} gives the learning rate where optim.lr is "
            "null, and it is set too: leave one out"
        )
    if optim.lr is None:
        assert optim.lr_base is not None
        optim = replace(optim, lr=optim.lr_base * data.batch_size / 1024)
    run = RunConfig(
        model=MetaFormerConfig(**grouped["model"]),
        data=data,
        # Once it has given the learning rate the rule is no longer part of the run: two ways to
        # the same rate are the same run.
        optim=replace(optim, lr_base=None),
        system=SystemConfig(**grouped["system"]),
        seed=seed,
        recipe=recipe,
    )
    changed = {
        name: value
        for name, value in given.items()
        if differs_from_default(recipe, preset, name, value)
    }
    unused_fields.check_unused(run, changed, study_overrides)
    return run


def unknown_field(what: str, name: str) -> str:
    """One line for a field that does not exist: the nearest ones, or those of its group."""
    group = name.split(".", 1)[0]
    listed = [field for field in FIELDS if field.startswith(f"{group}.")]
    places = ", ".join(listed) if listed else f"{', '.join(f'{group}.*' for group in GROUPS)}, seed"
    return unknown_name(what, name, FIELDS, otherwise=f"valid are {places}")


def size_name(recipe: str, depths: Sequence[int], dims: Sequence[int]) -> str | None:
    """The paper's size (s12 ... m48) whose depths and widths these are in a recipe, if any."""
    values, presets = _known_recipe(recipe)
    for name in SIZES:
        model = {**values, **presets.get(name, {})}
        if (model["model.depths"], model["model.dims"]) == (list(depths), list(dims)):
            return name
    return None


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def field_type(name: str) -> Any:
    """The type of a field by its dotted name."""
    if name == "seed":
        return int
    group, field = name.split(".", 1)
    return _types(GROUPS[group])[field]


def default_value(recipe: str, preset: str | None, name: str) -> Any:
    """What a recipe and a preset of it give a field."""
    if name == "seed":
        return 0
    group, field = name.split(".", 1)
    default = GROUPS[group].__dataclass_fields__[field].default  # type: ignore[attr-defined]
    return parse_value(name, field_type(name), recipe_values(recipe, preset).get(name, default))


def differs_from_default(recipe: str, preset: str | None, name: str, value: Any) -> bool:
    """Whether a value of a field is another than a recipe and a preset of it give."""
    return bool(default_value(recipe, preset, name) != parse_value(name, field_type(name), value))


def parse_value(name: str, kind: Any, value: Any) -> Any:
    """``value`` as the type of its field, from any spelling that YAML or a sweep agent gives it.

    Raises:
        ConfigError: The value is of another type; names the field and the type.
    """
    if value == "None":  # how an agent spells null: str(None)
        value = None
    members = _members(kind)
    if isinstance(value, str) and any("tuple" in str(each) for each in (kind, *members)):
        value = _bracketed(value)
    if typing.get_origin(kind) is not tuple and _is_plain(members, value):
        return value + 0.0 if type(value) is float else value  # 0.0 and -0.0 are one id
    if (
        type(value) is list
        and members[-1] is ...
        and all(_is_plain(members[:1], each) for each in value)
    ):
        return tuple(value)
    shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]}..."
    try:
        if isinstance(value, str):
            _check_numbers(members, value)
        parsed = _parser(kind).parse_object({"value": value})["value"]
        # The parser takes true for 1, and numbers that no record can hold.
        for each in parsed if isinstance(parsed, list | tuple) else [parsed]:
            if isinstance(each, bool) and bool not in members:
                raise TypeError
            if isinstance(each, int) and abs(each) > LARGEST:
                raise ConfigError(f"{name} {shown} is beyond 64 bits")
    except ConfigError:
        raise
    except Exception as error:  # also RecursionError, of a list in a list in a list
        raise ConfigError(f"{name} {shown} is not {_spelled(kind)}") from error
    if parsed is None and type(None) not in members:  # the parser takes null for anything
        raise ConfigError(f"{name} is null and must be {_spelled(kind)}")
    if isinstance(parsed, list):
        return tuple(parsed)
    # 1 and 1.0 are one learning rate and must be one id.
    if isinstance(parsed, int | float) and not isinstance(parsed, bool) and float in members:
        return float(parsed) + 0.0  # and so must 0.0 and -0.0
    return parsed


def _bracketed(text: str) -> str:
    """A list as people type it, ``1,1,2`` or ``(1, 1, 2)``, as YAML has it."""
    inner = text[1:-1] if text[:1] == "(" and text[-1:] == ")" else text
    return f"[{inner}]" if "," in inner and inner[:1] != "[" else text


def _is_plain(members: tuple[Any, ...], value: Any) -> bool:
    """Whether a value is as its field holds it: most are, and the parser takes a millisecond."""
    if type(value) is str:
        return str in members and value[:1] not in ("", "[") and value.lower() != "null"
    if type(value) is int:
        return int in members and float not in members and abs(value) <= LARGEST
    return type(value) in (bool, float) and type(value) in members


def _check_numbers(members: tuple[Any, ...], text: str) -> None:
    """Raise ValueError where Python or YAML would read a number as another than it looks like.

    ``1_0`` is 10 to both, ``010`` is 8 and ``1:30`` is 90 to YAML.
    """
    if int not in members and float not in members:
        return
    pattern = WHOLE if int in members else DECIMAL
    parts = re.split(r"[\[\](),\s]+", text) if text[:1] in ("[", "(") else [text]
    for part in parts:
        if part and part.lower() != "null" and not pattern.fullmatch(part):
            raise ValueError(text)


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
        first, *others = _members(kind)
        count = "" if ... in others else f"{1 + len(others)} "
        return f"a list of {count}{inner[first]}"
    if len(members := _members(kind)) > 1:
        return " or ".join(_spelled(member) for member in members)
    return words[kind]
