"""`ablations bench`: the overhead of the lab, against a limit or a peer in the same process."""

from __future__ import annotations

import argparse
from typing import Any

from ablations.cli.options import add_recipe, require_positive
from ablations.config.resolve import resolve
from ablations.console import screen
from ablations.data import count_classes


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "bench",
        help="measure the overhead of the lab itself",
        description="Measure the overhead of the lab itself, against a limit or a peer.\n"
        "runner: a study on warm workers against one process per run; a run against a bare loop.\n"
        "table: a table of 54, 10,000 and 100,000 made-up records.\n"
        "tracker: a run that logs to W&B against the same run with --tracker none.",
    )
    command.add_argument(
        "names",
        nargs="*",
        choices=["runner", "table", "tracker"],
        metavar="bench",
        help="runner, table or tracker (default: all)",
    )
    command.add_argument(
        "--rounds", type=int, default=7, help="repetitions of each measurement (default: 7)"
    )
    add_recipe(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; return 1 where a limit is exceeded."""
    from ablations import bench

    require_positive(arguments, "rounds")
    config = resolve(arguments.recipe, arguments.fields_set, count_classes=count_classes)

    results = [
        bench.BENCHES[name](config, arguments.rounds, screen.note)
        for name in arguments.names or bench.BENCHES
    ]
    for result in results:
        screen.out("\n".join(result.lines))
    return 0 if all(result.passed for result in results) else 1
