"""The fields of a run for --help: meaning, unit and valid values, from their docstrings."""

from __future__ import annotations

import functools
import inspect
import json
import re
import textwrap
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablations.config.data_sources import find_data_source
from ablations.config.resolve import FIELD_TYPES, GROUPS, recipe_values
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError

WIDTH = 79
METAVARS = {int: "INT", float: "NUMBER", bool: "true|false", str: "NAME", type(None): "null"}


@dataclass(frozen=True)
class FieldHelp:
    """What ``--help`` and the documentation say of a field.

    Args:
        name: Its dotted name, such as model.pool_size.
        kind: The form of its values, such as INT or NAME|[NAME,...].
        default: The recipe's value.
        meaning: What it does, its unit and its valid values.
    """

    name: str
    kind: str
    default: str
    meaning: str


def field_reference(recipe: str, preset: str | None = None) -> dict[str, list[FieldHelp]]:
    """The fields of a run by group (model, data, optim, system, seed).

    Raises:
        ConfigError: The recipe or its preset does not exist.
    """
    values = recipe_values(recipe, preset)
    source = find_data_source(values["data.name"])
    values["model.num_classes"] = source.num_classes or "of the data"
    return _reference(values)


def format_fields(recipe: str, preset: str | None = None) -> str:
    """All fields for ``--help``, with the defaults of a recipe and a preset of it."""
    try:
        groups = field_reference(recipe, preset)
    except ConfigError:
        groups, recipe, preset = _reference({}), f"{recipe}, which does not exist", None
    named = f"recipe {recipe}" + (f", preset {preset}" if preset else "")
    lines = textwrap.wrap(
        f"fields of a run, each a flag, with the defaults of {named} (other recipes: --recipe NAME "
        "--help). true or false: --FIELD alone is true. Given twice, the last counts.",
        WIDTH,
    )
    for group, entries in groups.items():
        lines += ["", f"{group}: {_first_sentence(GROUPS[group])}"] if group in GROUPS else [""]
        for entry in entries:
            lines.append(f"  --{entry.name} {entry.kind}  (default: {entry.default})")
            indent = " " * 6
            lines += textwrap.wrap(
                entry.meaning, WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    return "\n".join(lines) + "\n"


def chosen(words: Sequence[str], fallback: str) -> tuple[str, str | None]:
    """The recipe and the preset that a command line names."""
    values: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("--recipe", "--preset"):
            values[name] = value if equals else following
    return values.get("--recipe", fallback), values.get("--preset")


def _reference(values: dict[str, Any]) -> dict[str, list[FieldHelp]]:
    groups: dict[str, list[FieldHelp]] = {}
    for name, kind in FIELD_TYPES.items():
        group, _, field = name.rpartition(".")
        owner = GROUPS.get(group, RunConfig)
        default = values.get(name, getattr(owner, field))
        shown = default if isinstance(default, str) else json.dumps(default)
        entry = FieldHelp(name, _metavar(kind), shown, _texts(owner)[field])
        groups.setdefault(group or name, []).append(entry)
    return groups


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        inner = METAVARS[typing.get_args(kind)[0]]
        return f"[{inner},{'...' if typing.get_args(kind)[-1] is ... else inner}]"
    if members := typing.get_args(kind):
        return "|".join(map(_metavar, members))
    return METAVARS[kind]


@functools.cache
def _texts(kind: type) -> dict[str, str]:
    """The ``Args`` of a dataclass's docstring, by field."""
    arguments = inspect.getdoc(kind).partition("Args:\n")[2].partition("\n\n")[0]  # type: ignore[union-attr]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, flags=re.MULTILINE)
    return {name: " ".join(meaning.replace("``", "").split()) for name, meaning in found}


def _first_sentence(kind: type) -> str:
    return inspect.getdoc(kind).partition("\n")[0].rstrip(".")  # type: ignore[union-attr]
