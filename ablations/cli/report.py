"""`ablations report`: write one HTML page about records: summary, tables, plots and runs.

Write one HTML page about the records in results folders, W&B projects and offline folders of W&B: a
summary, tables, plots, each run with its config and history, what is missing and how to cite. The
page needs no network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ablations.cli.options import add_output
from ablations.cli.output import report_problems, write_output
from ablations.cli.parser import Parser
from ablations.cli.sources import add_sources, gather
from ablations.console import screen


def add(command: Parser) -> None:
    """Declare the flags."""
    add_sources(command)
    add_output(command, default=Path("report.html"))


def run(arguments: argparse.Namespace) -> int:
    """Write the page; return 1 where something is left out."""
    from ablations.report import build_report
    from ablations.store.load import garbage_collection_paused

    with garbage_collection_paused():
        found = gather(arguments)
        report = build_report(found.loaded, found.studies, found.problems)
    report_problems(report.problems)
    write_output(report.page, arguments.output)
    size = len(report.page.encode()) / 1e6
    screen.out(f"{arguments.output}: {size:.1f} MB, opens in any browser and needs no network")
    return 1 if report.problems else 0
