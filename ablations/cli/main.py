"""The command line: `ablations` and `python -m ablations`.

Exit code 0: success; 1: something ran and failed; 2: the input was wrong; 130 or 143: stopped by
SIGINT or SIGTERM.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ablations.cli import COMMANDS
from ablations.cli.options import apply_shorthands
from ablations.cli.parser import Parser
from ablations.config.arguments import split_arguments
from ablations.console import screen
from ablations.errors import ConfigError, PoolformerError, TrackerError
from ablations.machine import env_vars
from ablations.store.storage import NO_SPACE_ERRORS
from ablations.tracking.client import agent_run_id


def build_parser() -> Parser:
    """The parser of all commands; ``split_arguments`` handles fields of a run given as flags."""
    top = Parser(
        prog="ablations",
        description="Ablation studies on MetaFormer: train sweeps, print the paper's tables.",
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="command", parser_class=Parser)
    for name, module in COMMANDS.items():
        paragraphs = [" ".join(text.split()) for text in (module.__doc__ or "").split("\n\n")]
        _, _, summary = paragraphs[0].partition(": ")
        description = "\n".join(paragraphs[1:])
        command = commands.add_parser(
            name, help=summary.removesuffix("."), description=description or None
        )
        command.set_defaults(run=module.run)
        module.add(command)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    screen.set_up_streams()
    words = list(sys.argv[1:] if words is None else words)
    try:
        code = _run(words)
    except SystemExit:  # of --help
        if not screen.write_error():
            raise
        code = 1
    if why := screen.write_error():
        screen.note(f"ablations: stdout cannot be written: {why}")
        # Training leaves its result on disk; other commands have lost it.
        return code if _trains(words) and "--dry-run" not in words else code or 1
    return code


def _run(words: Sequence[str]) -> int:
    """Run a command; report an error or a signal in one line, also to a W&B agent."""
    try:
        return _execute(words)
    except PoolformerError as error:
        return _refuse(words, str(error), error.exit_code)
    except OSError as error:
        if error.filename is None:
            raise
        code = 1 if error.errno in NO_SPACE_ERRORS else 2
        return _refuse(words, f"{error.filename}: {error.strerror}", code)
    except KeyboardInterrupt as stopped:
        hint = "; the same command goes on from the last epoch" if _trains(words) else ""
        screen.note(f"interrupted{hint}")
        code = getattr(stopped, "code", 130)
        if not getattr(stopped, "reported", False):
            _end_agent_run(
                words, f"stopped by a signal before its first epoch: exit code {code}", code
            )
        return code


def _execute(words: Sequence[str]) -> int:
    own, fields_set = split_arguments(words)
    top = build_parser()
    if own and own[0].startswith("--") and own[0] not in ("--help", "--version"):
        raise ConfigError(f"{own[0]} comes after a command: `ablations run {own[0]} ...`")
    arguments = top.parse_args(own)
    if arguments.version:
        from importlib.metadata import version

        screen.out(version("metaformer-ablations"))
        return 0
    if arguments.command is None:
        top.print_help()
        return 2
    arguments.fields_set = fields_set
    apply_shorthands(arguments)
    if getattr(arguments, "no_reuse", False) is None:
        arguments.no_reuse = env_vars.get_bool("ABLATIONS_NO_REUSE")
    _check_working_directory()
    if warning := env_vars.set_up_tmpdir():
        screen.note(f"ablations: {warning}")
    for field in {} if hasattr(arguments, "plugins") else fields_set:
        # Commands that take fields take --plugins too, which is short for one.
        command = f"{arguments.command} {getattr(arguments, 'action', '')}".strip()
        raise ConfigError(f"`ablations {command}` does not take --{field}")
    code: int = arguments.run(arguments)
    return code


def _refuse(words: Sequence[str], why: str, code: int) -> int:
    screen.note(f"ablations: {why}")
    _end_agent_run(words, f"refused: {why}")
    return code


def _trains(words: Sequence[str]) -> bool:
    return list(words[:1]) in (["train"], ["run"])


def _check_working_directory() -> None:
    """Raise ConfigError where the working directory is gone: libraries would fail obscurely."""
    try:
        os.getcwd()
    except OSError as error:
        raise ConfigError(
            f"the working directory cannot be used ({error.strerror}): change to another one"
        ) from error


def _end_agent_run(words: Sequence[str], message: str, code: int = 2) -> None:
    """Tell W&B why a run that its agent started ends before its first epoch."""
    if list(words[:1]) != ["train"] or not agent_run_id():
        return
    if isinstance(sys.exception(), TrackerError):
        return  # W&B itself refused the run, and would refuse this too
    from ablations.tracking.mirror import end_unstarted_run

    end_unstarted_run(message, code, again=code != 2)
