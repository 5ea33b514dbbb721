"""``program`` and ``command`` of a sweep file: the flags with which an agent starts each run.

`ablations run` applies these flags too, so that both ways of launching give the same runs.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ablations.config.arguments import CHOICES, split_arguments
from ablations.errors import ConfigError

ARGS = ["args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags", "args_json"]
ARGS += ["args_json_file"]
STARTS = re.compile(r"\$\{env\}|\$\{interpreter\}|(\S*/)?(env|python[\d.]*)|-[umBE]")
PROGRAM = "ablations.train"
EXPECTED = '["${env}", "${interpreter}", "-m", "${program}", "${args}"]'


def command_fields(program: Any, command: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields (and ``recipe``, ``preset``) that a command sets before and after ``${args}``.

    Args:
        program: The value in the file, or None.
        command: The value in the file, or None for W&B's default.

    Raises:
        ConfigError: Another program, or a command that `ablations run` cannot apply.
    """
    if program is not None and program != PROGRAM:
        raise ConfigError(f"program {program!r}: `ablations run` trains by {PROGRAM}")
    if command is None:
        return {}, {}
    if not isinstance(command, list) or not command:
        raise ConfigError(f"command must be a list, such as {EXPECTED}")
    words = [_expanded(word) for word in command]
    head, rest = _program(words)
    if unknown := [word for word in head if not STARTS.fullmatch(word)]:
        raise ConfigError(
            f"command has {unknown[0]!r}, which `ablations run` cannot apply: use {EXPECTED}"
        )
    macros = [word for word in rest if re.fullmatch(r"\$\{.*\}", word)]
    if unknown := [word for word in macros if word[2:-1] not in ARGS]:
        raise ConfigError(
            f"command has {unknown[0]}: valid are {', '.join(f'${{{a}}}' for a in ARGS)}"
        )
    if len(macros) != 1:
        raise ConfigError("command must have ${args} once, or no parameter reaches the runs")
    index = rest.index(macros[0])
    return _fixed(rest[:index]), _fixed(rest[index + 1 :])


def _program(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before and after the program."""
    for index, word in enumerate(words):
        if word in ("${program}", PROGRAM):
            return words[:index], words[index + 1 :]
        if word == "ablations" and words[index + 1 : index + 2] == ["train"]:
            return words[:index], words[index + 2 :]
    raise ConfigError(f"command starts no ${{program}}: use {EXPECTED}")


def _expanded(word: Any) -> str:
    """A word with ``${envvar:NAME}`` replaced by the variable, or by its name if it is not set."""
    if isinstance(word, list | dict) or word is None:
        raise ConfigError(f"command has {word!r}, and each of its items must be text")
    return re.sub(
        r"\$\{envvar:([A-Z0-9_]*)\}", lambda found: os.environ.get(found[1], found[1]), str(word)
    )


def _fixed(words: list[str]) -> dict[str, Any]:
    """The fields, recipe and preset that flags set."""
    own, found = split_arguments(["train", *words])
    rest = own[1:]
    while rest:
        name, equals, value = rest.pop(0).removeprefix("--").partition("=")
        if not equals and rest:
            value = rest.pop(0)
        if name == "tracker":
            found["system.tracker"] = value
        elif name == "plugins":
            found["system.plugins"] = [each.strip() for each in value.split(",")]
        elif name in CHOICES and value:
            found[name] = value
        else:
            raise ConfigError(
                f"command has {name!r}, which `ablations run` does not accept from a file: pass it "
                "as a flag to `ablations run`, and to agents as an environment variable "
                "(ABLATIONS_RESULTS, ABLATIONS_NO_REUSE)"
            )
    return found
