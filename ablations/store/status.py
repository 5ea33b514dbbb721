"""The state of every run in a results folder, also while other processes train there."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablations.config import plugins
from ablations.config.schema import RUN_ID
from ablations.errors import RecordError
from ablations.store import history_csv, leases, load, records, run_progress, run_state
from ablations.store.leases import Holder
from ablations.store.predictions import load_predictions
from ablations.store.records import Record
from ablations.store.run_progress import RunProgress
from ablations.store.run_state import RunState

# In the order in which `ablations status` lists them.
STATES = ["running", "crashed", "interrupted", "failed", "diverged", "finished"]


@dataclass(frozen=True)
class RunStatus:
    """The state of one run.

    Args:
        run_id: The run.
        config: Its config as JSON values.
        state: One of ``STATES``: the status of its record; without one running, interrupted or
            crashed.
        epoch: The last epoch in its history.
        epochs: The number of epochs of the whole run.
        top1: Accuracy after that epoch, in percent.
        images_per_second: Training speed in that epoch.
        seconds_left: Until a running run ends, estimated from its epochs so far.
        holder: The process that trains the run.
        progress: The position of a running run within its epoch.
        progress_age: Seconds since that position was written.
        note: Why the run failed, or why its record is stale.
    """

    run_id: str
    config: dict[str, Any]
    state: str
    epoch: int
    epochs: int
    top1: float | None
    images_per_second: float | None = None
    seconds_left: float | None = None
    holder: Holder | None = None
    progress: RunProgress | None = None
    progress_age: float = 0.0
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """All but the config, as JSON values."""
        holder, progress = self.holder, self.progress
        return {
            "run_id": self.run_id,
            "state": self.state,
            "epoch": self.epoch,
            "epochs": self.epochs,
            "top1": self.top1,
            "pictures_per_second": self.images_per_second,
            "seconds_left": self.seconds_left,
            "holder": holder and {"host": holder.host, "pid": holder.pid, "since": holder.since},
            "progress": progress and {**progress.to_json(), "seconds_ago": self.progress_age},
            "note": self.note,
        }


def read_status(results: Path) -> tuple[list[RunStatus], list[str]]:
    """The status of each run in a results folder, and a line for each file that is left out.

    Raises:
        RecordError: The folder does not exist.
    """
    located, problems = records.read_all_records([results])
    found = {}
    for record, file in located:
        if problem := load.config_problem(record.config, record.run_id, record.variant):
            problems.append(f"{file}: {problem}")
        else:
            found[record.run_id] = _status_of_record(record, results, problems)
    try:
        holders = leases.active_leases(results)
    except RecordError as error:
        holders = {}
        problems.append(str(error))
    problems += [holder.problem for holder in holders.values() if holder.problem]
    for run_id in filter(RUN_ID.fullmatch, sorted(os.listdir(results))):
        path = results / run_id / records.RUN_STATE_FILE
        try:
            state = run_state.read_run_state(results, run_id)
        except RecordError as error:
            # A folder without permission is already among the problems, for its record.
            if not isinstance(error.__cause__, PermissionError):
                problems.append(str(error))
            continue
        if state is None or (run_id not in holders and _is_superseded(path, found.get(run_id))):
            continue
        if problem := load.config_problem(state.config, run_id):
            problems.append(f"{path}: {problem}")
        else:
            found[run_id] = _status_of_run_state(state, holders.get(run_id), results, problems)
    return list(found.values()), problems


def _is_superseded(state_file: Path, recorded: RunStatus | None) -> bool:
    """Whether the run's record is newer than its run state.

    A process that is killed after it has written the record leaves both. Only a failed run can be
    started again without the record being moved first.
    """
    if recorded is None or recorded.state != "failed":
        return recorded is not None
    record_file = state_file.with_name(records.RECORD_FILE)
    return record_file.stat().st_mtime_ns >= state_file.stat().st_mtime_ns


def _status_of_record(record: Record, results: Path, problems: list[str]) -> RunStatus:
    note = f"{record.failure['kind']}: {record.failure['message']}" if record.failure else ""
    named = record.config.get("system", {}).get("plugins", [])
    if why := plugins.changed_mixers_on_disk(named, record.environment.get("plugins", {})):
        note = f"stale: {why}"
    status = _status(record, record.status, results, problems)
    try:
        load_predictions(results / record.run_id, record)
    except RecordError as error:
        problems.append(str(error))
    top1 = record.metric()
    return replace(status, top1=status.top1 if top1 is None else top1, note=note)


def _status_of_run_state(
    state: RunState, holder: Holder | None, results: Path, problems: list[str]
) -> RunStatus:
    if holder is None:
        return _status(state, "interrupted" if state.stopped else "crashed", results, problems)
    status = _status(state, "running", results, problems)
    if not holder.problem:
        status = replace(status, holder=holder)
    progress, written = run_progress.read_progress(results / state.run_id) or (None, 0.0)
    # Ignore a file from before the last epoch ended, or from an earlier start.
    if not progress or (progress.epochs, progress.epoch) != (status.epochs, status.epoch + 1):
        return status
    left = progress.seconds_left
    return replace(
        status,
        images_per_second=progress.images_per_second or status.images_per_second,
        seconds_left=status.seconds_left if left is None else left,
        progress=progress,
        # Both times are the file system's; a lease is touched every few seconds.
        progress_age=round(max(0.0, holder.heartbeat - written), 1),
    )


def _status(run: Record | RunState, state: str, results: Path, problems: list[str]) -> RunStatus:
    """The status of a run by its history; one that cannot be read is added to ``problems``."""
    try:
        history = history_csv.read_history(results / run.run_id / records.HISTORY_FILE)
    except RecordError as error:
        problems.append(str(error))
        history = []
    last = history[-1] if history else {}
    seconds, left = last.get("train_seconds"), None
    speed = _finite(last.get("pictures", 0) / seconds) if seconds else None
    epochs = run.config["optim"]["epochs"] + run.config["optim"]["cooldown_epochs"]
    epoch, top1 = int(last.get("epoch", 0)), _finite(last.get("val/top1"))
    if history and state == "running":
        mean = sum(row.get("epoch_seconds", 0.0) for row in history) / len(history)
        left = _finite(mean * (epochs - epoch))
    return RunStatus(run.run_id, run.config, state, epoch, epochs, top1, speed, left)


def _finite(value: float | None) -> float | None:
    """The value, or None where it is NaN or infinite."""
    return value if value is not None and math.isfinite(value) else None
