"""`ablations plan`: estimate the hours, disk space and smallest detectable effect of sweep files.

Train a few steps of every variant of sweep files on this machine, and estimate from them what
`ablations run` will take.

--check DIR compares the plan in DIR with what the runs took.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from ablations.cli.looks import add_looks, expand_looks, parse_looks
from ablations.cli.options import (
    add_recipe,
    add_results,
    add_shared,
    default_data_root,
    parse_count,
    path_argument,
)
from ablations.cli.output import report_problems
from ablations.cli.parser import Parser
from ablations.console import screen
from ablations.errors import ConfigError


def add(command: Parser) -> None:
    """Declare the flags."""
    add_shared(command, "sweeps", nargs="*")
    add_shared(command, "--seeds", "--workers")
    add_looks(command)
    command.add_argument(
        "--probes",
        type=parse_count,
        metavar="N",
        help="train steps of at most N variants, and estimate the others from their MACs",
    )
    command.add_argument(
        "--std",
        type=float,
        metavar="POINTS",
        help="standard deviation, over seeds, of the difference from the baseline, in "
        "percentage points (default: from records)",
    )
    command.add_argument(
        "--check",
        type=path_argument,
        metavar="DIR",
        help="compare the plan of this folder with its runs",
    )
    add_recipe(command)
    add_results(command)
    add_shared(command, "--json", "--tracker")
    add_shared(
        command,
        "--no-reuse",
        help="plan all runs, also those that are done (or $ABLATIONS_NO_REUSE=1)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the plan; return 1 where a variant cannot be probed or the disk is too small."""
    if arguments.check is not None:
        return _check(arguments)
    if not arguments.sweeps:
        raise ConfigError("`ablations plan` needs sweep files, or --check DIR")

    from ablations.planning.plan import make_plan
    from ablations.planning.report import plan_table
    from ablations.store import storage

    looks = parse_looks(arguments)
    runs = expand_looks(arguments, looks)
    storage.check_writable(arguments.results)
    plan = make_plan(
        [each.config for each in runs],
        {**default_data_root(), **arguments.fields_set},
        arguments.results,
        arguments.workers,
        arguments.std,
        reuse=not arguments.no_reuse,
        max_probes=arguments.probes,
        looks=looks,
    )
    _print(arguments, plan, plan_table)
    for complaint in plan["complaints"]:
        screen.note(complaint)
    return 1 if plan["complaints"] else 0


def _print(
    arguments: argparse.Namespace, tree: Any, to_table: Callable[[Any], tuple[Any, str]]
) -> None:
    """Print JSON values as they are or as a table, as --json asks."""
    if arguments.json:
        screen.out(json.dumps(tree, indent=2))
    else:
        screen.print_table(*to_table(tree))


def _check(arguments: argparse.Namespace) -> int:
    """Compare a plan with the records; return 1 where a record cannot be read."""
    for field in arguments.fields_set:
        raise ConfigError(f"`ablations plan --check` does not take --{field}")
    if arguments.sweeps:
        raise ConfigError("--check DIR takes no sweep files: it compares the plan that is in DIR")

    from ablations.planning.check import compare_with_records
    from ablations.planning.plan_file import read_plan
    from ablations.planning.report import check_table
    from ablations.store.records import read_records

    folder = arguments.check
    plan = read_plan(folder)
    if not plan:
        raise ConfigError(
            f"no plan in {folder}: `ablations plan SWEEPS --results {folder}` makes one"
        )
    records, problems = read_records([folder])
    if not records and not problems:
        raise ConfigError(f"no records in {folder}: `ablations run` makes them")
    _print(arguments, compare_with_records(plan, records), check_table)
    report_problems(problems)
    return 1 if problems else 0
