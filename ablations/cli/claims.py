"""`ablations claims`: compare the paper's claims with records of folders and of W&B."""

from __future__ import annotations

import argparse
from typing import Any

from ablations.cli.options import output, refuse_fields, write_or_emit
from ablations.cli.sources import (
    add_format,
    add_sources,
    gather,
    latex_format,
    report_problems,
)


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
    add_format(command)
    command.add_argument("-o", "--output", type=output, help="write to a file instead of stdout")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Print the verdicts; 1 where a record or a claim cannot be used."""
    refuse_fields("claims", fields_set)

    from ablations.store.load import garbage_collection_paused
    from ablations.tables import render_claims

    form = latex_format(arguments)
    with garbage_collection_paused():
        found = gather(arguments)
        text = render_claims(found.studies, form)
    report_problems(found.problems)
    write_or_emit(text, arguments.output)
    return 1 if found.problems else 0
