"""`ablations table`: print the ablation table, or another table of the paper.

Print the ablation table of the records in results folders, W&B projects and offline folders of W&B.
A run that is in several of them counts once. The paper's other tables (--of) show the published
rows, and yours among them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ablations.cli.options import add_output, default_results
from ablations.cli.output import report_problems, write_output
from ablations.cli.parser import Parser
from ablations.cli.sources import Gathered, add_sources, add_table_format, gather, table_format
from ablations.config.schema import RUN_ID
from ablations.console import screen
from ablations.errors import ConfigError

ABLATION = "ablation"
OF = [ABLATION, "imagenet", "sizes", "retinanet", "maskrcnn", "ade20k"]
# Flags that only some tables read.
FLAGS = ["--style", "--columns", "--all-rows", "--bootstrap", "--baseline", "--publish"]
FLAGS += ["--rows", "--rename", "--sort"]
FLAGS += ["--compare", "--pivot", "--explain", "--test", "--intervals", "--over"]
METHOD = ["--test", "--intervals"]
# The other tables of ablation records -> which of these flags each reads.
ALTERNATIVES = {
    "--compare": ["--baseline", *METHOD],
    "--pivot": ["--baseline", "--publish", *METHOD],
    "--explain": ["--baseline", "--publish", *METHOD, "--over"],
}


def add(command: Parser) -> None:
    """Declare the flags."""
    command.add_argument(
        "--of",
        default=ABLATION,
        choices=OF,
        metavar="TABLE",
        help="ablation (default), imagenet, sizes, retinanet, maskrcnn or ade20k",
    )
    add_sources(command)
    add_table_format(command)
    command.add_argument(
        "--style",
        default="full",
        choices=["full", "paper"],
        help="full (default), or the paper's columns",
    )
    command.add_argument(
        "--columns",
        metavar="NAMES",
        help="all, or names such as top1,n,mde (default: those that fit into 100 characters)",
    )
    command.add_argument(
        "--all-rows", action="store_true", help="also show the paper's rows that were not run"
    )
    command.add_argument(
        "--rows",
        action="append",
        metavar="ROW",
        help="show this row beside the baseline: its name, a part of it (attention) or what it "
        "changes (norm=batch); may be given several times",
    )
    command.add_argument(
        "--rename",
        action="append",
        metavar="OLD=NEW",
        help="show a row under another name; may be given several times (labels.yaml in a results "
        "folder: the same as lines `OLD: NEW`)",
    )
    command.add_argument(
        "--sort",
        choices=["paper", "difference", "name"],
        help="order of the rows: paper (default: that of the paper's table), difference (from the "
        "baseline, highest first) or name",
    )
    add_output(command)
    command.add_argument(
        "--bootstrap",
        type=int,
        metavar="SEED",
        help="add a bootstrap interval of each mean, resampled with this seed",
    )
    command.add_argument(
        "--pivot",
        nargs="?",
        const="",
        metavar="FIELD,FIELD",
        help="show a grid over two fields (rows, columns) with their interactions (default: the "
        "fields that the study varies)",
    )
    command.add_argument("--compare", action="store_true", help="show two folders side by side")
    command.add_argument(
        "--explain",
        metavar="ROW",
        help="show the runs of a row, given by its name or a part of it (attention), by what it "
        "changes (norm=batch), or by a run id",
    )
    command.add_argument(
        "--publish",
        nargs="?",
        const="",
        metavar="PATH",
        help="log the table to W&B, to entity/project (default: the project of the runs)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table; return 1 where a record or a study is left out."""
    table = _chosen_table(arguments)
    arguments.format = table_format(arguments)
    if arguments.columns not in (None, "all") and arguments.format == "csv":
        raise ConfigError("--columns is not for --format csv, which has all columns")
    if arguments.columns is not None and arguments.style == "paper":
        raise ConfigError("--columns is not for --style paper, which has the columns of the paper")

    from ablations.store.load import garbage_collection_paused

    with garbage_collection_paused():
        if table == "--compare":
            text, problems = _compare(arguments)
        else:
            found = gather(arguments, needed=table != "--of")
            text, problems = TABLES[table](arguments, found), found.problems
            _publish(arguments, found)
    report_problems(problems)
    write_output(text, arguments.output)
    return 1 if problems else 0


def _chosen_table(arguments: argparse.Namespace) -> str:
    """The key of ``TABLES`` that the flags ask for.

    Raises:
        ConfigError: A flag that this table does not read.
    """
    values = {flag: getattr(arguments, flag.lstrip("-").replace("-", "_")) for flag in FLAGS}
    given = [flag for flag, value in values.items() if value not in (None, False, "full")]
    if arguments.of != ABLATION:
        table, name = "--of", f"--of {arguments.of}"
        read = ["--baseline", *METHOD, "--over"] if arguments.of == "sizes" else []
    else:
        table = name = next((flag for flag in ALTERNATIVES if flag in given), ABLATION)
        read = ALTERNATIVES.get(table, [flag for flag in FLAGS if flag not in ALTERNATIVES])
    for flag in given:
        if flag not in read and flag != table:
            raise ConfigError(f"{flag} is not for {name}")
    return table


def _ablation_tables(arguments: argparse.Namespace, found: Gathered) -> str:
    """The ablation tables of all studies."""
    from ablations.analysis.build import add_bootstrap_intervals
    from ablations.tables import View, render_studies
    from ablations.tables.ablation import BOOTSTRAP, parse_columns
    from ablations.tables.selection import SORTS, RowSelection, read_names

    columns = None if arguments.columns is None else parse_columns(arguments.columns)
    studies = found.studies
    if arguments.bootstrap is None:
        if columns and BOOTSTRAP in columns and arguments.columns.strip().lower() != "all":
            raise ConfigError("--columns bootstrap needs --bootstrap SEED")
    elif arguments.bootstrap < 0:
        raise ConfigError(f"--bootstrap {arguments.bootstrap} must be a seed, 0 or more")
    else:
        studies = add_bootstrap_intervals(studies, arguments.bootstrap)
    names = read_names(arguments.results or [default_results()], arguments.rename or [], studies)
    selection = RowSelection(arguments.rows or [], names, arguments.sort or SORTS[0])
    selection.check(studies)
    view = View(arguments.style, columns, arguments.all_rows, selection)
    return render_studies(studies, arguments.format, view)


def _published_tables(arguments: argparse.Namespace, found: Gathered) -> str:
    """Another table of the paper with our rows among the published ones."""
    from ablations.tables.rendering import render_published

    return render_published(arguments.of, found.studies, found.loaded.records, arguments.format)


def _pivot_tables(arguments: argparse.Namespace, found: Gathered) -> str:
    """Grids over two fields."""
    from ablations.tables import pivot_table, render_tables
    from ablations.tables.pivot import find_grids

    grids = find_grids(found.studies, arguments.pivot)
    return render_tables([*map(pivot_table, grids)], arguments.format)


def _runs_tables(arguments: argparse.Namespace, found: Gathered) -> str:
    """The runs of a row."""
    from ablations.tables import explain, render_tables

    rows = explain.find_rows(found.studies, arguments.explain)
    runs = [explain.runs_table(study, row, found.loaded.origins) for study, row in rows]
    return render_tables(runs, arguments.format)


def _publish(arguments: argparse.Namespace, found: Gathered) -> None:
    """Log the ablation table to W&B where --publish asks for it."""
    if arguments.publish is None:
        return
    from ablations.tables.publishing import publish

    published = publish(found.loaded.records, arguments.publish or None)
    where = published.url or f"offline: wandb sync {published.folder}"
    screen.note(f"published: {where}")


def _compare(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """Two folders side by side, and what is left out."""
    if len(arguments.results) != 2 or arguments.wandb or arguments.offline:
        raise ConfigError("--compare takes two folders: `ablations table A B --compare`")
    chosen = arguments.baseline
    if chosen is not None and not any(_has_run(folder, chosen) for folder in arguments.results):
        raise ConfigError(f"--baseline {chosen} is not the id of a run here: `ablations status`")

    from ablations.tables import compare, render_tables

    sides = [_side(arguments, folder) for folder in arguments.results]
    problems = list(dict.fromkeys(problem for side in sides for problem in side.problems))
    left, right = arguments.results
    names = compare.name_sides(left, right)
    pairs, alone = compare.pair_studies(names, *(side.studies for side in sides))
    problems += alone
    if not pairs:
        raise ConfigError(f"nothing to compare in {left} and {right}: {'; '.join(problems)}")
    return render_tables([*map(compare.comparison_table, pairs)], arguments.format), problems


def _has_run(folder: Path, baseline: str) -> bool:
    """Whether a folder may have this baseline: a run of that id, or any row by name."""
    return not RUN_ID.fullmatch(baseline) or (folder / baseline).is_dir()


def _side(arguments: argparse.Namespace, folder: Path) -> Gathered:
    """The studies of one folder, with the chosen baseline if the folder has it."""
    own = argparse.Namespace(**vars(arguments))
    own.results = [folder]
    if own.baseline is not None and not _has_run(folder, own.baseline):
        own.baseline = None
    return gather(own)


TABLES = {
    ABLATION: _ablation_tables,
    "--of": _published_tables,
    "--pivot": _pivot_tables,
    "--explain": _runs_tables,
}
