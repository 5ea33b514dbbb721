"""`ablations run`: the cells of sweep files, then the table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.cli import launching
from ablations.cli.options import (
    Lines,
    add_recipe,
    add_results,
    add_seeds,
    add_stale,
    add_training,
    data_root,
    given,
    location,
    seeds,
    sync_command,
)
from ablations.console import screen
from ablations.data import count_classes
from ablations.errors import ConfigError, RecordError
from ablations.text.parsing import parse_float
from ablations.text.phrases import pluralize

if TYPE_CHECKING:
    from ablations.scheduling.scheduler import Outcome

UNITS = {"s": 1, "m": 60, "h": 3600}


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "run",
        help="train all runs of sweep files, then print the table",
        description="Train the runs of sweep files that are not done yet, then print the table.\n"
        "A run that several files ask for is trained once. The same command goes on after a stop.",
        formatter_class=Lines,
    )
    command.add_argument(
        "sweeps", nargs="+", type=location, help="sweep files, such as sweeps/*.yaml"
    )
    add_seeds(command)
    launching.add(command)
    command.add_argument(
        "--retry-failed",
        action="store_true",
        help="train again all runs that failed before, not only those that were killed",
    )
    add_stale(command)
    command.add_argument(
        "--cell-timeout",
        metavar="TIME",
        help="how long a run may take from its start here, such as 90s, 30m or 12h",
    )
    command.add_argument(
        "--json", action="store_true", help="print events as JSON lines instead of the table"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="list the runs and which are done; train nothing"
    )
    add_recipe(command)
    add_results(command)
    add_training(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Run them; 1 where a cell fails, 130 where the user stops it."""
    from ablations.config.sweep import expand_sweeps
    from ablations.scheduling.json_lines import JsonLines
    from ablations.scheduling.progress import Progress
    from ablations.scheduling.runner import run_study

    cells = expand_sweeps(
        arguments.sweeps,
        arguments.recipe,
        fields_set,
        seeds(arguments, fields_set),
        defaults=data_root(),
        recipe_given=given(arguments, "recipe"),
        count_classes=count_classes,
    )
    here = launching.chosen(arguments) == "local"
    limit = duration("--cell-timeout", arguments.cell_timeout)
    if arguments.dry_run:
        if arguments.json:
            raise ConfigError("--json is not for --dry-run")
        return list_cells(cells, arguments.results, here, arguments.retrain_stale)
    unsent: list[Path] = []
    try:
        outcome = run_study(
            [cell.config for cell in cells],
            arguments.results,
            launching.launcher(arguments),
            JsonLines if arguments.json else Progress,
            reuse=not arguments.no_reuse,
            retry_failed=arguments.retry_failed,
            retrain_stale=arguments.retrain_stale,
            run_timeout=limit,
            on_unsynced=unsent.append,
        )
    finally:
        if unsent:
            screen.note(sync_command(unsent))
    if outcome.interrupted:
        done = sum(record.done for record in outcome.records)
        screen.note(
            f"interrupted with {done} of {pluralize(len(cells), 'run')} done; "
            "the same command goes on from here"
        )
        return outcome.interrupted
    screen.note(summary(outcome, len(cells)))
    if arguments.json:
        screen.out(json.dumps(as_json(outcome, len(cells))))
    else:
        from ablations.analysis.build import build_studies
        from ablations.tables import render_studies

        launched = [cell.config.to_json() for cell in cells]
        found = build_studies(outcome.records, results=arguments.results, launched=launched)
        screen.out(render_studies(found, "md"), end="")
    for line in complaints(outcome, arguments.results):
        screen.note(line)
    return 0 if outcome.complete else 1


def duration(flag: str, text: str | None) -> float | None:
    """``90``, ``90s``, ``30m`` or ``12h`` in seconds."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = parse_float(number) * UNITS[unit]
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"{flag} {text!r} must be a time above 0, such as 90s, 30m or 12h")
    return seconds


def summary(outcome: Outcome, cells: int) -> str:
    """What became of the runs, in a line."""
    parts = {
        "trained": outcome.trained,
        "reused": outcome.reused,
        "trained by other runners": outcome.elsewhere,
        "failed": len(outcome.failed),
        "refused": len(outcome.refused),
        "stale": len(outcome.stale),
        "left without a device": outcome.left,
    }
    always = ("trained", "reused", "failed")
    told = [f"{count} {name}" for name, count in parts.items() if count or name in always]
    return f"{pluralize(cells, 'run')}: {', '.join(told)}"


def as_json(outcome: Outcome, cells: int) -> dict[str, Any]:
    """The last line of --json."""
    return {
        "event": "end",
        "cells": cells,
        "trained": outcome.trained,
        "reused": outcome.reused,
        "elsewhere": outcome.elsewhere,
        "failed": [record.run_id for record in outcome.failed],
        "refused": outcome.refused,
        **({"stale": outcome.stale} if outcome.stale else {}),
        "aside": outcome.quarantined,
        "unfit": outcome.unusable,
        "left": outcome.left,
    }


def complaints(outcome: Outcome, results: Path) -> Iterator[str]:
    """A line for each run without a result and each device or node that was quarantined."""
    from ablations.scheduling.retry import with_hostname
    from ablations.store.failures import keeps_failure
    from ablations.store.load import NO_PRECISION_MESSAGE
    from ablations.store.reuse_check import RETRAIN_HINT

    for record in outcome.failed:
        assert record.failure is not None
        yield (
            f"failed: {results / record.run_id}: {record.failure['kind']}: "
            f"{record.failure['message']}"
        )
    for run_id, why in outcome.refused.items():
        yield f"refused: {results / run_id}: {why}"
    for record in outcome.records:
        if record.done and not record.environment.get("precision"):
            yield f"left out: {results / record.run_id}: {NO_PRECISION_MESSAGE}"
    for run_id, why in outcome.stale.items():
        yield f"stale, not in the table: {results / run_id}: {why}: {RETRAIN_HINT}"
    for device, runs in outcome.quarantined.items():
        yield f"quarantined: {with_hostname(device)}: {pluralize(len(runs), 'run')} failed there"
    for node, why in outcome.unusable.items():
        yield f"unusable: {node}: {why}"
    if any(keeps_failure(record, retry=False) for record in outcome.failed):
        yield "`ablations run --retry-failed` with the same files trains failed runs again"


def list_cells(cells: Sequence[Any], results: Path, here: bool, retrain_stale: bool) -> int:
    """What --dry-run prints; it refuses what `ablations run` would refuse."""
    from ablations.config.naming import run_names
    from ablations.console.grid import TextTable
    from ablations.store import records, reuse_check

    several = len({cell.config.recipe for cell in cells}) > 1  # which names do not tell
    table = TextTable()
    for name in ("run", *["recipe"] * several, "name", "sweeps", "state"):
        table.add_column(name)
    cell_names = run_names({cell.config.run_id: cell.config.to_json() for cell in cells})
    configs = [cell.config for cell in cells]
    there, unread = [], {}
    for config in configs:
        try:
            if known := records.find_record(results, config.run_id):
                there.append(known)
        except RecordError as error:
            unread[config.run_id] = str(error)
    configs = [config for config in configs if config.run_id not in unread]
    found = reuse_check.check_records(configs, there, here, download=False)
    states = {record.run_id: record.status for record in there}
    states |= dict.fromkeys(found.failed, "to do")
    states |= dict.fromkeys(unread, "left out")
    states |= dict.fromkeys(found.stale, "stale, to do" if retrain_stale else "stale")
    states |= dict.fromkeys(found.precision, "other precision")
    states |= dict.fromkeys(found.images, "other images")
    done = sum(states.get(record.run_id) in records.DONE_STATUSES for record in there)
    stale = 0 if retrain_stale else list(states.values()).count("stale")
    for cell in cells:
        run_id = cell.config.run_id
        sweeps = ", ".join(cell.sweeps)
        recipe = [cell.config.recipe] * several
        state = states.get(run_id, "to do")
        table.add_row(run_id, *recipe, cell_names[run_id], sweeps, state)
    left = f"{len(configs) - done - stale} to do" + (f", {stale} stale" if stale else "")
    screen.print_table(table, f"{pluralize(len(cells), 'run')}, {done} done, {left}")
    for line in [f"left out: {why}" for why in unread.values()] + found.warnings(results):
        screen.note(line)
    found.raise_mismatch(results, unread=False)
    return 1 if unread else 0
