"""`ablations train`: one cell."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ablations.flags import add_recipe, add_results, fields_help
from ablations.resolve import resolve


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "train",
        help="train one cell",
        description="Train one cell and write its record.",
        epilog=fields_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_recipe(command)
    add_results(command)
    command.add_argument("--preset", help="a named list of changes of the recipe: s24, ppaa, ...")
    command.add_argument("--tracker", help="short for --system.tracker: wandb or none")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, str]) -> int:
    """Train it; 1 where it fails."""
    config = resolve(arguments.recipe, fields_set, arguments.preset)

    from ablations.train import train

    def show(body: dict[str, Any]) -> None:
        print(
            f"epoch {body['epoch']}/{body['epochs']}: top-1 {body['val/top1']:.2f}%, "
            f"{body['speed']:.0f} pictures/s",
            flush=True,
        )

    record = train(config, arguments.results, show)
    if record.failure:
        print(f"{record.failure['kind']}: {record.failure['message']}", file=sys.stderr)
    top1 = record.metric("val/top1")
    accuracy = "" if top1 is None else f", top-1 {top1:.2f}%"
    print(f"{record.status}{accuracy}: {arguments.results / record.run_id / 'record.json'}")
    return 0 if record.done else 1
