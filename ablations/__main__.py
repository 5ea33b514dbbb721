"""The command line: `ablations` and `python -m ablations`.

Exit code 0: all well; 1: something ran and failed; 2: the input was wrong; 130 or 143: stopped by
SIGINT or SIGTERM.
Commands import what they need when they run, so that the light ones start without torch.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NoReturn

from ablations.resolve import FIELDS, GROUPS, recipe_names, resolve, unknown_field
from poolformer.config import ConfigError, nearest, unknown

DEFAULT_RECIPE = "mini"
DEFAULT_RESULTS = Path("runs")


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, the nearest flag in them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what is left over here, where it is known which command was meant."""
        namespace, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("--"):
            own = sorted({*re.findall(r"--[\w.-]+", self.format_help())})
            word = rest[0].split("=")[0]
            raise ConfigError(nearest("flag", word, own, f"`{self.prog} --help` lists the valid"))
        if rest:
            raise ConfigError(f"{self.prog} does not take {rest[0]!r}")
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError; ``main`` prints it."""
        raise ConfigError(message)


def parser() -> Parser:
    """The commands and their own flags; any field of a run is a flag besides."""
    top = Parser(prog="ablations", description=__doc__.splitlines()[0] if __doc__ else None)
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="command", parser_class=Parser)

    train = commands.add_parser(
        "train",
        help="train one cell",
        description="Train one cell and write its record.",
        epilog=fields_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.set_defaults(run=train_command)

    run = commands.add_parser(
        "run",
        help="train all cells of sweep files, then print the table",
        description="Train the cells of sweep files that are not done yet, then print the table.\n"
        "A cell that several files ask for is trained once. Start it again to go on.",
        epilog=fields_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("sweeps", nargs="+", type=Path, help="sweep files, such as sweeps/*.yaml")
    run.add_argument("--seeds", help="in place of the files' seeds, such as 0,1,2")
    run.add_argument("--workers", type=int, help="cells at once; by default one a core")
    run.add_argument("--dry-run", action="store_true", help="list the cells and what is done")
    run.set_defaults(run=run_command)

    for command in (train, run):
        command.add_argument(
            "--recipe",
            default=os.environ.get("ABLATIONS_RECIPE", DEFAULT_RECIPE),
            help=f"{', '.join(recipe_names())} (default: $ABLATIONS_RECIPE or {DEFAULT_RECIPE})",
        )
        command.add_argument(
            "--results", type=folder, default=DEFAULT_RESULTS, help="folder of all runs (runs)"
        )
        command.add_argument("--tracker", help="short for --system.tracker: wandb or none")
    train.add_argument("--preset", help="a named list of changes of the recipe, such as s24, ppaa")

    table = commands.add_parser(
        "table",
        help="print the ablation table of the records in a folder",
        description="Print the ablation table of the records in folders of results.",
    )
    table.add_argument("results", nargs="*", type=folder, default=[DEFAULT_RESULTS])
    table.add_argument("--format", default="md", help="md (default), csv or tex")
    table.add_argument("-o", "--output", type=Path, help="a file in place of the screen")
    table.set_defaults(run=table_command)
    return top


def folder(name: str) -> Path:
    """A folder's name; an empty one, from an unset variable, is no folder."""
    if not name:
        raise argparse.ArgumentTypeError("an empty name is no folder")
    return Path(name)


def fields_help() -> str:
    """The flags for the fields of a run, with the defaults that recipes start from."""
    lines = ["fields of a run, each a flag (recipes set them; --recipe NAME):"]
    for group, kind in GROUPS.items():
        for item in fields(kind):
            if f"{group}.{item.name}" in FIELDS:
                default = "" if item.default is MISSING else f" (default {item.default})"
                lines.append(f"  --{group}.{item.name}{default}")
    return "\n".join([*lines, "  --seed (default 0)"])


def separate(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split a command line into the command's own words and the fields of a run that it sets.

    ``["run", "a.yaml", "--model.pool_size", "5"]`` gives ``["run", "a.yaml"]`` and
    ``{"model.pool_size": "5"}``. This comes before argparse, which takes a flag with a blank in it
    (a list as a sweep agent spells it: ``--model.depths=[2, 2]``) for a file name.

    Raises:
        ConfigError: A field that no run has, with the nearest one, or a field without a value.
    """
    own: list[str] = []
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not ("." in name or name == "seed"):
            own.append(word)
            continue
        if name not in FIELDS:
            raise ConfigError(unknown_field("flag", name))
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"--{name} needs a value")
            value = rest.pop(0)
        found[name] = value
    return own, found


def train_command(arguments: argparse.Namespace, fields_set: dict[str, str]) -> int:
    """`ablations train`."""
    config = resolve(arguments.recipe, fields_set, arguments.preset)

    from ablations.train import train

    def show(body: dict[str, Any]) -> None:
        print(
            f"epoch {body['epoch']}/{body['epochs']}: top-1 {body['val/top1']:.2f}%, "
            f"{body['speed']:.0f} pictures/s",
            flush=True,
        )

    record = train(config, arguments.results, show)
    if record.failure:
        print(f"{record.failure['kind']}: {record.failure['message']}", file=sys.stderr)
    top1 = record.metric("val/top1")
    accuracy = "" if top1 is None else f", top-1 {top1:.2f}%"
    print(f"{record.status}{accuracy}: {arguments.results / record.run_id / 'record.json'}")
    return 0 if record.done else 1


def run_command(arguments: argparse.Namespace, fields_set: dict[str, str]) -> int:
    """`ablations run`."""
    from ablations import runner
    from ablations.sweep import expand

    cells = expand(arguments.sweeps, arguments.recipe, fields_set, seeds(arguments, fields_set))
    if arguments.dry_run:
        return list_cells(cells, arguments.results)
    outcome = runner.run(cells, arguments.results, arguments.workers)
    if outcome.interrupted:
        done = sum(record.done for record in outcome.records)
        print(
            f"interrupted with {done} of {len(cells)} cells done; "
            "the same command goes on from here",
            file=sys.stderr,
        )
        return 130
    print(
        f"{len(cells)} cells: {outcome.trained} trained, {outcome.reused} reused, "
        f"{len(outcome.failed)} failed",
        file=sys.stderr,
    )

    from ablations.tables import render

    emit(render(outcome.records, "md"))
    for record in outcome.failed:
        assert record.failure is not None
        print(
            f"failed: {arguments.results / record.run_id}: {record.failure['kind']}: "
            f"{record.failure['message']}",
            file=sys.stderr,
        )
    return 1 if outcome.failed else 0


def seeds(arguments: argparse.Namespace, fields_set: dict[str, str]) -> list[int] | None:
    """``--seeds 0,1,2`` as numbers."""
    if arguments.seeds is None:
        return None
    if "seed" in fields_set:
        raise ConfigError("--seed and --seeds are both given: --seed sets it in every cell")
    try:
        return [int(word) for word in arguments.seeds.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {arguments.seeds!r} must be numbers, such as 0,1,2") from error


def list_cells(cells: Sequence[Any], results: Path) -> int:
    """`ablations run --dry-run`."""
    from rich.console import Console
    from rich.table import Table

    from ablations import records
    from ablations.labels import names

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("run", "cell", "sweeps", "state"):
        table.add_column(name)
    cell_names = names([cell.config for cell in cells])
    done = 0
    for cell in cells:
        record = records.find(results, cell.config.run_id)
        done += record is not None and record.done
        table.add_row(
            cell.config.run_id,
            cell_names[cell.config.run_id],
            ", ".join(cell.sweeps),
            record.status if record else "to do",
        )
    # Where nobody watches, lines keep their length.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    with console.capture() as printed:
        console.print(table)
    emit(f"{printed.get()}{len(cells)} cells, {done} done, {len(cells) - done} to do\n")
    return 0


def emit(text: str) -> None:
    """Print a result. A reader that has gone, as in `ablations table | head`, is no error."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        # What Python still holds for the pipe must not fail at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table_command(arguments: argparse.Namespace, fields_set: dict[str, str]) -> int:
    """`ablations table`."""
    if fields_set:
        raise ConfigError(f"`ablations table` does not take --{next(iter(fields_set))}")

    from ablations import records
    from ablations.tables import FORMATS, render

    if arguments.format not in FORMATS:
        raise ConfigError(unknown("format", arguments.format, FORMATS))
    found, problems = records.read_all(arguments.results)
    known = recipe_names()
    for record in [record for record in found if record.config["recipe"] not in known]:
        problems.append(f"{record.run_id}: {unknown('recipe', record.config['recipe'], known)}")
        found.remove(record)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    if not found and not problems:
        raise ConfigError(f"no records in {arguments.results[0]}: fill it with `ablations run`")
    text = render(found, arguments.format)
    if arguments.output:
        records.write_atomically(arguments.output, text)
    else:
        emit(text)
    return 1 if problems else 0


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    try:
        own, fields_set = separate(sys.argv[1:] if words is None else words)
        top = parser()
        arguments = top.parse_args(own)
        if arguments.version:
            from importlib.metadata import version

            print(version("metaformer-ablations"))
            return 0
        if arguments.command is None:
            top.print_help()
            return 2
        if getattr(arguments, "tracker", None) is not None:
            fields_set["system.tracker"] = arguments.tracker
        code: int = arguments.run(arguments, fields_set)
        return code
    # ConfigError, DataError and RecordError are ValueErrors whose message is meant for the user.
    except ValueError as error:
        if type(error).__module__.split(".")[0] not in ("ablations", "poolformer"):
            raise
        print(f"ablations: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        print(f"ablations: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        print("interrupted; the same command goes on from the last epoch", file=sys.stderr)
        return getattr(stopped, "code", 130)


if __name__ == "__main__":
    sys.exit(main())
