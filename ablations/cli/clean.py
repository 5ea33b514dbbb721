"""`ablations clean`: remove checkpoints of finished runs and files of killed processes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ablations.cli.options import add_results, resolve_folder
from ablations.cli.parser import Parser
from ablations.config.schema import RUN_ID
from ablations.console import screen
from ablations.errors import ConfigError
from ablations.store.cleanup import REMOVABLE_KINDS, file_size, find_removable, remove_path
from ablations.store.previous_results import finish_interrupted_moves
from ablations.text.phrases import pluralize


def add(command: Parser) -> None:
    """Declare the flags."""
    command.description = (
        "List what a results folder no longer needs, ask, then remove it:\n"
        + "".join(f"- {words}\n" for words in REMOVABLE_KINDS.values())
        + "Records, histories, weights and logs stay, and so do all files of runs that are "
        "running or can be continued."
    )
    add_results(command, positional=True)
    command.add_argument("--yes", action="store_true", help="remove without asking")
    command.add_argument("--dry-run", action="store_true", help="list only, remove nothing")


def run(arguments: argparse.Namespace) -> int:
    """List, ask and remove; return 1 where a record cannot be read or the user says no."""
    resolve_folder(arguments)

    from rich.filesize import decimal

    from ablations.console.grid import TextTable
    from ablations.store import records

    results: Path = arguments.results
    if not results.is_dir():
        raise ConfigError(f"no folder {results}: give one that `ablations run` has filled")
    _, problems = records.read_all_records([results])
    for problem in problems:
        screen.note(f"left alone: {problem}")
    if not arguments.dry_run:
        finish_interrupted_moves(results, filter(RUN_ID.fullmatch, os.listdir(results)))
    found = list(find_removable(results))
    if not found:
        screen.out(f"nothing to remove in {results}")
        return 1 if problems else 0
    table = TextTable("what", "files", "size", right=("files", "size"))
    for kind, words in REMOVABLE_KINDS.items():
        paths = [path for known, path in found if known == kind]
        if paths:
            table.add_row(words, str(len(paths)), decimal(sum(map(file_size, paths))))
    total = decimal(sum(file_size(path) for _, path in found))
    screen.print_table(
        table, f"{pluralize(len(found), 'file')}, {total}, in {results}; no record is touched"
    )
    if arguments.dry_run:
        return 1 if problems else 0
    if not arguments.yes and not _confirmed():
        screen.out("nothing is removed: give --yes to remove without asking")
        return 1
    # Another process may have started to use a file since the question.
    removable = set(find_removable(results))
    sizes = [remove_path(path) for kind, path in found if (kind, path) in removable]
    screen.out(f"removed {pluralize(len(sizes), 'file')}, {decimal(sum(sizes))}")
    return 1 if problems else 0


def _confirmed() -> bool:
    """Whether the user says yes; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    return input("remove them? [y/N] ").strip().lower() in ("y", "yes")
