"""What the commands share: one-line errors, fields of a run as flags, printing results."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NoReturn

from ablations import screen
from ablations.resolve import FIELDS, GROUPS, recipe_names, unknown_field
from poolformer.config import ConfigError, nearest

DEFAULT_RECIPE = "mini"
DEFAULT_RESULTS = Path("runs")


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, the nearest flag in them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is left over here, where it is known which command was meant."""
        namespace, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("--"):
            own = sorted({*re.findall(r"--[\w.-]+", self.format_help())})
            word = rest[0].split("=")[0]
            raise ConfigError(nearest("flag", word, own, f"`{self.prog} --help` lists the valid"))
        if rest:
            raise ConfigError(f"{self.prog} does not take {rest[0]!r}")
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError; ``main`` prints it."""
        raise ConfigError(message)


def folder(name: str) -> Path:
    """A folder's name; an empty one, from an unset variable, is no folder."""
    if not name:
        raise argparse.ArgumentTypeError("an empty name is no folder")
    return Path(name)


def add_recipe(command: argparse.ArgumentParser, default: str = DEFAULT_RECIPE) -> None:
    """The flags --recipe and --plugins."""
    add_plugins(command)
    command.add_argument(
        "--recipe",
        default=os.environ.get("ABLATIONS_RECIPE", default),
        help=f"{', '.join(recipe_names())} (default: $ABLATIONS_RECIPE or {default})",
    )


def add_plugins(command: argparse.ArgumentParser) -> None:
    """The flag --plugins."""
    command.add_argument(
        "--plugins", help="modules with token mixers of yours: short for --system.plugins=[a,b]"
    )


def add_results(command: argparse.ArgumentParser) -> None:
    """The flag --results."""
    default = Path(os.environ.get("ABLATIONS_RESULTS") or DEFAULT_RESULTS)
    command.add_argument(
        "--results",
        type=folder,
        default=default,
        help=f"folder of all runs (default: $ABLATIONS_RESULTS or {DEFAULT_RESULTS})",
    )


def add_training(command: argparse.ArgumentParser) -> None:
    """The flags --tracker and --no-reuse."""
    command.add_argument("--tracker", help="short for --system.tracker: wandb or none")
    command.add_argument(
        "--no-reuse",
        action="store_true",
        default=os.environ.get("ABLATIONS_NO_REUSE", "") not in ("", "0"),
        help="train a cell even if it is done, here or in W&B (or $ABLATIONS_NO_REUSE=1)",
    )


def add_stale(command: argparse.ArgumentParser) -> None:
    """The flag --retrain-stale."""
    command.add_argument(
        "--retrain-stale",
        action="store_true",
        help="train runs again whose token mixer, of a plugin, has changed since; what they had is "
        "kept in their folders",
    )


def data_root() -> dict[str, str]:
    """Where the pictures lie, unless the command or the sweep says so: $ABLATIONS_DATA_ROOT."""
    root = os.environ.get("ABLATIONS_DATA_ROOT")
    return {"data.root": root} if root else {}


def fields_help() -> str:
    """The flags for the fields of a run, with the defaults that recipes start from."""
    lines = ["fields of a run, each a flag (recipes set them; --recipe NAME):"]
    for group, kind in GROUPS.items():
        for item in fields(kind):
            if f"{group}.{item.name}" in FIELDS:
                default = "" if item.default is MISSING else f" (default {item.default})"
                lines.append(f"  --{group}.{item.name}{default}")
    return "\n".join([*lines, "  --seed (default 0)"])


def separate(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Split a command line into the command's own words and the fields of a run that it sets.

    ``["run", "a.yaml", "--model.pool_size", "5"]`` gives ``["run", "a.yaml"]`` and
    ``{"model.pool_size": "5"}``. This comes before argparse, which takes a flag with a blank in it
    (a list as a sweep agent spells it: ``--model.depths=[2, 2]``) for a file name. A group is taken
    whole, as an agent spells nested parameters: ``--model={'norm': 'batch'}``. What W&B adds for
    itself to a run that it starts again (``--_wandb=...``) is left out.

    Raises:
        ConfigError: A field that no run has, with the nearest one, or a field without a value.
    """
    own: list[str] = []
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--_wandb"):
            continue
        if not word.startswith("--") or not ("." in name or name in ("seed", *GROUPS)):
            own.append(word)
            continue
        if name not in FIELDS and name not in GROUPS:
            raise ConfigError(unknown_field("flag", name))
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"--{name} needs a value")
            value = rest.pop(0)
        found.update(_group(name, value) if name in GROUPS else {name: value})
    return own, found


def _group(name: str, text: str) -> dict[str, Any]:
    """``model``, ``{'norm': 'batch'}`` -> ``{"model.norm": "batch"}``."""
    try:
        tree = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ConfigError(f"--{name} {text!r} is not a mapping of fields to values") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"--{name} {text!r} is not a mapping of fields to values")
    found = {f"{name}.{field}": value for field, value in tree.items()}
    for field in found:
        if field not in FIELDS:
            raise ConfigError(unknown_field("field", field))
    return found


def refuse_fields(command: str, fields_set: dict[str, Any]) -> None:
    """Raise ConfigError where a field of a run is given to a command that has no run."""
    if fields_set:
        raise ConfigError(f"`ablations {command}` does not take --{next(iter(fields_set))}")


def write_or_emit(text: str, output: Path | None) -> None:
    """Write a result to a file, or print it where there is none."""
    if output is None:
        screen.out(text, end="")
        return
    if output.exists() and not output.is_file():
        output.write_text(
            text, encoding="utf-8"
        )  # /dev/null or a pipe: not to be replaced by a file
        return
    from ablations.records import write_atomically

    write_atomically(output, text)


def sync_command(folders: Sequence[Path]) -> str:
    """How to send W&B what has not arrived there."""
    runs = "1 run has" if len(folders) == 1 else f"{len(folders)} runs have"
    places = " ".join(shlex.quote(str(folder)) for folder in folders)
    return (
        f"{runs} not reached W&B whole, send what is missing: wandb sync --include-online {places}"
    )
