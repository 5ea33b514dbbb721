"""`ablations table`: the tables of the records in folders."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ablations.flags import DEFAULT_RESULTS, folder, refuse_fields, write_or_emit
from ablations.resolve import recipe_names
from poolformer.config import ConfigError, unknown


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "table",
        help="print the ablation table of the records in a folder",
        description="Print the ablation table of the records in folders of results.",
    )
    command.add_argument("results", nargs="*", type=folder, default=[DEFAULT_RESULTS])
    command.add_argument("--format", default="md", help="md (default), csv or tex")
    command.add_argument("-o", "--output", type=Path, help="a file in place of the screen")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, str]) -> int:
    """Print them; 1 where a record cannot be used."""
    refuse_fields("table", fields_set)

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
    write_or_emit(render(found, arguments.format), arguments.output)
    return 1 if problems else 0
