"""`ablations claims`: compare the paper's claims with records on disk or in W&B.

Compare what the paper says about its ablations with the records in results folders, W&B projects
and offline folders of W&B. The verdict on each claim is: agrees, contradicts, undetermined or not
run. Verdicts do not change the exit code.
"""

from __future__ import annotations

import argparse

from ablations.cli.options import add_output
from ablations.cli.output import report_problems, write_output
from ablations.cli.parser import Parser
from ablations.cli.sources import add_sources, add_table_format, gather, table_format


def add(command: Parser) -> None:
    """Declare the flags."""
    add_sources(command)
    add_table_format(command)
    add_output(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the verdicts; return 1 where a record or a claim cannot be used."""
    from ablations.store.load import garbage_collection_paused
    from ablations.tables import claims_table, render_tables

    format_ = table_format(arguments)
    with garbage_collection_paused():
        found = gather(arguments)
        text = render_tables([*map(claims_table, found.studies)], format_)
    report_problems(found.problems)
    write_output(text, arguments.output)
    return 1 if found.problems else 0
