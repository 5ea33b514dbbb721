"""Flags that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.cli.parser import Parser, was_given
from ablations.config.resolve import recipe_names
from ablations.console import screen
from ablations.data import count_classes
from ablations.errors import ConfigError
from ablations.machine import env_vars
from ablations.text.parsing import parse_float, parse_int, parse_seeds

if TYPE_CHECKING:
    from ablations.config.sweep import SweepRun

DEFAULT_RECIPE = "mini"
DEFAULT_RESULTS = Path("runs")


def path_argument(name: str) -> Path:
    """The type of a flag that is a path; an empty name, from an unset variable, is refused."""
    if not name:
        raise argparse.ArgumentTypeError("an empty name is no folder and no file")
    return env_vars.expand_path(name)


def output_argument(name: str) -> Path:
    """The type of a flag that is a file to write: refused before work begins if it cannot be."""
    if name == "-":
        raise argparse.ArgumentTypeError("- is not a file: for the screen, give /dev/stdout")
    path = path_argument(name)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written: permission denied")
    return path


def parse_count(text: str) -> int:
    """The type of a flag that is a number of something: a whole number above 0."""
    with contextlib.suppress(ValueError):
        if (count := parse_int(text)) > 0:
            return count
    raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 or more")


def parse_quantity(text: str, units: Mapping[str, float], what: str) -> float:
    """``1.5TB`` or ``30m`` as a number of the smallest unit.

    Args:
        text: What the user typed; the case of the unit does not matter.
        units: The factor of each unit, by its name in lower case; "" for a number without one.
        what: What it must be, with examples.
    """
    found = re.fullmatch(rf"(.*?)\s*({'|'.join(units)})", text.strip(), re.IGNORECASE)
    try:
        value = parse_float(found[1]) * units[found[2].lower()] if found else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be {what}")
    return value


def parse_size(text: str) -> float:
    """``800MB``, ``8GB`` or ``1.5TB`` in bytes."""
    units = {"mb": 1e6, "gb": 1e9, "tb": 1e12}
    return parse_quantity(text, units, "a size above 0, such as 800MB or 8GB")


def parse_duration(text: str) -> float:
    """``90``, ``90s``, ``30m`` or ``12h`` in seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "": 1}
    return parse_quantity(text, units, "a time above 0, such as 90s, 30m or 12h")


def default_results() -> Path:
    """The results folder of commands that are given none."""
    return env_vars.expand_path(env_vars.get("ABLATIONS_RESULTS") or DEFAULT_RESULTS)


def default_data_root() -> dict[str, str]:
    """``data.root`` from $ABLATIONS_DATA_ROOT; flags and sweep files override it."""
    root = env_vars.get("ABLATIONS_DATA_ROOT")
    return {"data.root": root} if root else {}


# Flags and arguments that mean the same in several commands.
SHARED: dict[str, dict[str, Any]] = {
    "sweeps": {"type": path_argument, "help": "sweep files, such as sweeps/*.yaml"},
    "--json": {"action": "store_true", "help": "print one JSON document"},
    "--no-reuse": {
        "action": "store_true",
        "default": None,  # then $ABLATIONS_NO_REUSE decides; main reads it
        "help": "train a run even if it is done, here or in W&B (or $ABLATIONS_NO_REUSE=1)",
    },
    "--plugins": {
        "metavar": "MODULES",
        "help": "modules of this folder or the environment with your token mixers or data sets, "
        "such as my_mixer or a,b",
    },
    "--retrain-stale": {
        "action": "store_true",
        "help": "train again the runs whose token mixer, of a plugin, has changed since; their "
        "earlier files are kept in stale-N/ of their folders",
    },
    "--seeds": {
        "action": "append",
        "metavar": "LIST",
        "help": "seeds instead of those in the files, such as 0,1,2 or 0-4",
    },
    "--tracker": {"metavar": "NAME", "help": "short for --system.tracker: wandb or none"},
    "--workers": {
        "type": parse_count,
        "metavar": "N",
        "help": "runs at once (default: one per GPU, else one per CPU core)",
    },
}


def add_shared(command: argparse.ArgumentParser, *names: str, **changes: Any) -> None:
    """Declare some of ``SHARED``, with changes to how argparse treats them."""
    for name in names:
        command.add_argument(name, **{**SHARED[name], **changes})


def add_recipe(command: Parser, default: str = DEFAULT_RECIPE) -> None:
    """The flags --recipe and --plugins."""
    add_shared(command, "--plugins")
    command.recipe = env_vars.get("ABLATIONS_RECIPE") or default
    command.add_argument(
        "--recipe",
        default=command.recipe,
        metavar="NAME",
        help=f"{', '.join(recipe_names())} (default: $ABLATIONS_RECIPE or {default})",
    )


def add_results(command: argparse.ArgumentParser, positional: bool = False) -> None:
    """The flag --results; for commands that only look at a folder also as a positional argument."""
    if positional:
        command.add_argument(
            "folder", nargs="?", type=path_argument, help="short for --results FOLDER"
        )
    command.add_argument(
        "--results",
        type=path_argument,
        default=default_results(),
        metavar="FOLDER",
        help=f"the results folder (default: $ABLATIONS_RESULTS or {DEFAULT_RESULTS})",
    )


def add_format(command: argparse.ArgumentParser, *formats: str) -> None:
    """The flag --format; the first format is the default."""
    command.add_argument(
        "--format",
        default=formats[0],
        choices=formats,
        help=f"of the output (default: {formats[0]})",
    )


def add_output(command: argparse.ArgumentParser, default: Path | None = None) -> None:
    """The flag -o."""
    command.add_argument(
        "-o",
        "--output",
        type=output_argument,
        default=default,
        metavar="FILE",
        help=f"the file to write (default: {default or 'standard output'})",
    )


def resolve_folder(arguments: argparse.Namespace) -> None:
    """Store the positional folder as --results.

    Raises:
        ConfigError: Both are given, and differ.
    """
    if arguments.folder is None:
        return
    if was_given(arguments, "results") and arguments.results != arguments.folder:
        raise ConfigError(
            f"{arguments.folder} and --results {arguments.results} are two folders: give one"
        )
    arguments.results = arguments.folder


def apply_shorthands(arguments: argparse.Namespace) -> None:
    """Set the fields that --tracker and --plugins are short for.

    Raises:
        ConfigError: The field is given too, with another value.
    """
    fields_set = arguments.fields_set
    for name in ("tracker", "plugins"):
        word = getattr(arguments, name, None)
        if word is None:
            continue
        value = word if name == "tracker" else json.dumps([w.strip() for w in word.split(",")])
        field = f"system.{name}"
        if str(fields_set.setdefault(field, value)) != value:
            raise ConfigError(
                f"--{name} {word} and --{field} {fields_set[field]} are both given: leave one out"
            )


def expand_sweep_files(arguments: argparse.Namespace) -> list[SweepRun]:
    """The runs of the sweep files on the command line.

    Raises:
        ConfigError: A file or a value in it is wrong.
    """
    from ablations.config.sweep import expand_sweeps

    return expand_sweeps(
        arguments.sweeps,
        arguments.recipe,
        arguments.fields_set,
        _seeds(arguments),
        defaults=default_data_root(),
        recipe_given=was_given(arguments, "recipe"),
        count_classes=count_classes,
    )


def _seeds(arguments: argparse.Namespace) -> list[int] | None:
    """The numbers in --seeds, with a note for one who may have meant a number of seeds."""
    if arguments.seeds is None:
        return None
    if "seed" in arguments.fields_set:
        raise ConfigError("--seed and --seeds are both given: --seed sets it in every run")
    seeds = parse_seeds(arguments.seeds)
    if len(seeds) == 1 and seeds[0] > 1:
        screen.note(f"seed {seeds[0]} alone; {seeds[0]} seeds are --seeds 0-{seeds[0] - 1}")
    return seeds
