"""Where commands that show results read records: folders, W&B and its offline folders."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.cli.options import DEFAULT_RESULTS, default_results, location
from ablations.console import screen
from ablations.errors import ConfigError

if TYPE_CHECKING:
    from ablations.analysis.study import Study
    from ablations.store.load import LoadResult
    from ablations.store.run_state import RunState


def add_sources(command: argparse.ArgumentParser) -> None:
    """The flags that name the sources of records and the baseline."""
    command.add_argument(
        "results",
        nargs="*",
        type=location,
        help=f"folders of results (default: $ABLATIONS_RESULTS or {DEFAULT_RESULTS})",
    )
    command.add_argument(
        "--baseline",
        metavar="RUN",
        help="what the other rows are compared with: a run id or the name of a row",
    )
    command.add_argument(
        "--wandb",
        action="append",
        default=[],
        metavar="PATH",
        help="entity/project or entity/project/sweep; may be given several times",
    )
    command.add_argument(
        "--filter", help='W&B\'s filter for its runs, as JSON: \'{"tags": "mini"}\''
    )
    command.add_argument("--finished", action="store_true", help="leave out failed runs of W&B")
    command.add_argument(
        "--offline",
        action="append",
        type=location,
        default=[],
        metavar="DIR",
        help="a folder with offline runs of W&B, such as runs/wandb; may be given several times",
    )


@dataclass
class Gathered:
    """The records of all sources, sorted into studies.

    Args:
        reading: The records, where each comes from, and what could not be read.
        studies: The studies.
        problems: A line for each record, and for each study's differences, that is left out.
    """

    reading: LoadResult
    studies: list[Study]
    problems: list[str]


def gather(arguments: argparse.Namespace, needed: bool = True) -> Gathered:
    """The studies of all sources.

    Args:
        arguments: The sources as flags; without any, the default folder.
        needed: Whether there must be records and a baseline.

    Raises:
        ConfigError: None of the sources has a record, or no record is that of ``--baseline``.
        TrackerError: W&B does not answer or has no such project.
    """
    from ablations.analysis.build import build_studies
    from ablations.store.load import TASK_METRICS, record_task
    from ablations.tables.missing import baseline_command

    found = read_sources(arguments, needed)
    if getattr(arguments, "of", None) not in TASK_METRICS:
        others = Counter(name for record in found.records if (name := record_task(record)))
        for name, count in sorted(others.items()):
            screen.note(f"skipped: runs for --of {name}: {count}")
    folders = arguments.results
    # Commands for missing runs name the results folder where it is one folder and not the default.
    home = folders[0] if len(folders) == 1 and folders[0] != DEFAULT_RESULTS else None
    launched = [
        start.config for results in folders or [DEFAULT_RESULTS] for start in _run_states(results)
    ]
    every = build_studies(found.records, arguments.baseline, home, launched=launched)
    troubles = [
        trouble
        if study.baseline_candidates
        else f"{trouble}; it is trained by `{baseline_command(study)}`"
        for study in every
        if (trouble := study.no_baseline_reason(found.origins))
    ]
    problems = [*found.problems, *(troubles if needed else [])]
    return Gathered(found, every, problems)


def add_format(command: argparse.ArgumentParser) -> None:
    """The flags --format and --wide."""
    command.add_argument(
        "--format",
        default="md",
        choices=["md", "csv", "tex", "html"],
        metavar="FORMAT",
        help="md (default), csv, tex or html",
    )
    command.add_argument(
        "--wide", action="store_true", help="with tex: set it over both columns of a page (table*)"
    )


def latex_format(arguments: argparse.Namespace) -> str:
    """The format that --format and --wide ask for.

    Raises:
        ConfigError: --wide with a format other than tex.
    """
    from ablations.tables import WIDE_LATEX

    form: str = arguments.format
    if arguments.wide and form != "tex":
        raise ConfigError("--wide is for --format tex")
    return WIDE_LATEX if arguments.wide else form


def _run_states(results: Path) -> Iterator[RunState]:
    """The run states in a folder, also of runs that have a record."""
    from ablations.store import run_state

    for path in sorted(results.glob(f"*/{run_state.RUN_STATE_FILE}")):
        if start := run_state.find_run_state(results, path.parent.name):
            yield start


def report_problems(problems: Iterable[str]) -> None:
    """Print a line on stderr for each record or study that is left out."""
    for problem in problems:
        screen.note(f"left out: {problem}")


def read_sources(arguments: argparse.Namespace, needed: bool = True) -> LoadResult:
    """The usable records of all sources, one a run id, and a line for each that is left out.

    Args:
        arguments: The sources as flags; without any, the default folder.
        needed: Whether there must be records; if not, the default folder need not exist.

    Raises:
        ConfigError: None of the sources has a record, and they are needed.
        TrackerError: W&B does not answer or has no such project.
    """
    from ablations.store import load
    from ablations.store.records import RECORD_FILE

    if (arguments.filter or arguments.finished) and not arguments.wandb:
        raise ConfigError("--filter and --finished choose among W&B's runs: give --wandb PATH")
    elsewhere = bool(arguments.wandb or arguments.offline)
    default = needed or any(default_results().glob(f"*/{RECORD_FILE}"))
    folders = arguments.results or ([default_results()] if default and not elsewhere else [])
    found, problems, empty = load.read_records_by_folder(folders)
    if elsewhere:
        from ablations.tracking import read_offline, read_project
        from ablations.tracking.reading import WandbRecords

        remote = WandbRecords()
        for path in arguments.wandb:
            project, sweeps = _sweep(path)
            filters = _filter(arguments.filter)
            remote.add(read_project(project, sweeps, filters, arguments.finished))
        for folder in arguments.offline:
            remote.add(read_offline(folder))
        found, problems = found + remote.records, problems + remote.problems
        for what, count in remote.skipped.items():
            screen.note(f"skipped: {what}: {count}")
    if needed and not found and not problems:
        sources = [*map(str, folders), *arguments.wandb, *map(str, arguments.offline)]
        raise ConfigError(f"no records in {', '.join(sources)}: fill it with `ablations run`")
    return load.select_usable_records(found, problems + empty)


def _sweep(path: str) -> tuple[str, list[str]]:
    """``entity/project/sweep``, or ``entity/project/sweeps/sweep`` as in W&B's addresses."""
    parts = path.split("/")
    if len(parts) == 4 and parts[2] == "sweeps":
        del parts[2]
    return ("/".join(parts[:2]), parts[2:]) if len(parts) == 3 else (path, [])


def _filter(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--filter {text!r} is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f'--filter {text!r} must be a mapping, such as {{"tags": "mini"}}')
    return tree
