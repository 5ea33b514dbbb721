"""`ablations claims`: the paper's claims held against the records in folders and in W&B."""

from __future__ import annotations

import argparse
from typing import Any

from ablations.cli.options import output, refuse_fields, write_or_emit
from ablations.cli.sources import add_sources, form_of, gather, tell
from ablations.errors import ConfigError
from poolformer.config import unknown_name


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "claims",
        help="compare the paper's claims with records on disk or in W&B",
        description="Compare what the paper says of its ablations with the records in folders of "
        "results, in projects of W&B and in its offline folders: each claim agrees, contradicts, "
        "is undetermined or was not run. The verdicts do not change the exit code.",
    )
    add_sources(command)
    command.add_argument("--format", default="md", help="md (default), csv, tex or html")
    command.add_argument(
        "--wide", action="store_true", help="with tex: set it over both columns of a page (table*)"
    )
    command.add_argument("-o", "--output", type=output, help="write to a file instead of stdout")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Print the verdicts; 1 where a record or a claim cannot be used."""
    refuse_fields("claims", fields_set)

    from ablations.store.load import garbage_collection_paused
    from ablations.tables import FORMATS, render_claims

    if arguments.format not in FORMATS:
        raise ConfigError(unknown_name("format", arguments.format, FORMATS))
    form = form_of(arguments)
    with garbage_collection_paused():
        found = gather(arguments)
        text = render_claims(found.studies, form)
    tell(found.problems)
    write_or_emit(text, arguments.output)
    return 1 if found.problems else 0
