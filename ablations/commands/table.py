"""`ablations table`: the tables of the records in folders and in W&B."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ablations.flags import DEFAULT_RESULTS, folder, refuse_fields, write_or_emit
from ablations.records import Record
from ablations.resolve import unknown_recipe
from poolformer.config import ConfigError, unknown


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "table",
        help="print the ablation table of records on disk or in W&B",
        description="Print the ablation table of the records in folders of results, in projects of "
        "W&B and in its offline folders. A run that several of them have counts once.",
    )
    command.add_argument(
        "results", nargs="*", type=folder, help=f"folders of results ({DEFAULT_RESULTS})"
    )
    command.add_argument("--format", default="md", help="md (default), csv or tex")
    command.add_argument("-o", "--output", type=Path, help="a file in place of the screen")
    command.add_argument(
        "--wandb",
        action="append",
        default=[],
        metavar="PATH",
        help="entity/project, or a sweep of it: entity/project/sweep; may be given again",
    )
    command.add_argument(
        "--filter", help='W&B\'s filter for its runs, as JSON: \'{"tags": "mini"}\''
    )
    command.add_argument(
        "--finished", action="store_true", help="leave out failed runs of W&B as well"
    )
    command.add_argument(
        "--offline",
        action="append",
        type=folder,
        default=[],
        metavar="DIR",
        help="a folder with offline runs of W&B, such as runs/wandb; may be given again",
    )
    command.add_argument(
        "--publish",
        nargs="?",
        const="",
        metavar="PATH",
        help="log the table to W&B, into entity/project or where runs go",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Print them; 1 where a record cannot be used."""
    refuse_fields("table", fields_set)

    from ablations.tables import FORMATS, render

    if arguments.format not in FORMATS:
        raise ConfigError(unknown("format", arguments.format, FORMATS))
    if (arguments.filter or arguments.finished) and not arguments.wandb:
        raise ConfigError("--filter and --finished choose among W&B's runs: give --wandb PATH")
    found, problems = read(arguments)
    for record in list(found):
        if problem := unknown_recipe(record.run_id, record.config["recipe"]):
            problems.append(problem)
            found.remove(record)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    write_or_emit(render(found, arguments.format), arguments.output)
    if arguments.publish is not None:
        from ablations.tracking import publish

        published = publish(found, arguments.publish or None)
        told = published.url or f"offline: wandb sync {published.folder}"
        print(f"published: {told}", file=sys.stderr)
    return 1 if problems else 0


def read(arguments: argparse.Namespace) -> tuple[list[Record], list[str]]:
    """The records of all sources, one a run id, and a line for each that cannot be used.

    Raises:
        ConfigError: None of the sources has a record.
        TrackerError: W&B does not answer or has no such project.
    """
    from ablations import records

    elsewhere = bool(arguments.wandb or arguments.offline)
    folders = arguments.results or ([] if elsewhere else [DEFAULT_RESULTS])
    found, problems = records.read_folders(folders)
    if elsewhere:
        from ablations.tracking import read_offline, read_project
        from ablations.tracking.reading import Found

        all_of_it = Found()
        for path in arguments.wandb:
            project, sweeps = _sweep(path)
            filters = _filter(arguments.filter)
            all_of_it.add(read_project(project, sweeps, filters, arguments.finished))
        for place in arguments.offline:
            all_of_it.add(read_offline(place))
        found, problems = found + all_of_it.records, problems + all_of_it.problems
        for what, count in all_of_it.skipped.items():
            print(f"skipped: {what}: {count}", file=sys.stderr)
    merged, differing = records.merge(found)
    if not merged and not problems:
        places = [*map(str, folders), *arguments.wandb, *map(str, arguments.offline)]
        raise ConfigError(f"no records in {', '.join(places)}: fill it with `ablations run`")
    return merged, problems + differing


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
