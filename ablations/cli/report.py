"""`ablations report`: the records of folders and of W&B as one page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ablations.cli.options import output, refuse_fields, write_or_emit
from ablations.cli.sources import add_sources, gather, report_problems
from ablations.console import screen


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "report",
        help="write one HTML page of the records: words, tables, plots, runs",
        description="Write one page of the records in folders of results, in projects of W&B and "
        "in its offline folders: what they say in words, tables, plots, each run with its config "
        "and history, what is missing and how to cite. It opens without a network.",
    )
    add_sources(command)
    command.add_argument(
        "-o",
        "--output",
        type=output,
        default=Path("report.html"),
        help="the file to write (default: report.html)",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Write it; 1 where something is left out."""
    refuse_fields("report", fields_set)

    from ablations.report import build_report
    from ablations.store.load import garbage_collection_paused

    with garbage_collection_paused():
        found = gather(arguments)
        made = build_report(found.reading, found.studies, found.problems)
    report_problems(made.problems)
    write_or_emit(made.page, arguments.output)
    size = len(made.page.encode()) / 1e6
    screen.out(f"{arguments.output}: {size:.1f} MB, opens in any browser, also without a network")
    return 1 if made.problems else 0
