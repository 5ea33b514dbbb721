"""`ablations status`: the runs in a folder, done or not, also while another process trains them."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.flags import add_results, emit_table, refuse_fields
from ablations.resolve import unknown_recipe
from poolformer.config import ConfigError

ORDER = ["running", "crashed", "interrupted", "failed", "diverged", "finished"]


@dataclass(frozen=True)
class Line:
    """What is known of one run.

    Args:
        state: A record's status; without a record running, interrupted or crashed.
        epoch: The last one in its history.
        epochs: All that it trains.
        top1: Of that epoch, in percent.
        note: Why it failed.
    """

    run_id: str
    config: dict[str, Any]
    state: str
    epoch: int
    epochs: int
    top1: float | None
    note: str = ""


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "status",
        help="show what is done, running, failed or crashed in a folder",
        description="Show the runs in a folder of results: done, running, interrupted, failed or "
        "crashed. `ablations run` with the same files finishes what is not done.",
    )
    add_results(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Print it; 1 where a record cannot be read."""
    refuse_fields("status", fields_set)

    from rich.table import Table

    from ablations.labels import names

    lines, problems = read(arguments.results)
    if not lines and not problems:
        raise ConfigError(f"no runs in {arguments.results}: `ablations run` makes them")
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("run", "cell", "state", "epoch", "top-1 (%)", ""):
        table.add_column(name, justify="right" if name in ("epoch", "top-1 (%)") else "left")
    cells = names({line.run_id: line.config for line in lines})
    for line in sorted(lines, key=lambda line: (ORDER.index(line.state), cells[line.run_id])):
        top1 = "–" if line.top1 is None else f"{line.top1:.2f}"
        epoch = f"{line.epoch}/{line.epochs}"
        table.add_row(line.run_id, cells[line.run_id], line.state, epoch, top1, line.note)
    counts = Counter(line.state for line in lines)
    told = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
    emit_table(table, f"{len(lines)} runs: {told}")
    return 1 if problems else 0


def read(results: Path) -> tuple[list[Line], list[str]]:
    """The runs in a folder, and a line for each record that cannot be read.

    Raises:
        RecordError: There is no such folder.
    """
    from ablations import begun, leases, records

    held = leases.living(results)
    done, problems = records.read_folders([results])
    lines = [_of_record(record, results) for record, _ in done]
    for path in sorted(results.glob(f"*/{begun.FILE}")):
        start = begun.read(results, path.parent.name)
        if start:
            # A cell that failed and was begun again has a record too, of the earlier start.
            lines = [line for line in lines if line.run_id != start.run_id]
            stopped = "interrupted" if start.stopped else "crashed"
            state = "running" if start.run_id in held else stopped
            lines.append(_line(start.run_id, start.config, state, results))
    for line in list(lines):
        if problem := unknown_recipe(line.config["recipe"]):
            problems.append(f"{results / line.run_id}: {problem}")
            lines.remove(line)
    return lines, problems


def _of_record(record: Any, results: Path) -> Line:
    note = f"{record.failure['kind']}: {record.failure['message']}" if record.failure else ""
    return _line(record.run_id, record.config, record.status, results, note, record.metric())


def _line(
    run_id: str,
    config: dict[str, Any],
    state: str,
    results: Path,
    note: str = "",
    top1: float | None = None,
) -> Line:
    from ablations import records

    rows = records.read_history(results / run_id / records.HISTORY)
    last = rows[-1] if rows else {}
    epochs = config["optim"]["epochs"] + config["optim"]["cooldown_epochs"]
    measured = top1 if top1 is not None else last.get("val/top1")
    return Line(run_id, config, state, int(last.get("epoch", 0)), epochs, measured, note)
