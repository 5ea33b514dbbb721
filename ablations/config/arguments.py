"""Splits a command line into the arguments of the command and the config fields that it sets.

It accepts every spelling of W&B's command macros: ``--key=value`` (``${args}``), ``--key value``
(``${args_no_equals}``), ``--key`` for true (``${args_no_boolean_flags}``), ``key=value``
(``${args_no_hyphens}``), a JSON object (``${args_json}``) and a file with one
(``${args_json_file}``).
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablations.config.resolve import FIELD_TYPES, FIELDS, GROUPS, unknown_field
from ablations.errors import ConfigError

# A sweep may vary these too: they choose the defaults that the fields change.
CHOICES = ["recipe", "preset"]
TRUTH = re.compile(r"true|false|yes|no|on|off|0|1|none|null", re.IGNORECASE)


def split_arguments(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Split a command line into the arguments of the command and the config fields that it sets.

    ``["run", "a.yaml", "--model.pool_size", "5"]`` gives ``["run", "a.yaml"]`` and
    ``{"model.pool_size": "5"}``. It runs before argparse, which would take a flag with a space, as
    agents write lists (``--model.depths=[2, 2]``), for a file name. A group may be given as a
    mapping, as agents write nested parameters: ``--model={'norm': 'batch'}``. The last value of a
    field counts. ``_wandb``, which W&B adds to a restarted run, is dropped.

    Raises:
        ConfigError: An unknown field, with the closest names, or a field without a value.
    """
    own: list[str] = []
    found: dict[str, Any] = {}
    rest = list(words)
    train = words[:1] == ["train"]
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            if name == "_wandb":
                if not equals and rest and not rest[0].startswith("--"):
                    rest.pop(0)
            elif name.startswith("no-") and _is_switch(field := name[3:]):
                raise ConfigError(f"unknown flag --{name}: write --{field}=false")
            elif "." in name or name in ("seed", *GROUPS):
                found |= _fields(name, value if equals else _next(name, rest))
            elif word == "--seeds":
                own += _seeds(rest)
            else:
                own.append(word)
        elif not train or _value_of_a_flag(own):
            if equals and name in FIELDS and not _value_of_a_flag(own):
                raise ConfigError(f"{word} is a field of a run: did you mean --{word}?")
            own.append(word)
        elif word.startswith("+") and equals:
            raise ConfigError(
                f"ablations train does not accept {word!r}, which is Hydra's syntax: use ${{args}} "
                "in the sweep's command"
            )
        elif equals and (name in (*FIELDS, *GROUPS, *CHOICES, "_wandb") or "." in name):
            _take({name: value}, own, found)
        elif word.startswith("{") or word.endswith(".json"):
            _take(_json(word), own, found)
        else:
            own.append(word)
    return own, found


def _seeds(rest: list[str]) -> list[str]:
    """``--seeds`` with all numbers that follow; argparse would take only the first."""
    numbers = []
    while rest and re.fullmatch(r"[0-9,.-]+", rest[0], re.ASCII) and re.search(r"[0-9]", rest[0]):
        numbers.append(rest.pop(0))
    if len(numbers) > 1:
        return [f"--seeds={' '.join(numbers)}"]
    return ["--seeds", *numbers]


def _next(name: str, rest: list[str]) -> str:
    """The value of a flag without ``=``: the next word, or true for a boolean field.

    Raises:
        ConfigError: There is no value, and the field is not boolean.
    """
    there = bool(rest) and not rest[0].startswith("--")
    if _is_switch(name) and not (there and TRUTH.fullmatch(rest[0])):
        return "true"
    if not there:
        if name not in FIELDS and name not in GROUPS:
            raise ConfigError(unknown_field("flag", name))
        given = f"; write --{name}=VALUE if it begins with --" if rest else ""
        raise ConfigError(f"--{name} needs a value{given}")
    return rest.pop(0)


def _is_switch(name: str) -> bool:
    return FIELD_TYPES.get(name) is bool


def _value_of_a_flag(own: Sequence[str]) -> bool:
    """Whether the next word is the value of the command's last flag."""
    return bool(own) and own[-1].startswith("--") and "=" not in own[-1] and own[-1] != "--no-reuse"


def _fields(name: str, value: Any, what: str = "flag") -> dict[str, Any]:
    """One field, or a group of them: ``model``, ``{'norm': 'batch'}`` -> ``model.norm``."""
    if name in GROUPS:
        return expand_group(name, value)
    if name not in FIELDS:
        raise ConfigError(unknown_field(what, name))
    return {name: value}


def expand_group(name: str, value: Any) -> dict[str, Any]:
    """``model``, ``{'norm': 'batch'}`` -> ``{"model.norm": "batch"}``.

    Raises:
        ConfigError: Not a mapping, or an unknown field.
    """
    tree = value
    if isinstance(value, str):
        tree = None
        for parse in (json.loads, ast.literal_eval):  # JSON, or Python as agents write it
            # Deeply nested input raises RecursionError or MemoryError.
            with contextlib.suppress(Exception):
                tree = parse(value)
                break
    if not isinstance(tree, dict):
        raise ConfigError(f"--{name} {str(value)[:60]!r} is not a mapping of fields to values")
    if isinstance(value, str) and len(ast.parse(value, mode="eval").body.keys) > len(tree):  # type: ignore[attr-defined]
        raise ConfigError(f"--{name} {value[:60]!r} has a field twice")
    found = {f"{name}.{field}": inner for field, inner in tree.items()}
    for field in found:
        if field not in FIELDS:
            raise ConfigError(unknown_field("field", field))
    return found


def _json(word: str) -> dict[str, Any]:
    """A JSON object from the command line or from a file."""
    text, where = word, "the JSON argument"
    if not word.startswith("{"):
        where = word if len(word) < 200 else f"...{word[-100:]}"
        try:
            text = Path(word).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{where} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{where} is not JSON: it is not UTF-8") from error

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        tree = dict(pairs)
        if len(tree) < len(pairs):
            raise ValueError("a name is given twice")
        return tree

    try:
        tree = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{where} must be a JSON object of fields to values")
    return tree


def _take(given: dict[str, Any], own: list[str], found: dict[str, Any]) -> None:
    """Add an agent's parameters to the command's arguments or to the fields."""
    for name, value in given.items():
        if name in CHOICES:
            own.append(f"--{name}={value}")
        elif name != "_wandb":
            found |= _fields(name, value, "parameter")
