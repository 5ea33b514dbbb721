"""`ablations data check`: what a folder of images has, and every file in it that is broken."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ablations.cli.options import location, refuse_fields
from ablations.console import screen
from ablations.text.phrases import pluralize

if TYPE_CHECKING:
    from ablations.data.survey import SplitSurvey, Survey

EVERY = 20.0  # seconds between two lines of progress where there is no terminal
MOST_CLASSES = 40  # that a table shows one by one
COMMON = 4  # formats, modes and pairs that are shown


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser("data", help="check a folder of images before training on it")
    actions = command.add_subparsers(
        dest="action", metavar="action", required=True, parser_class=type(command)
    )
    check = actions.add_parser(
        "check",
        help="decode every image, list the broken files, count the rest",
        description="Decode every image of DIR/train/<class>/* and DIR/val/<class>/* as training "
        "does. Lists all broken files, images a class, sizes, formats and modes, what is left out "
        "and why, and files that are in train and in val. Exit code 1 where the folder cannot be "
        "trained on.",
    )
    check.add_argument("folder", type=location, metavar="DIR", help="the folder, as --data.root")
    check.add_argument(
        "--json", action="store_true", help="print one JSON document, with every file"
    )
    check.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Look at all files and print it; 1 where the folder cannot be trained on."""
    refuse_fields("data check", fields_set)

    from ablations.data.survey import survey_folder

    with _progress() as progress:
        found = survey_folder(arguments.folder, progress)
    if arguments.json:
        screen.out(json.dumps(found.to_json(), indent=2))
    else:
        _show(found)
    return 0 if found.usable else 1


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int, int], None]]:
    """A bar on a terminal, else a line now and then; both on stderr."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = screen.stderr_console()
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("checking"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[broken]:,} broken"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, broken=0)

        def show(done: int, total: int, broken: int) -> None:
            bar.update(task, completed=done, total=total, broken=broken)

        yield show


class _Lines:
    """A line of progress, every so often."""

    def __init__(self) -> None:
        self.told = time.monotonic()

    def __call__(self, done: int, total: int, broken: int) -> None:
        if time.monotonic() - self.told >= EVERY and done < total:
            self.told = time.monotonic()
            of_all = f"{done:,} of {pluralize(total, 'file')} ({done / total:.0%})"
            screen.note(f"checked {of_all}, {broken:,} broken")


def _show(found: Survey) -> None:
    from ablations.console.grid import TextTable
    from ablations.data.image_files import describe_skipped
    from ablations.text.escape import terminal

    images = sum(split.images for split in found.splits.values())
    classes = {name for split in found.splits.values() for name in split.classes}
    table = TextTable()
    for name in ("", *found.splits):
        table.add_column(name)
    for fact, value in FACTS.items():
        table.add_row(fact, *map(value, found.splits.values()))
    of_all = f"{pluralize(images, 'image')} of {pluralize(len(classes), 'class', 'classes')}"
    screen.print_table(table, "")
    if 1 < len(classes) <= MOST_CLASSES:
        _show_classes(found)
    for name, split in found.splits.items():
        if split.skipped:
            screen.out(
                f"left out of {name}: {terminal(describe_skipped(split.skipped, found.root))}"
            )
        if split.black:
            screen.out(
                f"{pluralize(split.black, 'image')} of {name} with 16 bits will be black: their "
                "values are all below 256 of 65,536; scale them up"
            )
    if found.duplicates:
        one, other = (terminal(path.relative_to(found.root)) for path in found.duplicates[0])
        twice = pluralize(len(found.duplicates), "image")
        screen.out(f"{twice} of val also in train, byte by byte: {one} is {other}")
    for problem in found.problems:
        screen.out(f"problem: {problem}")
    for file, why in found.broken:
        screen.out(f"broken: {terminal(file)}: {terminal(why)}")
    screen.out(f"{terminal(found.root)}: {of_all}, {len(found.broken) or 'none'} broken")


def _show_classes(found: Survey) -> None:
    from ablations.console.grid import TextTable

    table = TextTable()
    table.add_column("class")
    for name in found.splits:
        table.add_column(name, justify="right")
    names = dict.fromkeys(name for split in found.splits.values() for name in split.classes)
    for name in names:
        counts = (split.classes.get(name) for split in found.splits.values())
        table.add_row(name, *("-" if count is None else f"{count:,}" for count in counts))
    screen.print_table(table, "")


def _range(split: SplitSurvey) -> str:
    fewest, most = min(split.classes.values()), max(split.classes.values())
    return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _sizes(split: SplitSurvey) -> str:
    shown = [f"{width}x{height}" for width, height in dict.fromkeys(split.size_range())]
    return " to ".join(dict.fromkeys([shown[0], shown[-1]])) if shown else "-"


def _median(split: SplitSurvey) -> str:
    sizes = split.size_range()
    return f"{sizes[1][0]}x{sizes[1][1]}" if sizes else "-"


def _common(counts: dict[str, int], most: int = COMMON) -> str:
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:most]]
    return ", ".join(shown + (["..."] if len(counts) > most else [])) or "-"


def _bytes(split: SplitSurvey) -> str:
    from rich.filesize import decimal

    return decimal(split.file_bytes)


FACTS: dict[str, Callable[[SplitSurvey], str]] = {
    "images": lambda split: f"{split.images:,}",
    "broken files": lambda split: f"{len(split.broken):,}",
    "classes": lambda split: f"{len(split.classes):,}",
    "images a class": _range,
    "width x height": _sizes,
    "median": _median,
    "formats": lambda split: _common(dict(split.formats.most_common())),
    "modes": lambda split: _common(dict(split.modes.most_common())),
    "turned by EXIF": lambda split: f"{split.turned:,}",
    "size of the files": _bytes,
}
