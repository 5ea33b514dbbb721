"""`ablations table`: the tables of the records in folders and in W&B."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablations.cli.options import integer, output, refuse_fields, write_or_emit
from ablations.cli.sources import Gathered, add_sources, form_of, gather, tell
from ablations.console import screen
from ablations.errors import ConfigError
from poolformer.config import unknown_name

ABLATION = "ablation"
RUN_ID = re.compile("[0-9a-f]{12}")


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "table",
        help="print the ablation table of records on disk or in W&B, or another of the paper's",
        description="Print the ablation table of the records in folders of results, in projects of "
        "W&B and in its offline folders. A run in several of them counts once. The paper's "
        "other tables (--of) need no records; runs of yours are shown among the published rows.",
    )
    command.add_argument(
        "--of",
        default=ABLATION,
        help="ablation (default), imagenet, sizes, retinanet, maskrcnn or ade20k",
    )
    add_sources(command)
    command.add_argument("--format", default="md", help="md (default), csv, tex or html")
    command.add_argument(
        "--wide", action="store_true", help="with tex: set it over both columns of a page (table*)"
    )
    command.add_argument(
        "--style", default="full", help="full (default) or paper: the paper's columns"
    )
    command.add_argument(
        "--columns",
        metavar="NAMES",
        help="all, or some by name such as top1,n,mde, instead of those that fit 100 characters",
    )
    command.add_argument(
        "--all-rows", action="store_true", help="show also the paper's rows that were not run"
    )
    command.add_argument("-o", "--output", type=output, help="write to a file instead of stdout")
    command.add_argument(
        "--bootstrap",
        type=integer,
        metavar="SEED",
        help="add a bootstrap interval of each mean, resampled from this seed",
    )
    command.add_argument(
        "--pivot",
        nargs="?",
        const="",
        metavar="FIELD,FIELD",
        help="a grid over two fields (rows, columns) with their interactions; by default the "
        "fields that the study varies",
    )
    command.add_argument("--compare", action="store_true", help="show two folders side by side")
    command.add_argument(
        "--explain",
        metavar="ROW",
        help="the runs behind a row: its name or a part of it (attention), what it changes "
        "(norm=batch), or a run id",
    )
    command.add_argument(
        "--publish",
        nargs="?",
        const="",
        metavar="PATH",
        help="log the table to W&B, to entity/project (default: the project of the runs)",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Print them; 1 where something is left out."""
    refuse_fields("table", fields_set)

    from ablations.store.load import garbage_collection_paused
    from ablations.tables import FORMATS, KINDS, STYLES

    for what, value, valid in (
        ("table", arguments.of, KINDS),
        ("format", arguments.format, FORMATS),
        ("style", arguments.style, STYLES),
    ):
        if value not in valid:
            raise ConfigError(unknown_name(what, value, valid))
    arguments.format = form_of(arguments)
    if arguments.of != ABLATION:
        _refuse(arguments)
    if arguments.columns not in (None, "all") and arguments.format == "csv":
        raise ConfigError("--columns is not for --format csv, which has all of them")
    if arguments.columns is not None and arguments.style == "paper":
        raise ConfigError("--columns is not for --style paper, which has the paper's")
    if arguments.pivot is not None:
        shown = {**_shown(arguments), "--pivot": False, "--explain": arguments.explain is not None}
        _refuse_given(shown, "--pivot")
    with garbage_collection_paused():
        text, problems = compared(arguments) if arguments.compare else tables(arguments)
    tell(problems)
    write_or_emit(text, arguments.output)
    return 1 if problems else 0


def tables(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """The tables of all studies, or what is behind a row of them, and what is left out."""
    found = gather(arguments, needed=arguments.of == ABLATION)
    form = arguments.format
    if arguments.of != ABLATION:
        from ablations.tables import render_published

        records = found.reading.records
        return render_published(arguments.of, found.studies, records, form), found.problems
    if arguments.bootstrap is not None:
        from ablations.analysis.build import add_bootstrap_intervals

        if arguments.bootstrap < 0:
            raise ConfigError(f"--bootstrap {arguments.bootstrap} must be a seed, 0 or more")
        found.studies = add_bootstrap_intervals(found.studies, arguments.bootstrap)
    if arguments.publish is not None:
        from ablations.tables.publishing import publish

        published = publish(found.reading.records, arguments.publish or None)
        told = published.url or f"offline: wandb sync {published.folder}"
        screen.note(f"published: {told}")
    if arguments.pivot is not None:
        return pivoted(found, arguments.pivot, form), found.problems
    if arguments.explain is not None:
        return explained(found, arguments.explain, form), found.problems

    from ablations.tables import BOOTSTRAP, View, parse_columns, render_studies

    columns = None if arguments.columns is None else parse_columns(arguments.columns)
    named = arguments.columns is not None and arguments.columns.strip().lower() != "all"
    if named and columns and BOOTSTRAP in columns and arguments.bootstrap is None:
        raise ConfigError("--columns bootstrap needs --bootstrap SEED")
    view = View(arguments.style, columns, arguments.all_rows)
    return render_studies(found.studies, form, view), found.problems


def pivoted(found: Gathered, fields: str, form: str) -> str:
    """Grids over two fields."""
    from ablations.tables import find_grids, pivot_frame, pivot_table, render_csv, render_tables

    grids = find_grids(found.studies, fields)
    if form == "csv":
        return render_csv([pivot_frame(grid) for grid in grids])
    return render_tables([pivot_table(grid) for grid in grids], form)


def explained(found: Gathered, row: str, form: str) -> str:
    """What is behind a row."""
    from ablations.tables import explain, render_csv, render_tables

    rows = explain.find_rows(found.studies, row)
    behind = [explain.runs_table(study, row, found.reading.places) for study, row in rows]
    if form == "csv":
        return render_csv([table.frame for table in behind])
    return render_tables(behind, form)


def _refuse(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for a flag that only the ablation table reads."""
    given = {
        **_shown(arguments),
        "--baseline": arguments.baseline is not None and arguments.of != "sizes",
        "--bootstrap": arguments.bootstrap is not None,
        "--compare": arguments.compare,
        "--explain": arguments.explain is not None,
        "--publish": arguments.publish is not None,
    }
    _refuse_given(given, f"--of {arguments.of}")


def _shown(arguments: argparse.Namespace) -> dict[str, bool]:
    """Which flags are given that say what is shown of an ablation table."""
    return {
        "--style": arguments.style != "full",
        "--columns": arguments.columns is not None,
        "--all-rows": arguments.all_rows,
        "--pivot": arguments.pivot is not None,
    }


def _refuse_given(given: dict[str, bool], what: str) -> None:
    for flag, there in given.items():
        if there:
            raise ConfigError(f"{flag} is not for {what}")


def compared(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """Two folders side by side, and what is left out."""
    if len(arguments.results) != 2 or arguments.wandb or arguments.offline:
        raise ConfigError("--compare takes two folders: `ablations table A B --compare`")
    given = {
        **_shown(arguments),
        "--bootstrap": arguments.bootstrap is not None,
        "--explain": arguments.explain is not None,
        "--publish": arguments.publish is not None,
    }
    _refuse_given(given, "--compare")
    chosen = arguments.baseline
    if chosen is not None and not any(map(_is_of(chosen), arguments.results)):
        raise ConfigError(f"--baseline {chosen} is the id of no run here: `ablations status`")

    from ablations.tables import compare, render_csv, render_tables

    sides = [_side(arguments, folder) for folder in arguments.results]
    problems = list(dict.fromkeys(problem for side in sides for problem in side.problems))
    left, right = arguments.results
    names = compare.name_sides(left, right)
    pairs, alone = compare.pair_studies(*(side.studies for side in sides))
    problems += alone
    if not pairs:
        raise ConfigError(f"nothing to compare in {left} and {right}: {'; '.join(problems)}")
    if arguments.format == "csv":
        return render_csv([compare.comparison_frame(pair, names) for pair in pairs]), problems
    return render_tables(
        [compare.comparison_table(pair, names) for pair in pairs], arguments.format
    ), problems


def _is_of(baseline: str) -> Callable[[Path], bool]:
    """Whether a folder has a baseline: the run of that id; the name of a row is of both sides."""
    return lambda folder: not RUN_ID.fullmatch(baseline) or (folder / baseline).is_dir()


def _side(arguments: argparse.Namespace, folder: Path) -> Gathered:
    """One of two folders, with the baseline that was chosen, if it is of this one."""
    own = argparse.Namespace(**vars(arguments))
    own.results = [folder]
    if own.baseline is not None and not _is_of(own.baseline)(folder):
        own.baseline = None
    return gather(own)
