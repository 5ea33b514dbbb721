"""`ablations bench`: speed of the lab itself, each number against a peer in the same process."""

from __future__ import annotations

import argparse
from typing import Any

from ablations.cli.options import Lines, add_recipe, integer
from ablations.config.resolve import resolve
from ablations.console import screen
from ablations.data import count_classes
from ablations.errors import ConfigError


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "bench",
        help="measure what the lab itself costs",
        description="Measure what the lab itself costs, against a limit or a peer.\n"
        "runner: a study by warm workers against one process a run; a run against a bare loop.\n"
        "table: 54, 10,000 and 100,000 made-up records to a table.\n"
        "tracker: a run mirrored to W&B against the same run with --tracker none.",
        formatter_class=Lines,
    )
    command.add_argument(
        "names",
        nargs="*",
        choices=["runner", "table", "tracker"],
        metavar="bench",
        help="runner, table or tracker (default: all)",
    )
    command.add_argument(
        "--rounds", type=integer, default=7, help="how often each is timed (default: 7)"
    )
    add_recipe(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Measure and print; 1 where a limit is not kept."""
    from ablations import bench

    if arguments.rounds < 1:
        raise ConfigError(f"--rounds {arguments.rounds} must be 1 or more")
    config = resolve(arguments.recipe, fields_set, count_classes=count_classes)

    results = [
        bench.BENCHES[name](config, arguments.rounds, screen.note)
        for name in arguments.names or bench.BENCHES
    ]
    for result in results:
        screen.out("\n".join(result.lines))
    return 0 if all(result.passed for result in results) else 1
