"""`ablations run`: train all runs of sweep files, then print the table.

Train the runs of sweep files that are not done yet, then print the table.

A run that is in several files is trained once. After an interruption, the same command continues.

--until-decided adds seeds look by look, and none to rows that are decided.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.cli.launching import add_launcher, create_launcher, launcher_name
from ablations.cli.looks import add_looks, expand_looks, look_event, look_line, parse_looks
from ablations.cli.options import add_recipe, add_results, add_shared, parse_duration
from ablations.cli.output import report_unsynced
from ablations.cli.parser import Parser
from ablations.console import screen
from ablations.errors import ConfigError, RecordError
from ablations.text.phrases import pluralize

if TYPE_CHECKING:
    from ablations.analysis.stats.looks import LookPlan, LookProgress
    from ablations.analysis.study_plan import StudyPlan
    from ablations.config.sweep import SweepRun
    from ablations.scheduling.scheduler import Outcome
    from ablations.store.records import Record


def add(command: Parser) -> None:
    """Declare the flags."""
    add_shared(command, "sweeps", nargs="+")
    add_shared(command, "--seeds")
    add_looks(command)
    add_launcher(command)
    command.add_argument(
        "--retry-failed",
        action="store_true",
        help="train again all runs that failed before, not only those that were killed",
    )
    add_shared(command, "--retrain-stale")
    command.add_argument(
        "--cell-timeout",
        type=parse_duration,
        metavar="TIME",
        help="stop a run that takes longer than this here, such as 90s, 30m or 12h",
    )
    add_shared(command, "--json", help="print events as JSON lines instead of the table")
    command.add_argument(
        "--dry-run", action="store_true", help="list the runs and their states; train nothing"
    )
    add_recipe(command)
    add_results(command)
    add_shared(command, "--tracker", "--no-reuse")


def run(arguments: argparse.Namespace) -> int:
    """Train the runs; return 1 where one fails, 130 or 143 where a signal stops the study."""
    looks = parse_looks(arguments)
    runs = expand_looks(arguments, looks)
    plan = _study_plan(arguments, runs, looks) if looks else None
    if plan:
        runs = _planned(plan, runs)
    if arguments.dry_run:
        return _list_runs(arguments, runs)
    if plan:
        outcome, progress = _train_until_decided(arguments, runs, plan)
    else:
        outcome, progress = _train(arguments, runs), None
    if outcome.interrupted:
        done = sum(record.done for record in outcome.records)
        screen.note(
            f"interrupted with {done} of {pluralize(len(runs), 'run')} done; "
            "the same command goes on from here"
        )
        return outcome.interrupted
    screen.note(_summary(outcome, len(runs)))
    if plan and progress:
        # Runs that the looks made needless are not missing.
        needed = {record.run_id for record in outcome.records} | plan.run_ids(progress.missing)
        runs = [each for each in runs if each.config.run_id in needed]
    if arguments.json:
        screen.out(json.dumps(_end_event(outcome, len(runs))))
    else:
        _print_tables(runs, outcome, arguments.results)
    for line in _problems(outcome, arguments.results):
        screen.note(line)
    return 0 if outcome.complete else 1


def _study_plan(
    arguments: argparse.Namespace, runs: Sequence[SweepRun], looks: LookPlan
) -> StudyPlan:
    """The plan of the study: that of the results folder, or a new one, which is written there.

    Raises:
        ConfigError: The runs are no study for such a plan, or the folder has another plan.
    """
    from ablations.analysis.study_plan import check_study_plan, plan_study, write_study_plan
    from ablations.store import storage
    from ablations.store.records import find_record

    results = arguments.results
    plan = plan_study([each.config for each in runs], looks)
    if known := check_study_plan(results, plan):
        return known
    planned = [run_id for run_ids in plan.rows.values() for run_id in run_ids]
    before = 0
    for run_id in planned:
        with contextlib.suppress(RecordError):  # reported when the runs are selected
            record = find_record(results, run_id)
            before += bool(record and record.done)
    if before:
        screen.note(
            f"{results} has results of {pluralize(before, 'planned run')} already: tables will say "
            "that the plan was made after them"
        )
    plan = replace(plan, results_before=before)
    if arguments.dry_run:
        return plan
    storage.check_writable(results)
    return write_study_plan(results, plan)


def _planned(plan: StudyPlan, runs: Sequence[SweepRun]) -> list[SweepRun]:
    """The runs that the plan may need."""
    planned = {run_id for run_ids in plan.rows.values() for run_id in run_ids}
    return [each for each in runs if each.config.run_id in planned]


def _train_until_decided(
    arguments: argparse.Namespace, runs: Sequence[SweepRun], plan: StudyPlan
) -> tuple[Outcome, LookProgress]:
    """Train the runs look by look; say what each look decides."""
    from ablations.scheduling.until_decided import run_until_decided

    def report(progress: LookProgress) -> None:
        if arguments.json:
            screen.out(json.dumps(look_event(progress)))
        else:
            screen.note(look_line(progress))

    outcome, progress = run_until_decided(
        plan, runs, lambda wanted: _train(arguments, wanted), report
    )
    if progress.look is not None and not outcome.interrupted:
        missing = sum(map(len, progress.missing.values()))
        screen.note(
            f"the look at {plan.looks.looks[progress.look]} seeds waits for "
            f"{pluralize(missing, 'run')} without a result: the same command goes on from here"
        )
    return outcome, progress


def _train(arguments: argparse.Namespace, runs: Sequence[SweepRun]) -> Outcome:
    from ablations.scheduling.json_lines import JsonLines
    from ablations.scheduling.progress import Progress
    from ablations.scheduling.runner import run_study

    unsynced: list[Path] = []
    try:
        return run_study(
            [each.config for each in runs],
            arguments.results,
            create_launcher(arguments),
            JsonLines if arguments.json else Progress,
            reuse=not arguments.no_reuse,
            retry_failed=arguments.retry_failed,
            retrain_stale=arguments.retrain_stale,
            run_timeout=arguments.cell_timeout,
            on_unsynced=unsynced.append,
        )
    finally:
        report_unsynced(unsynced)


def _print_tables(runs: Sequence[SweepRun], outcome: Outcome, results: Path) -> None:
    from ablations.analysis.build import build_studies
    from ablations.analysis.planned import apply_plans
    from ablations.tables import render_studies

    launched = [each.config.to_json() for each in runs]
    studies = build_studies(outcome.records, results=results, launched=launched)
    screen.out(render_studies(apply_plans(studies, [results]), "md"), end="")


def _summary(outcome: Outcome, runs: int) -> str:
    """The number of runs by what became of them, in one line."""
    counts = {
        "trained": outcome.trained,
        "reused": outcome.reused,
        "trained by other runners": outcome.elsewhere,
        "failed": len(outcome.failed),
        "refused": len(outcome.refused),
        "stale": len(outcome.stale),
        "left without a device": outcome.left,
    }
    always = ("trained", "reused", "failed")
    parts = [f"{count} {name}" for name, count in counts.items() if count or name in always]
    return f"{pluralize(runs, 'run')}: {', '.join(parts)}"


def _end_event(outcome: Outcome, runs: int) -> dict[str, Any]:
    """The last line of --json."""
    return {
        "event": "end",
        "cells": runs,
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


def _problems(outcome: Outcome, results: Path) -> Iterator[str]:
    """A line for each run without a usable result, and for each excluded device or node."""
    from ablations.scheduling.quarantine import with_hostname
    from ablations.store.failures import keeps_failure
    from ablations.store.load import NO_PRECISION_MESSAGE
    from ablations.store.reuse_check import RETRAIN_HINT

    for record in outcome.failed:
        assert record.failure is not None
        kind, message = record.failure["kind"], record.failure["message"]
        yield f"failed: {results / record.run_id}: {kind}: {message}"
    for run_id, why in outcome.refused.items():
        yield f"refused: {results / run_id}: {why}"
    for record in outcome.records:
        if record.done and not record.environment.get("precision"):
            yield f"left out: {results / record.run_id}: {NO_PRECISION_MESSAGE}"
    for run_id, why in outcome.stale.items():
        yield f"stale, not in the table: {results / run_id}: {why}: {RETRAIN_HINT}"
    for device, failed in outcome.quarantined.items():
        yield f"quarantined: {with_hostname(device)}: {pluralize(len(failed), 'run')} failed there"
    for node, why in outcome.unusable.items():
        yield f"unusable: {node}: {why}"
    if any(keeps_failure(record, retry=False) for record in outcome.failed):
        yield "to train failed runs again: `ablations run --retry-failed` with the same files"


def _list_runs(arguments: argparse.Namespace, runs: Sequence[SweepRun]) -> int:
    """Print the runs and their states, for --dry-run.

    Raises:
        ConfigError: `ablations run` would refuse a flag or a record that is in the folder.
        DataError: It would refuse a record.
    """
    from ablations.store import records, reuse_check

    local, results = launcher_name(arguments) == "local", arguments.results
    if arguments.json:
        raise ConfigError("--json is not for --dry-run")
    found: list[Record] = []
    unreadable = {}
    for each in runs:
        try:
            if record := records.find_record(results, each.config.run_id):
                found.append(record)
        except RecordError as error:
            unreadable[each.config.run_id] = str(error)
    configs = [each.config for each in runs if each.config.run_id not in unreadable]
    check = reuse_check.check_records(configs, found, local, download=False)
    states = {record.run_id: record.status for record in found}
    states |= dict.fromkeys(check.failed, "to do")
    states |= dict.fromkeys(check.stale, "stale, to do" if arguments.retrain_stale else "stale")
    states |= dict.fromkeys(check.precision, "other precision")
    states |= dict.fromkeys(check.images, "other images")
    states |= dict.fromkeys(unreadable, "left out")
    done = sum(states[record.run_id] in records.DONE_STATUSES for record in found)
    stale = list(states.values()).count("stale")
    left = f"{len(configs) - done - stale} to do" + (f", {stale} stale" if stale else "")
    screen.print_table(_table(runs, states), f"{pluralize(len(runs), 'run')}, {done} done, {left}")
    for line in [f"left out: {why}" for why in unreadable.values()] + check.warnings(results):
        screen.note(line)
    check.raise_mismatch(results, unread=False)
    return 1 if unreadable else 0


def _table(runs: Sequence[SweepRun], states: dict[str, str]) -> Any:
    from ablations.config.naming import run_name
    from ablations.console.grid import TextTable

    names = {each.config.run_id: run_name(each.config.to_json()) for each in runs}
    # The names of runs do not contain the recipe.
    recipe_shown = len({each.config.recipe for each in runs}) > 1
    table = TextTable("run", "recipe", "name", "sweeps", "state")
    for each in runs:
        run_id, recipe = each.config.run_id, each.config.recipe if recipe_shown else ""
        state = states.get(run_id, "to do")
        table.add_row(run_id, recipe, names[run_id], ", ".join(each.sweeps), state)
    return table
