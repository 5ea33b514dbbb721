"""What the commands share: one-line errors, fields of a run as flags, printing results."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ablations.cli import field_help
from ablations.config.resolve import recipe_names
from ablations.console import screen
from ablations.errors import ConfigError
from ablations.machine import env_vars
from ablations.text import parsing
from ablations.text.parsing import parse_float, parse_int
from poolformer.config import unknown_name

DEFAULT_RECIPE = "mini"
DEFAULT_RESULTS = Path("runs")


class Lines(argparse.HelpFormatter):
    """A description whose lines stay lines, wrapped where the terminal is narrow."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(super(Lines, self)._fill_text(t, width, indent) for t in text.split("\n"))


class Once(argparse.Action):
    """A flag with one value; ``given`` of the namespace has those that the user has given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Refuse a second value: the first would be lost."""
        given = vars(namespace).setdefault("given", {})
        if option_string and repr(given.setdefault(self.dest, values)) != repr(values):
            parser.error(
                f"{option_string} is given twice, as {given[self.dest]} and {values}: leave one out"
            )
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, the nearest flag in them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self.register("action", None, Once)
        self.words: list[str] = []
        self.fields_of: str | None = None  # the recipe whose fields --help shows, unless named

    def format_help(self) -> str:
        """The command's own flags, then the fields of a run where these are flags of it."""
        own = super().format_help()
        if self.fields_of is None:
            return own
        return f"{own}\n{field_help.text(*field_help.named(self.words, self.fields_of))}"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is left over here, where it is known which command was meant."""
        self.words = list(args or ())
        namespace, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("-"):
            own = sorted({*re.findall(r"--[\w.-]+", self.format_help())})
            word = f"--{rest[0].lstrip('-')}".split("=")[0]
            raise ConfigError(
                unknown_name("flag", word, own, f"`{self.prog} --help` lists the valid")
            )
        if rest:
            raise ConfigError(f"{self.prog} does not take {rest[0]!r}")
        return namespace, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value outside ``choices`` with the nearest valid one."""
        if action.choices is not None and value != [] and value not in action.choices:
            name = str(action.metavar or action.dest).lower()
            raise ConfigError(unknown_name(name, value, list(action.choices)))

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError; ``main`` prints it."""
        raise ConfigError(message)


def integer(text: str) -> int:
    """The type of a flag that is a whole number: no ``1_0``, which int() takes for 10."""
    return parse_int(text)


def number(text: str) -> float:
    """The type of a flag that is a number."""
    return parse_float(text)


integer.__name__, number.__name__ = "int", "float"  # argparse's messages name them


def given(arguments: argparse.Namespace, name: str) -> bool:
    """Whether the user has given a flag, and not its default or a variable."""
    return name in getattr(arguments, "given", {})


def seeds(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> list[int] | None:
    """``--seeds`` as numbers; one seed alone is said, for who meant that many seeds."""
    if arguments.seeds is None:
        return None
    if "seed" in fields_set:
        raise ConfigError("--seed and --seeds are both given: --seed sets it in every run")
    found = parsing.parse_seeds(arguments.seeds)
    if len(found) == 1 and found[0] > 1:
        screen.note(f"seed {found[0]} alone; {found[0]} seeds are --seeds 0-{found[0] - 1}")
    return found


def add_seeds(command: argparse.ArgumentParser) -> None:
    """The flag --seeds."""
    command.add_argument(
        "--seeds",
        action="append",
        help="seeds instead of those in the files, such as 0,1,2 or 0-4",
    )


def location(name: str) -> Path:
    """A file or a folder; an empty name, from an unset variable, is neither."""
    if not name:
        raise argparse.ArgumentTypeError("an empty name is no folder and no file")
    return env_vars.expand_path(name)


def output(name: str) -> Path:
    """A file to be written: its folder is there, and it is no folder itself.

    Said before anything is computed, and no folder is made for a name that may be mistyped.
    """
    if name == "-":
        raise argparse.ArgumentTypeError("- is no file: /dev/stdout is the screen")
    path = location(name)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder: name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written: permission denied")
    return path


def default_results() -> Path:
    """The folder of all runs where none is named."""
    return env_vars.expand_path(env_vars.get("ABLATIONS_RESULTS") or DEFAULT_RESULTS)


def add_recipe(command: argparse.ArgumentParser, default: str = DEFAULT_RECIPE) -> None:
    """The flags --recipe and --plugins."""
    add_plugins(command)
    chosen = env_vars.get("ABLATIONS_RECIPE") or default
    if isinstance(command, Parser):
        command.fields_of = chosen
    command.add_argument(
        "--recipe",
        default=chosen,
        help=f"{', '.join(recipe_names())} (default: $ABLATIONS_RECIPE or {default})",
    )


def add_plugins(command: argparse.ArgumentParser) -> None:
    """The flag --plugins."""
    command.add_argument(
        "--plugins", help="modules with your token mixers, such as my_mixer or a,b"
    )


def add_results(command: argparse.ArgumentParser, positional: bool = False) -> None:
    """The flag --results, and where a command is of one folder, that folder as a word."""
    if positional:
        command.add_argument("folder", nargs="?", type=location, help="short for --results FOLDER")
    command.add_argument(
        "--results",
        type=location,
        default=default_results(),
        help=f"folder of all runs (default: $ABLATIONS_RESULTS or {DEFAULT_RESULTS})",
    )


def one_folder(arguments: argparse.Namespace) -> None:
    """Take the folder that is given as a word for that of --results.

    Raises:
        ConfigError: Both are given, and differ.
    """
    if arguments.folder is None:
        return
    if given(arguments, "results") and arguments.results != arguments.folder:
        raise ConfigError(
            f"{arguments.folder} and --results {arguments.results} are two folders: give one"
        )
    arguments.results = arguments.folder


def add_training(command: argparse.ArgumentParser) -> None:
    """The flags --tracker and --no-reuse."""
    command.add_argument("--tracker", help="short for --system.tracker: wandb or none")
    command.add_argument(
        "--no-reuse",
        action="store_true",
        default=None,  # main asks the variable, once this command is the one
        help="train a run even if it is done, here or in W&B (or $ABLATIONS_NO_REUSE=1)",
    )


def add_stale(command: argparse.ArgumentParser) -> None:
    """The flag --retrain-stale."""
    command.add_argument(
        "--retrain-stale",
        action="store_true",
        help="train again the runs whose token mixer, of a plugin, has changed since; their "
        "earlier files are kept in stale-N/ of their folders",
    )


def short(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> None:
    """Put --tracker and --plugins among the fields that they are short for.

    Raises:
        ConfigError: The field is given too, with another value.
    """
    words = {name: getattr(arguments, name, None) for name in ("tracker", "plugins")}
    for name, word in words.items():
        if word is None:
            continue
        value = word if name == "tracker" else json.dumps([w.strip() for w in word.split(",")])
        field = f"system.{name}"
        if str(fields_set.setdefault(field, value)) != value:
            raise ConfigError(
                f"--{name} {word} and --{field} {fields_set[field]} are both given: leave one out"
            )


def data_root() -> dict[str, str]:
    """Where the pictures lie, unless the command or the sweep says so: $ABLATIONS_DATA_ROOT."""
    root = env_vars.get("ABLATIONS_DATA_ROOT")
    return {"data.root": root} if root else {}


def refuse_fields(command: str, fields_set: dict[str, Any]) -> None:
    """Raise ConfigError where a field of a run is given to a command that has no run."""
    if fields_set:
        raise ConfigError(f"`ablations {command}` does not take --{next(iter(fields_set))}")


def write_or_emit(text: str, output: Path | None) -> None:
    """Write a result to a file, or print it where there is none."""
    if output is None:
        screen.out(text, end="")
        return
    if _is_stream(output):
        try:
            with output.open("a", encoding="utf-8") as stream:
                stream.write(text)
        except BrokenPipeError:
            pass  # as on a screen
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(output)) from error
        return
    from ablations.store.records import write_atomically

    write_atomically(output, text)


def _is_stream(path: Path) -> bool:
    """Whether it is no file of a folder, but a pipe, a device or a stream such as /dev/stdout.

    The name of a stream is not to be replaced, also where the shell has sent it to a file.
    """
    if path.exists() and not path.is_file():
        return True
    target = path.parent / os.readlink(path) if path.is_symlink() else path
    return any(os.path.realpath(each.parent).startswith("/proc/") for each in (path, target))


def sync_command(folders: Sequence[Path]) -> str:
    """How to send W&B what has not arrived there."""
    runs = "1 run has" if len(folders) == 1 else f"{len(folders)} runs have"
    places = " ".join(shlex.quote(str(folder)) for folder in folders)
    return (
        f"{runs} not reached W&B whole, send what is missing: wandb sync --include-online {places}"
    )
