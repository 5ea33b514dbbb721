"""`ablations profile`: what models cost, beside the paper's counts."""

from __future__ import annotations

import argparse
import functools
import sys
from typing import Any

from ablations.cli.options import add_recipe, given, location, output, write_or_emit
from ablations.console import screen
from ablations.data import count_classes
from ablations.text import escape


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "profile",
        help="print parameters, MACs and activation memory beside the paper's",
        description="Print parameters, MACs and activation memory of all sizes and of the variants "
        "of sweep files, beside the published values. Any field of a run is a flag.",
    )
    command.add_argument(
        "sweeps", nargs="*", type=location, help="sweep files, such as sweeps/*.yaml"
    )
    add_recipe(command, default="imagenet")
    command.add_argument(
        "--format",
        default="md",
        choices=["md", "csv"],
        metavar="FORMAT",
        help="md (default) or csv",
    )
    command.add_argument("-o", "--output", type=output, help="write to a file instead of stdout")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Count and print the costs."""
    from ablations.config.sweep import expand_sweeps

    # The cost of a model does not depend on the seed.
    named = given(arguments, "recipe")
    cells = expand_sweeps(
        arguments.sweeps,
        arguments.recipe,
        fields_set,
        seeds=[0],
        recipe_given=named,
        count_classes=count_classes,
    )

    from rich.progress import track

    from ablations.tables.model_costs import cost_frame, cost_markdown, models_to_count

    show = functools.partial(
        track,
        description="counting",
        console=screen.stderr_console(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    frame = cost_frame(models_to_count(arguments.recipe, cells, fields_set), show)
    text = cost_markdown(frame) if arguments.format == "md" else escape.csv(frame)
    write_or_emit(text, arguments.output)
    return 0
