"""`ablations status`: show which runs are finished, running, interrupted, failed or crashed.

Show the state of the runs in a results folder: finished, diverged, running, interrupted, failed or
crashed. To finish the others, run `ablations run` again with the same sweep files.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from ablations.cli.options import add_results, add_shared, resolve_folder
from ablations.cli.output import report_problems
from ablations.cli.parser import Parser
from ablations.console import screen
from ablations.errors import ConfigError
from ablations.store.run_progress import describe_stall
from ablations.text.phrases import format_duration, pluralize

if TYPE_CHECKING:
    from ablations.store.status import RunStatus

NUMBERS = ("epoch", "top-1", "images/s", "left")


def add(command: Parser) -> None:
    """Declare the flags."""
    add_results(command, positional=True)
    add_shared(command, "--json")


def run(arguments: argparse.Namespace) -> int:
    """Print the table; return 1 where a file cannot be read."""
    resolve_folder(arguments)

    from ablations.config.naming import run_name
    from ablations.store.status import STATES, read_status

    runs, problems = read_status(arguments.results)
    if not runs and not problems:
        raise ConfigError(f"no runs in {arguments.results}: `ablations run` makes them")
    report_problems(problems)
    names = {status.run_id: run_name(status.config) for status in runs}
    runs.sort(key=lambda status: (STATES.index(status.state), names[status.run_id]))
    counts = Counter(status.state for status in runs)
    if arguments.json:
        tree = {
            "runs": [{"cell": names[status.run_id], **status.to_json()} for status in runs],
            "counts": counts,
            "problems": problems,
        }
        screen.out(json.dumps(tree, indent=2))
    else:
        summary = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        screen.print_table(_table(runs, names), f"{pluralize(len(runs), 'run')}: {summary}")
    return 1 if problems else 0


def _table(runs: list[RunStatus], names: dict[str, str]) -> Any:
    from ablations.console.grid import TextTable

    # The names of runs do not contain the recipe.
    recipe_shown = len({status.config["recipe"] for status in runs}) > 1
    # A narrow terminal shows the speed of running runs only.
    spare = [] if any(status.holder for status in runs) else ["images/s"]
    table = TextTable("run", "recipe", "name", "state", *NUMBERS, "", right=NUMBERS, spare=spare)
    for status in runs:
        speed, left = status.images_per_second, status.seconds_left
        table.add_row(
            status.run_id,
            status.config["recipe"] if recipe_shown else "",
            names[status.run_id],
            status.state,
            str(status.progress or f"{status.epoch}/{status.epochs}"),
            "–" if status.top1 is None else f"{status.top1:.2f}",
            "–" if speed is None else f"{speed:.0f}",
            "" if left is None else format_duration(left),
            _note(status),
        )
    return table


def _note(status: RunStatus) -> str:
    """The process that trains a run, and when it last made progress; else the run's own note."""
    if not status.holder:
        return status.note
    holder = status.holder
    process = f"process {holder.pid} on {holder.host} since {holder.since}"
    stall = describe_stall(status.progress_age) if status.progress else ""
    return f"{stall}; {process}" if stall else process
