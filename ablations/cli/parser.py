"""The argparse parser of all commands: errors of one line, strict numbers, the fields in --help."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from ablations.cli import field_help
from ablations.config.resolve import FIELDS
from ablations.errors import ConfigError
from ablations.text.parsing import parse_float, parse_int
from poolformer.config import unknown_name


class DescriptionFormatter(argparse.HelpFormatter):
    """Keeps the line breaks of a description, and wraps each line."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        wrap = super()._fill_text
        return "\n".join(wrap(line, width, indent) for line in text.split("\n"))


class SingleValue(argparse.Action):
    """Stores a flag's value, and refuses a second, different one.

    The dict ``given`` of the namespace has the flags that are on the command line.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Called by argparse for each occurrence of the flag."""
        given = vars(namespace).setdefault("given", {})
        if option_string and repr(given.setdefault(self.dest, values)) != repr(values):
            parser.error(
                f"{option_string} is given twice, as {given[self.dest]} and {values}: leave one out"
            )
        setattr(namespace, self.dest, values)


def was_given(arguments: argparse.Namespace, name: str) -> bool:
    """Whether a flag is on the command line, rather than at its default."""
    return name in getattr(arguments, "given", {})


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises ConfigError and suggests the nearest valid flag or value.

    Attributes:
        recipe: The default recipe of a command that takes fields of a run as flags; its ``--help``
            lists them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=DescriptionFormatter, **options)
        self.register("action", None, SingleValue)
        # Stricter than int() and float(), which take 1_0 and other scripts' digits.
        self.register("type", int, parse_int)
        self.register("type", float, parse_float)
        self.recipe: str | None = None
        self.words: list[str] = []

    def format_help(self) -> str:
        """The command's own flags, then the fields of a run."""
        own = super().format_help()
        if self.recipe is None:
            return own
        return f"{own}\n{field_help.format_fields(*field_help.chosen(self.words, self.recipe))}"

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown flags here, where the command is known."""
        self.words = list(args or ())
        namespace, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("-"):
            raise ConfigError(self._unknown_flag(rest[0].lstrip("-").split("=")[0]))
        if rest:
            raise ConfigError(f"{self.prog} does not take {rest[0]!r}")
        return namespace, rest

    def _unknown_flag(self, word: str) -> str:
        """A message with the nearest flag, or the field that ends with the word: --lr."""
        flags = [*self._option_string_actions]
        if "--plugins" in flags:  # a command that takes fields
            for field in FIELDS:
                if field.endswith(f".{word}"):
                    return f"unknown flag '--{word}': did you mean '--{field}'?"
            flags += [f"--{field}" for field in FIELDS]
        valid = [flag for flag in flags if flag not in ("-h", "--help")]
        return unknown_name("flag", f"--{word}", valid, f"`{self.prog} --help` lists the valid")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Called by argparse for a flag with ``choices``."""
        if action.choices is not None and value != [] and value not in action.choices:
            name = str(action.metavar or action.dest).lower()
            raise ConfigError(unknown_name(name, value, list(action.choices)))

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError; ``main`` prints it."""
        raise ConfigError(message.removeprefix("argument "))
