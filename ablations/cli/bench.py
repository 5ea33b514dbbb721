"""`ablations bench`: measure the lab itself.

Measure the overhead of the lab itself, and its statistics, against a limit or a peer.

runner: a study on warm workers against one process per run; a run against a bare loop.

table: a table of 54, 10,000 and 100,000 made-up records.

tracker: a run that logs to W&B against the same run with --tracker none.

statistics: simulated studies: the coverage of intervals, the error rates and the power of tests.

images: simulated studies: the same for intervals over seeds and images.

looks: simulated studies that add seeds look by look: the error rate, and the runs saved.
"""

from __future__ import annotations

import argparse

from ablations.cli.options import add_recipe, parse_count
from ablations.cli.parser import Parser
from ablations.config.resolve import resolve
from ablations.console import screen
from ablations.data import count_classes


def add(command: Parser) -> None:
    """Declare the flags."""
    command.add_argument(
        "names",
        nargs="*",
        choices=["runner", "table", "tracker", "statistics", "images", "looks"],
        metavar="bench",
        help="runner, table, tracker, statistics, images or looks (default: all)",
    )
    command.add_argument(
        "--rounds",
        type=parse_count,
        default=7,
        metavar="N",
        help="repetitions of each measurement (default: 7)",
    )
    add_recipe(command)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; return 1 where a limit is exceeded."""
    from ablations import bench

    config = resolve(arguments.recipe, arguments.fields_set, count_classes=count_classes)

    results = [
        bench.BENCHES[name](config, arguments.rounds, screen.note)
        for name in arguments.names or bench.BENCHES
    ]
    for result in results:
        screen.out("\n".join(result.lines))
    return 0 if all(result.passed for result in results) else 1
