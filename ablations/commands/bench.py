"""`ablations bench`: speed of the lab itself, each number against a peer in the same process."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ablations.flags import add_recipe, fields_help
from ablations.resolve import resolve
from poolformer.config import ConfigError, unknown


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "bench",
        help="measure what the lab itself costs",
        description="Measure what the lab itself costs, against a peer in the same process.\n"
        "tracker: a run mirrored to W&B against the same run with --tracker none.",
        epilog=fields_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("names", nargs="*", metavar="name", help="tracker (default: all)")
    command.add_argument("--rounds", type=int, default=7, help="how often each is timed (7)")
    add_recipe(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Measure and print; 1 where a limit is not kept."""
    from ablations import bench
    from ablations.tracking.client import mode

    for name in arguments.names:
        if name not in bench.BENCHES:
            raise ConfigError(unknown("bench", name, list(bench.BENCHES)))
    if arguments.rounds < 1:
        raise ConfigError(f"--rounds {arguments.rounds} must be 1 or more")
    config = resolve(arguments.recipe, fields_set)
    os.environ.setdefault("WANDB_MODE", "offline")  # nobody wants these runs in an account

    def told(line: str) -> None:
        print(line, file=sys.stderr)

    kept = True
    for name in arguments.names or bench.BENCHES:
        found = bench.BENCHES[name](config, arguments.rounds, told)
        title = f"{name}: recipe {config.recipe}, W&B {mode()}, {bench.machine()}"
        print(bench.summary(title, found))
        kept &= found.ratio <= found.limit
    return 0 if kept else 1
