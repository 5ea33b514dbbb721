"""The sources of records, as flags: results folders, W&B projects and offline W&B folders."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ablations.cli.options import DEFAULT_RESULTS, add_format, default_results, path_argument
from ablations.console import screen
from ablations.errors import ConfigError

if TYPE_CHECKING:
    from ablations.analysis.stats import Method
    from ablations.analysis.study import Study
    from ablations.store.load import LoadResult


def add_sources(command: argparse.ArgumentParser) -> None:
    """The flags that name sources of records, and --baseline."""
    command.add_argument(
        "results",
        nargs="*",
        type=path_argument,
        help=f"results folders (default: $ABLATIONS_RESULTS or {DEFAULT_RESULTS})",
    )
    command.add_argument(
        "--baseline",
        metavar="RUN",
        help="the row that the others are compared with: its name or the id of one of its runs",
    )
    command.add_argument(
        "--test",
        choices=["moderated", "pooled", "ordinary"],
        help="the spread of a difference: moderated (default: each row's own, which borrows from "
        "the others), pooled (one for all rows) or ordinary (t tests with Holm's correction)",
    )
    command.add_argument(
        "--intervals",
        choices=["simultaneous", "individual"],
        help="the 95%% of the intervals: simultaneous (default: all of a table together) or "
        "individual (each alone, p uncorrected)",
    )
    command.add_argument(
        "--over",
        choices=["seeds", "seeds+images"],
        help="what intervals and p-values are about: other seeds on the same images (default), or "
        "other seeds and other images",
    )
    command.add_argument(
        "--wandb",
        action="append",
        default=[],
        metavar="PATH",
        help="entity/project or entity/project/sweep of W&B; may be given several times",
    )
    command.add_argument(
        "--filter",
        type=_filter,
        metavar="JSON",
        help='a W&B filter for runs, such as \'{"tags": "mini"}\'',
    )
    command.add_argument("--finished", action="store_true", help="leave out failed W&B runs")
    command.add_argument(
        "--offline",
        action="append",
        type=path_argument,
        default=[],
        metavar="DIR",
        help="a folder of offline W&B runs, such as runs/wandb; may be given several times",
    )


@dataclass
class Gathered:
    """The records of all sources, sorted into studies.

    Args:
        loaded: The records and where each comes from.
        studies: The studies.
        problems: A line for each record that is left out, and for each study without a baseline.
    """

    loaded: LoadResult
    studies: list[Study]
    problems: list[str]


def gather(arguments: argparse.Namespace, needed: bool = True) -> Gathered:
    """Read all sources, and sort the records into studies.

    Args:
        arguments: The sources as flags; without any, the default folder.
        needed: Whether there must be records and a baseline.

    Raises:
        ConfigError: No source has a record, no row is that of ``--baseline``, or a row lacks the
            predictions that ``--over`` needs.
        RecordError: Predictions are damaged or do not belong to their record.
        TrackerError: W&B does not answer, or has no such project.
    """
    from ablations.analysis.build import build_studies
    from ablations.analysis.planned import apply_plans
    from ablations.store import records, run_state
    from ablations.store.load import TASK_METRICS, record_task
    from ablations.tables.missing import baseline_command

    loaded = read_sources(arguments, needed)
    if getattr(arguments, "of", None) not in TASK_METRICS:
        others = Counter(name for record in loaded.records if (name := record_task(record)))
        for name, count in sorted(others.items()):
            screen.note(f"skipped: runs for --of {name}: {count}")
    folders = arguments.results or [default_results()]
    # Named in the commands for missing runs.
    home = folders[0] if len(folders) == 1 and folders[0] != default_results() else None
    launched = [
        state.config
        for folder in folders
        for path in sorted(folder.glob(f"*/{records.RUN_STATE_FILE}"))
        if (state := run_state.find_run_state(folder, path.parent.name))
    ]
    correct = None
    if arguments.over == "seeds+images":
        from ablations.analysis.images import correct_images

        correct = correct_images(loaded.records, loaded.origins)
    studies = build_studies(
        loaded.records,
        arguments.baseline,
        home,
        launched=launched,
        method=_method(arguments),
        correct=correct,
    )
    studies = apply_plans(studies, folders)
    problems = list(loaded.problems)
    for study in studies if needed else []:
        if reason := study.no_baseline_reason(loaded.origins):
            hint = f"; it is trained by `{baseline_command(study)}`"
            problems.append(reason if study.baseline_candidates else reason + hint)
    return Gathered(loaded, studies, problems)


def _method(arguments: argparse.Namespace) -> Method:
    """How differences are tested, by --test and --intervals.

    Raises:
        ConfigError: Simultaneous intervals of the ordinary test.
    """
    from ablations.analysis.stats import Intervals, Method, SignificanceTest

    test = SignificanceTest(arguments.test or "moderated")
    if test is SignificanceTest.ORDINARY and arguments.intervals == "simultaneous":
        raise ConfigError("--intervals simultaneous is not for --test ordinary")
    return Method(test, Intervals(arguments.intervals or "simultaneous"))


def add_table_format(command: argparse.ArgumentParser) -> None:
    """The flags --format and --wide."""
    add_format(command, "md", "csv", "tex", "html")
    command.add_argument(
        "--wide", action="store_true", help="with tex: span both columns of a page (table*)"
    )


def table_format(arguments: argparse.Namespace) -> str:
    """The format that --format and --wide ask for.

    Raises:
        ConfigError: --wide with a format other than tex.
    """
    from ablations.tables.rendering import WIDE_LATEX

    if arguments.wide and arguments.format != "tex":
        raise ConfigError("--wide is for --format tex")
    return WIDE_LATEX if arguments.wide else str(arguments.format)


def read_sources(arguments: argparse.Namespace, needed: bool = True) -> LoadResult:
    """The usable records of all sources, one per run id, and a line for each that is left out.

    Args:
        arguments: The sources as flags; without any, the default folder.
        needed: Whether there must be records; if not, the default folder need not exist.

    Raises:
        ConfigError: No source has a record, and there must be one.
        TrackerError: W&B does not answer, or has no such project.
    """
    from ablations.store import load, records

    if (arguments.filter is not None or arguments.finished) and not arguments.wandb:
        raise ConfigError("--filter and --finished select W&B runs: give --wandb PATH")
    elsewhere = bool(arguments.wandb or arguments.offline)
    default = needed or any(default_results().glob(f"*/{records.RECORD_FILE}"))
    folders = arguments.results or ([default_results()] if default and not elsewhere else [])
    found, problems = records.read_all_records(folders)
    if elsewhere:
        from ablations.tracking.reading import WandbRecords, read_offline, read_project

        remote = WandbRecords()
        for path in arguments.wandb:
            project, sweeps = _sweep(path)
            remote.add(read_project(project, sweeps, arguments.filter, arguments.finished))
        for folder in arguments.offline:
            remote.add(read_offline(folder))
        found, problems = found + remote.records, problems + remote.problems
        for what, count in remote.skipped.items():
            screen.note(f"skipped: {what}: {count}")
    if needed and not found and not problems:
        sources = [*map(str, folders), *arguments.wandb, *map(str, arguments.offline)]
        raise ConfigError(f"no records in {', '.join(sources)}: fill it with `ablations run`")
    return load.select_usable_records(found, problems + load.empty_folders(folders))


def _sweep(path: str) -> tuple[str, list[str]]:
    """Split ``entity/project/sweep``, or ``entity/project/sweeps/sweep`` as in W&B's URLs."""
    parts = path.split("/")
    if len(parts) == 4 and parts[2] == "sweeps":
        del parts[2]
    return ("/".join(parts[:2]), parts[2:]) if len(parts) == 3 else (path, [])


def _filter(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise argparse.ArgumentTypeError(f'{text!r} must be a mapping, such as {{"tags": "mini"}}')
    return tree
