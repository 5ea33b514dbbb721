"""Read runs from W&B, or from its offline folders, as the records that training leaves on disk."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ablations.config.schema import restore_floats, run_id_of
from ablations.errors import RecordError, TrackerError
from ablations.store.history_csv import HISTORY_COLUMNS
from ablations.store.predictions import PREDICTIONS_FILE, Predictions, parse_predictions
from ablations.store.records import RECORD_FILE, Record
from ablations.tracking import client
from ablations.tracking.mirror import NOT_IN_SUMMARY, in_section

_PAGE_SIZE = 200  # runs a request
_RUN_ID = "run_id"  # in the config of every run of this program
_UNFINISHED = ["pending", "running", "preempting"]  # a summary may still be of an earlier start


@dataclass
class WandbRecords:
    """The records of a W&B project or folder.

    Args:
        records: A record and its source for each W&B run; several may be of one config.
        problems: A line for each run of this program that cannot be used.
        skipped: Why runs were left out -> how many: runs of other programs, unfinished runs.
    """

    records: list[tuple[Record, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, other: WandbRecords) -> None:
        """Add the records of another source."""
        self.records += other.records
        self.problems += other.problems
        self.skipped += other.skipped


def read_project(
    path: str,
    sweeps: Sequence[str] = (),
    filters: Mapping[str, Any] | None = None,
    finished: bool = False,
) -> WandbRecords:
    """The records of the runs of a W&B project.

    Args:
        path: ``entity/project``, or ``project`` of the account's own entity.
        sweeps: Ids of sweeps, to read only their runs.
        filters: W&B's filters, such as ``{"tags": "mini"}`` or ``{"config.optim.epochs": 3}``.
        finished: Whether failed runs are left out too.

    Raises:
        TrackerError: No API key, no such entity, project or sweep, a server that does not answer.
    """
    client.split_path(path)
    api, asked = client.api(), dict(filters or {})
    if sweeps:
        for sweep in sweeps:
            with client.client_errors(f"sweep {path}/{sweep}"):
                api.sweep(f"{path}/{sweep}")
        of_sweeps = {"sweep": {"$in": list(sweeps)}}
        asked = {"$and": [asked, of_sweeps]} if asked else of_sweeps
    found = WandbRecords()
    for run in list_runs(api, path, asked):
        source = "/".join(run.path)
        if _RUN_ID not in run.config:
            found.skipped["runs without our config"] += 1
        elif run.state in _UNFINISHED:
            found.skipped[f"runs that have not ended ({run.state})"] += 1
        elif "status" not in run.summary:
            found.skipped[f"runs that ended without a record ({run.state})"] += 1
        else:
            _add_record(found, partial(record_from_run, run, source), finished, source)
    return found


def _add_record(
    found: WandbRecords, read: Callable[[], Record], finished: bool, source: str
) -> None:
    try:
        record = read()
    except RecordError as error:
        found.problems.append(str(error))
        return
    if finished and not record.done:
        found.skipped["failed runs"] += 1
    else:
        found.records.append((record, source))


def list_runs(api: Any, path: str, filters: Mapping[str, Any]) -> list[Any]:
    """The runs of a project with their configs and summaries, oldest first.

    Raises:
        TrackerError: There is no such project, or the server does not answer.
    """
    with client.client_errors(f"project {path}"):
        return list(api.runs(path, filters=dict(filters), per_page=_PAGE_SIZE, lazy=False))


def record_from_run(run: Any, source: str) -> Record:
    """The record in the config and the summary of a W&B run.

    Raises:
        RecordError: The summary is not a record, or the config does not match the run's id because
            it was changed after the run.
    """
    config = run.config.get("resolved") or run.config
    if not isinstance(config, Mapping):
        raise RecordError(f"{source} has a config that is no mapping")
    summary = _to_json(run.summary)
    names = Record.__dataclass_fields__.keys() - NOT_IN_SUMMARY
    groups = ("model", "data", "optim", "system", "seed", "recipe")
    tree = {name: summary[name] for name in names if name in summary} | {
        "run_id": run.config[_RUN_ID],
        "config": {name: config[name] for name in groups if name in config},
        "tracker": {
            "wandb": run.id,
            "entity": run.entity,
            "project": run.project,
            "mode": "online",
            "sweep": getattr(run.sweep, "id", None),
        },
    }
    record = Record.of(tree, source)
    try:
        restored = restore_floats(record.config)
        same = run_id_of(restored) == record.run_id
    except (KeyError, TypeError, ValueError):
        same = False
    if not same:
        raise RecordError(f"{source} has a config that is not that of its run_id {record.run_id}")
    return replace(record, config=restored)


def _to_json(value: Any) -> Any:
    """A summary, which has a mapping type of the client, as plain JSON values."""
    if isinstance(value, Mapping) or hasattr(value, "keys"):
        return {name: _to_json(value[name]) for name in value.keys()}  # noqa: SIM118
    return value


def history_from_run(run: Any) -> list[dict[str, float]]:
    """A run's history as in its ``history.csv``; the last row of an epoch that has several.

    Rows without the columns of a history are left out: anybody may log to a run.

    Raises:
        TrackerError: The server does not answer.
    """
    rows: dict[int, dict[str, float]] = {}
    with client.client_errors():
        for row in run.scan_history():
            try:  # numbers that are not finite come as words
                numbers = {name: _number(row[in_section(name)]) for name in HISTORY_COLUMNS}
            except (KeyError, TypeError, ValueError):
                continue
            rows[int(numbers["epoch"])] = numbers
    return [rows[epoch] for epoch in sorted(rows)]


def predictions_from_run(run: Any, record: Record) -> Predictions | None:
    """The predictions of a run; None where it has none, as runs of older versions.

    Args:
        run: The W&B run.
        record: Its record.

    Raises:
        SchemaError: Its file is damaged, or does not belong to the record.
        TrackerError: The server does not answer.
    """
    with client.client_errors(), tempfile.TemporaryDirectory() as folder:
        for file in run.files([PREDICTIONS_FILE]):
            file.download(folder).close()
        path = Path(folder, PREDICTIONS_FILE)
        content = path.read_bytes() if path.exists() else None
    return None if content is None else parse_predictions(content, record)


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) else float(value)


def read_offline(folder: Path) -> WandbRecords:
    """The records of offline runs: of ``offline-run-*`` in a folder, or of one of them.

    Raises:
        TrackerError: There is no offline run in the folder.
    """
    single = folder.name.startswith(("offline-run-", "run-"))
    folders = [folder] if single else sorted([*folder.glob("offline-run-*"), *folder.glob("run-*")])
    folders = [source for source in folders if source.is_dir()]
    if not folders:
        raise TrackerError(f"no offline runs of W&B in {folder}: give a folder that has some")
    found = WandbRecords()
    for source in folders:
        file = source / "files" / RECORD_FILE
        if file.is_file():
            _add_record(found, partial(Record.read, file), False, str(source))
        else:
            found.skipped["runs without a record of ours"] += 1
    return found
