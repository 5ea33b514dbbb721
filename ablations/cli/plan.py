"""`ablations plan`: what a study will take, before it is launched; `--check`: what it took."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from ablations.cli.options import (
    Lines,
    add_recipe,
    add_results,
    add_seeds,
    add_training,
    data_root,
    given,
    integer,
    location,
    number,
    refuse_fields,
    seeds,
)
from ablations.console import screen
from ablations.data import count_classes
from ablations.errors import ConfigError


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "plan",
        help="estimate hours, disk and the smallest effect of sweep files before launching",
        description="Train a few steps of every variant of sweep files on this machine, and "
        "estimate from them what `ablations run` will take.\n"
        "--check DIR compares the plan in DIR with what the runs took.",
        formatter_class=Lines,
    )
    command.add_argument(
        "sweeps", nargs="*", type=location, help="sweep files, such as sweeps/*.yaml"
    )
    add_seeds(command)
    command.add_argument(
        "--workers", type=integer, help="runs at once (default: one a GPU, else one a CPU core)"
    )
    command.add_argument(
        "--probes",
        type=integer,
        metavar="N",
        help="train steps of at most N variants; the others are estimated by their MACs",
    )
    command.add_argument(
        "--std",
        type=number,
        metavar="POINTS",
        help="assume this standard deviation, over seeds, of a row's difference from the baseline, "
        "in points (default: from records)",
    )
    command.add_argument(
        "--check",
        type=location,
        metavar="DIR",
        help="compare the plan of this folder with its runs",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document")
    add_recipe(command)
    add_results(command)
    add_training(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Plan; 1 where a variant cannot be probed or the disk is too small."""
    if arguments.check is not None:
        return check(arguments, fields_set)
    if not arguments.sweeps:
        raise ConfigError("`ablations plan` needs sweep files, or --check DIR")
    if arguments.workers is not None and arguments.workers < 1:
        raise ConfigError(f"--workers {arguments.workers} must be 1 or more")

    if arguments.probes is not None and arguments.probes < 1:
        raise ConfigError(f"--probes {arguments.probes} must be 1 or more")

    from ablations.config.sweep import expand_sweeps
    from ablations.planning.plan import make_plan
    from ablations.planning.report import plan_table
    from ablations.store import records

    wanted = seeds(arguments, fields_set)
    recipe_given = given(arguments, "recipe")
    cells = expand_sweeps(
        arguments.sweeps,
        arguments.recipe,
        fields_set,
        wanted,
        data_root(),
        recipe_given,
        count_classes,
    )
    records.check_writable(arguments.results)
    found = make_plan(
        [cell.config for cell in cells],
        {**data_root(), **fields_set},
        arguments.results,
        arguments.workers,
        arguments.std,
        reuse=not arguments.no_reuse,
        max_probes=arguments.probes,
    )
    tell(arguments, found, plan_table)
    for complaint in found["complaints"]:
        screen.note(complaint)
    return 1 if found["complaints"] else 0


def tell(
    arguments: argparse.Namespace, found: Any, shown: Callable[[Any], tuple[Any, str]]
) -> None:
    """Print JSON values, or the table that they are shown as."""
    if arguments.json:
        screen.out(json.dumps(found, indent=2))
    else:
        screen.print_table(*shown(found))


def check(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Hold a plan against the records; 1 where one of these cannot be read."""
    refuse_fields("plan --check", fields_set)
    if arguments.sweeps:
        raise ConfigError("--check DIR takes no sweep files: the plan in DIR says what was planned")

    from ablations.planning.check import compare_with_records
    from ablations.planning.plan_file import read_plan
    from ablations.planning.report import check_table
    from ablations.store.records import read_records

    folder = arguments.check
    expected = read_plan(folder)
    if not expected:
        raise ConfigError(
            f"no plan in {folder}: `ablations plan SWEEPS --results {folder}` makes one"
        )
    known, problems = read_records([folder])
    if not known and not problems:
        raise ConfigError(f"no records in {folder}: `ablations run` makes them")
    tell(arguments, compare_with_records(expected, known), check_table)
    for problem in problems:
        screen.note(f"left out: {problem}")
    return 1 if problems else 0
