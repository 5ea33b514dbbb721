"""The fields of a run for --help: meaning, unit and valid values, from their docstrings."""

from __future__ import annotations

import functools
import inspect
import json
import re
import textwrap
import typing
from collections.abc import Sequence
from typing import Any

from ablations.config.data_sources import find_data_source
from ablations.config.resolve import FIELDS, GROUPS, field_type, recipe_values
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError

WIDTH = 79
METAVARS = {int: "INT", float: "NUMBER", bool: "true|false", str: "NAME", type(None): "null"}


def text(recipe: str, preset: str | None = None) -> str:
    """All fields, grouped, with the defaults of a recipe and a preset of it."""
    try:
        values = recipe_values(recipe, preset)
        values["model.num_classes"] = (
            find_data_source(values["data.name"]).num_classes or "of the data"
        )
    except ConfigError:
        values, recipe, preset = {}, f"{recipe}, which does not exist", None
    named = f"recipe {recipe}" + (f", preset {preset}" if preset else "")
    lines = textwrap.wrap(
        f"fields of a run, each a flag, with the defaults of {named} (other recipes: --recipe NAME "
        "--help). true or false: --FIELD alone is true. Given twice, the last counts.",
        WIDTH,
    )
    for group, kind in GROUPS.items():
        lines += ["", f"{group}: {_first_sentence(kind)}"]
        own = [name for name in FIELDS if name.startswith(f"{group}.")]
        for name in own:
            lines += _entry(name, _texts(kind)[name.split(".")[1]], values)
    lines += ["", *_entry("seed", _texts(RunConfig)["seed"], values)]
    return "\n".join(lines) + "\n"


def named(words: Sequence[str], fallback: str) -> tuple[str, str | None]:
    """The recipe and the preset that a command line names."""
    chosen: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in ("--recipe", "--preset"):
            chosen[name] = value if equals else following
    return chosen.get("--recipe", fallback), chosen.get("--preset")


def _entry(name: str, meaning: str, values: dict[str, Any]) -> list[str]:
    kind = field_type(name)
    default = values.get(name, _default(name))
    shown = json.dumps(default) if not isinstance(default, str) else default
    head = f"  --{name} {_metavar(kind)}  (default: {shown})"
    return [head, *textwrap.wrap(meaning, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)]


def _default(name: str) -> Any:
    if name == "seed":
        return 0
    group, field = name.split(".", 1)
    default = GROUPS[group].__dataclass_fields__[field].default  # type: ignore[attr-defined]
    return list(default) if isinstance(default, tuple) else default


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
