"""`ablations profile`: print parameters, MACs and activation memory beside the paper's.

Print parameters, MACs and activation memory of all sizes and of the variants of sweep files, beside
the published values. Any field of a run is a flag.
"""

from __future__ import annotations

import argparse
import functools
import sys

from ablations.cli.options import add_format, add_output, add_recipe, add_shared
from ablations.cli.output import write_output
from ablations.cli.parser import Parser, was_given
from ablations.console import screen
from ablations.data import count_classes
from ablations.text import escape


def add(command: Parser) -> None:
    """Declare the flags."""
    add_shared(command, "sweeps", nargs="*")
    add_recipe(command, default="imagenet")
    add_format(command, "md", "csv")
    add_output(command)


def run(arguments: argparse.Namespace) -> int:
    """Compute and print the costs."""
    from ablations.config.sweep import expand_sweeps

    runs = expand_sweeps(
        arguments.sweeps,
        arguments.recipe,
        arguments.fields_set,
        seeds=[0],  # the cost of a model does not depend on the seed
        recipe_given=was_given(arguments, "recipe"),
        count_classes=count_classes,
    )

    from rich.progress import track

    from ablations.tables import render_tables
    from ablations.tables.model_costs import cost_table, models_to_count

    progress = functools.partial(
        track,
        description="counting",
        console=screen.stderr_console(),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    table = cost_table(models_to_count(arguments.recipe, runs, arguments.fields_set), progress)
    text = escape.csv(table.values) if arguments.format == "csv" else render_tables([table], "md")
    write_output(text, arguments.output)
    return 0
