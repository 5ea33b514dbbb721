"""`ablations status`: the runs in a folder, done or not, also while another process trains them."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.cli.options import add_results, one_folder, refuse_fields
from ablations.config.schema import RUN_ID
from ablations.console import screen
from ablations.errors import ConfigError, RecordError
from ablations.store import run_progress
from ablations.store.run_progress import RunProgress, describe_stall
from ablations.text.phrases import format_duration, pluralize

if TYPE_CHECKING:
    from ablations.store.leases import Holder
    from ablations.store.records import Record
    from ablations.store.run_state import RunState

NUMBERS = ("epoch", "top-1 (%)", "images/s", "left")
ORDER = ["running", "crashed", "interrupted", "failed", "diverged", "finished"]


@dataclass(frozen=True)
class Line:
    """What is known of one run.

    Args:
        run_id: The run.
        config: Its config as JSON values.
        state: A record's status; without a record running, interrupted or crashed.
        epoch: The last one in its history.
        epochs: All that it trains.
        top1: Of that epoch, in percent.
        pictures_per_second: In training, in that epoch.
        seconds_left: Of a run that is being trained, by its mean epoch so far.
        holder: Who trains it: host, pid and since when.
        progress: How far it is within its epoch, as JSON values, and the seconds since then.
        note: Why it failed, or that its token mixer has changed since.
    """

    run_id: str
    config: dict[str, Any]
    state: str
    epoch: int
    epochs: int
    top1: float | None
    pictures_per_second: float | None = None
    seconds_left: float | None = None
    holder: dict[str, Any] | None = None
    progress: dict[str, Any] | None = None
    note: str = ""

    @property
    def where(self) -> str:
        """Its epoch and, of one that is being trained, how far that is."""
        if self.progress is None:
            return f"{self.epoch}/{self.epochs}"
        return str(RunProgress(**{k: v for k, v in self.progress.items() if k != "seconds_ago"}))

    def facts(self) -> dict[str, Any]:
        """All but the config, as JSON values."""
        return {
            item.name: getattr(self, item.name) for item in fields(self) if item.name != "config"
        }


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "status",
        help="show what is done, running, failed or crashed in a folder",
        description="Show the runs in a folder of results: done, running, interrupted, failed or "
        "crashed. `ablations run` with the same files finishes what is not done.",
    )
    add_results(command, positional=True)
    command.add_argument("--json", action="store_true", help="print one JSON document")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Print it; 1 where a record cannot be read."""
    refuse_fields("status", fields_set)
    one_folder(arguments)

    from ablations.config.naming import run_names
    from ablations.console.grid import TextTable

    lines, problems = read(arguments.results)
    if not lines and not problems:
        raise ConfigError(f"no runs in {arguments.results}: `ablations run` makes them")
    for problem in problems:
        screen.note(f"left out: {problem}")
    cells = run_names({line.run_id: line.config for line in lines})
    lines.sort(key=lambda line: (ORDER.index(line.state), cells[line.run_id]))
    counts = Counter(line.state for line in lines)
    if arguments.json:
        runs = [{"cell": cells[line.run_id], **line.facts()} for line in lines]
        tree = {"runs": runs, "counts": counts, "problems": problems}
        screen.out(json.dumps(tree, indent=2))
        return 1 if problems else 0
    several = len({line.config["recipe"] for line in lines}) > 1  # which names do not tell
    table = TextTable()
    for name in ("run", *["recipe"] * several, "name", "state", *NUMBERS, ""):
        table.add_column(name, justify="right" if name in NUMBERS else "left")
    for line in lines:
        table.add_row(
            line.run_id,
            *[line.config["recipe"]] * several,
            cells[line.run_id],
            line.state,
            line.where,
            "–" if line.top1 is None else f"{line.top1:.2f}",
            "–" if line.pictures_per_second is None else f"{line.pictures_per_second:.0f}",
            "" if line.seconds_left is None else format_duration(line.seconds_left),
            _remark(line),
        )
    told = ", ".join(f"{counts[state]} {state}" for state in ORDER if counts[state])
    screen.print_table(table, f"{pluralize(len(lines), 'run')}: {told}")
    return 1 if problems else 0


def _remark(line: Line) -> str:
    """Why a run failed, or who trains it and whether it is long since it gave a sign of life."""
    if line.holder:
        who = "process {pid} on {host} since {since}".format(**line.holder)
        silent = describe_stall(line.progress["seconds_ago"]) if line.progress else ""
        return f"{silent}; {who}" if silent else who
    return line.note


def read(results: Path) -> tuple[list[Line], list[str]]:
    """The runs in a folder, and a line for each record that cannot be read.

    Raises:
        RecordError: There is no such folder.
    """
    from ablations.store import leases, load, records, run_state

    placed, problems = records.read_all_records([results])
    lines = {}
    for record, where in placed:
        if trouble := load.config_problem(record.config, record.run_id, record.variant):
            problems.append(f"{where}: {trouble}")
        else:
            lines[record.run_id] = _of_record(record, results, problems)
    try:
        held = leases.active_leases(results)
    except RecordError as error:
        held = {}
        problems.append(str(error))
    problems += [holder.problem for holder in held.values() if holder.problem]
    for run_id in sorted(filter(RUN_ID.fullmatch, os.listdir(results))):
        path = results / run_id / run_state.RUN_STATE_FILE
        try:
            start = run_state.read_run_state(results, run_id)
        except RecordError as error:
            if not isinstance(error.__cause__, PermissionError):  # as of its record
                problems.append(str(error))
            continue
        if start is None or (run_id not in held and _ended(path, lines.get(run_id))):
            continue
        if trouble := load.config_problem(start.config, run_id):
            problems.append(f"{path}: {trouble}")
            continue
        lines[run_id] = _of_start(start, held.get(run_id), results, problems)
    return list(lines.values()), problems


def _ended(begun: Path, line: Line | None) -> bool:
    """Whether the record of a run tells its last start's end: what was killed just after it."""
    if line is None or line.state != "failed":
        return line is not None
    # A run that failed may have been begun again since.
    from ablations.store.records import RECORD_FILE

    return begun.with_name(RECORD_FILE).stat().st_mtime_ns >= begun.stat().st_mtime_ns


def _of_record(record: Record, results: Path, problems: list[str]) -> Line:
    from ablations.config import plugins

    note = f"{record.failure['kind']}: {record.failure['message']}" if record.failure else ""
    named = record.config.get("system", {}).get("plugins", [])
    if why := plugins.changed_mixers_on_disk(named, record.environment.get("plugins", {})):
        note = f"stale: {why}"
    line = _line(
        record.run_id, record.config, record.status, _history(record.run_id, results, problems)
    )
    top1 = line.top1 if record.metric() is None else record.metric()
    return replace(line, top1=top1, note=note)


def _of_start(start: RunState, holder: Holder | None, results: Path, problems: list[str]) -> Line:
    rows = _history(start.run_id, results, problems)
    if not holder:
        state = "interrupted" if start.stopped else "crashed"
        return _line(start.run_id, start.config, state, rows)
    line = _line(start.run_id, start.config, "running", rows)
    who = {"host": holder.host, "pid": holder.pid, "since": holder.since}
    left = None
    if rows:
        mean = sum(row.get("epoch_seconds", 0.0) for row in rows) / len(rows)
        left = _finite(mean * (line.epochs - line.epoch))
    progress = None
    if found := run_progress.read_progress(results / start.run_id):
        here, at = found
        # What was written before the last epoch ended, or by another start, says nothing.
        if here.epochs == line.epochs and here.epoch == line.epoch + 1:
            # Both times are of one clock, the file system's; a lease is touched every few seconds.
            progress = {**here.to_json(), "seconds_ago": round(max(0.0, holder.heartbeat - at), 1)}
            left = left if here.seconds_left is None else here.seconds_left
            speed = here.images_per_second or line.pictures_per_second
            line = replace(line, pictures_per_second=speed)
    shown = None if holder.problem else who
    return replace(line, holder=shown, seconds_left=left, progress=progress)


def _line(
    run_id: str, config: dict[str, Any], state: str, rows: Sequence[Mapping[str, float]]
) -> Line:
    last = rows[-1] if rows else {}
    seconds = last.get("train_seconds")
    speed = _finite(last.get("pictures", 0) / seconds) if seconds else None
    epochs = config["optim"]["epochs"] + config["optim"]["cooldown_epochs"]
    epoch, top1 = int(last.get("epoch", 0)), _finite(last.get("val/top1"))
    return Line(run_id, config, state, epoch, epochs, top1, speed)


def _finite(value: float | None) -> float | None:
    """A number that can be shown; None for one that is not finite."""
    return value if value is not None and math.isfinite(value) else None


def _history(run_id: str, results: Path, problems: list[str]) -> list[dict[str, float]]:
    """The rows of a run's history, none where it cannot be read."""
    from ablations.store import history_csv, records

    try:
        return history_csv.read_history(results / run_id / records.HISTORY_FILE)
    except RecordError as error:
        problems.append(str(error))
        return []
