"""`ablations images`: list the validation images that flip between two rows, with a contact sheet.

List the validation images that most seeds of one row get right and most seeds of the other wrong,
with true and predicted class, and McNemar's counts of each seed. -o draws them as a contact sheet.
The runs need the predictions.npz that training writes. Images that are not where the runs found
them: --data.root DIR.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.cli.options import (
    DEFAULT_RESULTS,
    add_format,
    add_shared,
    default_results,
    output_argument,
    parse_count,
    path_argument,
)
from ablations.cli.output import report_problems, write_output
from ablations.cli.parser import Parser
from ablations.console import screen
from ablations.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ablations.analysis.flips import Flips
    from ablations.data.validation import ValidationImages

SHOWN = 18
FIELDS = ("data.root", "system.plugins")


def add(command: Parser) -> None:
    """Declare the flags."""
    for name in ("baseline", "row"):
        command.add_argument(
            name,
            metavar=name.upper(),
            help="a row by its name or a part of it (attention), by what it changes (norm=batch), "
            "or by a run id",
        )
    command.add_argument(
        "results",
        nargs="*",
        type=path_argument,
        help=f"results folders (default: $ABLATIONS_RESULTS or {DEFAULT_RESULTS})",
    )
    add_format(command, "md", "csv", "json")
    command.add_argument(
        "--most",
        type=parse_count,
        default=SHOWN,
        metavar="N",
        help=f"images of each direction in md and on the sheet (default: {SHOWN}; csv and json "
        "have all)",
    )
    command.add_argument(
        "-o",
        "--output",
        type=_png_argument,
        metavar="FILE",
        help="write a contact sheet, a PNG file",
    )
    add_shared(command, "--plugins")


def _png_argument(name: str) -> Path:
    """The type of a flag that is a PNG file to write."""
    path = output_argument(name)
    if path.suffix.lower() != ".png":
        raise argparse.ArgumentTypeError(f"{path} must be a PNG file: name it {path.stem}.png")
    return path


def run(arguments: argparse.Namespace) -> int:
    """Print the list and write the sheet; return 1 where a record is left out."""
    for field in arguments.fields_set:
        if field not in FIELDS:
            raise ConfigError(f"`ablations images` does not take --{field}, only --data.root")

    from ablations.analysis.build import build_studies
    from ablations.analysis.flips import compare_predictions, find_pair
    from ablations.config.plugins import load_plugins
    from ablations.config.resolve import parse_value
    from ablations.store.load import load_records
    from ablations.tables.flips import counts_table, flips_json, flips_tables
    from ablations.tables.loading import predictions_of
    from ablations.tables.rendering import render_tables

    load_plugins(parse_value("system.plugins", arguments.fields_set.get("system.plugins", [])))
    folders = arguments.results or [default_results()]
    loaded = load_records(folders)
    if not loaded.records and not loaded.problems:
        raise ConfigError(
            f"no records in {', '.join(map(str, folders))}: fill it with `ablations run`"
        )
    study, baseline, row = find_pair(
        build_studies(loaded.records), arguments.baseline, arguments.row
    )
    flips = compare_predictions(
        study, baseline, row, predictions_of(loaded, [*baseline.records, *row.records])
    )
    images = _images(flips, arguments)
    classes = images.classes if images else None
    if arguments.output is not None and images is not None:
        from ablations import figures
        from ablations.store.storage import write_atomically

        sheet = figures.contact_sheet(flips, images, arguments.most)
        write_atomically(arguments.output, figures.to_png(sheet))
    if arguments.format == "json":
        text = flips_json(flips, classes)
    else:
        tables: list[Any] = flips_tables(flips, classes, arguments.most)
        if arguments.format == "md":
            tables.append(counts_table(flips))
        text = render_tables(tables, arguments.format)
    report_problems(loaded.problems)
    write_output(text, None)
    if arguments.output is not None:
        screen.note(f"contact sheet: {arguments.output}")
    return 1 if loaded.problems else 0


def _images(flips: Flips, arguments: argparse.Namespace) -> ValidationImages | None:
    """The images; without them the list has no names of classes, and there is no sheet.

    Raises:
        DataError: They are not at hand, and a sheet is asked for, or their folder is given.
    """
    from ablations.analysis.flips import load_images

    root = arguments.fields_set.get("data.root")
    try:
        return load_images(flips, root)
    except (DataError, ConfigError):
        if arguments.output is not None or root is not None:
            raise
        return None
