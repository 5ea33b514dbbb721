"""`ablations data`: check a folder of images before training on it."""

from __future__ import annotations

import argparse
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich.filesize import decimal

from ablations.cli.options import add_shared, path_argument
from ablations.cli.parser import Parser
from ablations.console import screen
from ablations.console.display import ProgressBar
from ablations.text.phrases import pluralize

if TYPE_CHECKING:
    from ablations.data.survey import SplitSurvey, Survey

MAX_CLASSES = 40  # above this, classes are not listed
MAX_KINDS = 4  # formats or modes that are listed


def add(command: Parser) -> None:
    """Declare the flags."""
    actions = command.add_subparsers(
        dest="action", metavar="action", required=True, parser_class=type(command)
    )
    check = actions.add_parser(
        "check",
        help="decode every image, list the broken files and summarize the others",
        description="Decode every image of DIR/train/<class>/* and DIR/val/<class>/* as training "
        "does. Reports broken files, images per class, sizes, formats and modes, files that are "
        "left out and why, and images that are both in train and in val. The exit code is 1 if "
        "the folder cannot be used for training.",
    )
    check.add_argument(
        "folder", type=path_argument, metavar="DIR", help="the folder, as in --data.root"
    )
    add_shared(check, "--json", help="print one JSON document, with every file")


def run(arguments: argparse.Namespace) -> int:
    """Check and print; return 1 where the folder cannot be used for training."""
    from ablations.data.survey import survey_folder

    with ProgressBar() as bar:
        survey = survey_folder(arguments.folder, functools.partial(_show_progress, bar))
    if arguments.json:
        screen.out(json.dumps(survey.to_json(), indent=2))
    else:
        _print_survey(survey)
    return 0 if survey.usable else 1


def _show_progress(bar: ProgressBar, done: int, total: int, broken: int) -> None:
    share = done / total
    bar.update(
        share, f"checked {done:,} of {pluralize(total, 'file')} ({share:.0%}), {broken:,} broken"
    )


def _print_survey(survey: Survey) -> None:
    from ablations.console.grid import TextTable
    from ablations.data.image_files import describe_skipped
    from ablations.text.escape import terminal

    splits = survey.splits
    classes = list(dict.fromkeys(name for split in splits.values() for name in split.classes))
    table = TextTable("", *splits)
    for name, value in PROPERTIES.items():
        table.add_row(name, *map(value, splits.values()))
    screen.print_table(table, "")
    if 1 < len(classes) <= MAX_CLASSES:
        table = TextTable("class", *splits, right=splits)
        for name in classes:
            counts = (split.classes.get(name) for split in splits.values())
            table.add_row(name, *("-" if count is None else f"{count:,}" for count in counts))
        screen.print_table(table, "")
    for name, split in splits.items():
        if split.skipped:
            skipped = describe_skipped(split.skipped, survey.root)
            screen.out(f"left out of {name}: {terminal(skipped)}")
        if split.black:
            screen.out(
                f"{pluralize(split.black, 'image')} of {name} with 16 bits will be black: their "
                "values are all below 256 of 65,536; scale them up"
            )
    if survey.duplicates:
        one, other = (terminal(path.relative_to(survey.root)) for path in survey.duplicates[0])
        count = pluralize(len(survey.duplicates), "image")
        screen.out(f"{count} of val also in train, byte by byte: {one} is {other}")
    for problem in survey.problems:
        screen.out(f"problem: {problem}")
    for file, why in survey.broken:
        screen.out(f"broken: {terminal(file)}: {terminal(why)}")
    images = pluralize(sum(split.images for split in splits.values()), "image")
    screen.out(
        f"{terminal(survey.root)}: {images} of {pluralize(len(classes), 'class', 'classes')}, "
        f"{len(survey.broken) or 'none'} broken"
    )


def _range(texts: Iterable[str]) -> str:
    """``3 to 5``, or ``3`` if the texts are the same."""
    return " to ".join(dict.fromkeys(texts)) or "-"


def _sizes(sizes: Iterable[tuple[int, int]]) -> str:
    return _range(f"{width}x{height}" for width, height in sizes)


def _most_common(counts: Counter[str]) -> str:
    shown = [f"{name} {count:,}" for name, count in counts.most_common(MAX_KINDS)]
    return ", ".join(shown + ["..."] * (len(counts) > MAX_KINDS)) or "-"


PROPERTIES: dict[str, Callable[[SplitSurvey], str]] = {
    "images": lambda split: f"{split.images:,}",
    "broken files": lambda split: f"{len(split.broken):,}",
    "classes": lambda split: f"{len(split.classes):,}",
    "images per class": lambda split: _range(
        f"{count(split.classes.values()):,}" for count in (min, max)
    ),
    "width x height": lambda split: _sizes(split.size_range()[::2]),
    "median": lambda split: _sizes(split.size_range()[1:2]),
    "formats": lambda split: _most_common(split.formats),
    "modes": lambda split: _most_common(split.modes),
    "rotated by EXIF": lambda split: f"{split.turned:,}",
    "size of the files": lambda split: decimal(split.file_bytes),
}
