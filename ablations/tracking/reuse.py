"""Reuse of finished runs: W&B's records are written to disk, and records on disk sent to W&B."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.errors import (
    ConfigError,
    DataError,
    ProjectNotFoundError,
    RecordError,
    SchemaError,
    TrackerError,
)
from ablations.store import history_csv, predictions, records, reuse_check, storage
from ablations.store.records import Record
from ablations.tracking import client, reading
from ablations.tracking.mirror import WandbTracker
from ablations.tracking.tracker import GuardedTracker

_IDS_PER_REQUEST = 200  # ids a request


def fetch_finished_runs(
    configs: Iterable[RunConfig], results: Path, here: bool = True
) -> list[Record]:
    """Write the records of runs that are finished in W&B, but not on disk, to disk.

    They are looked up in the project that the runs would be logged to, if the mode is online. If
    the server does not answer, the user is informed and nothing is reused.

    Args:
        configs: The runs.
        results: The folder of all runs.
        here: Whether they are trained on this machine, so that the precision ``auto`` is known.

    Raises:
        TrackerError: W&B refuses: no API key, no such entity.
        RecordError: The results folder cannot be written.
    """
    missing: dict[tuple[str | None, str], dict[str, RunConfig]] = {}
    for config in configs:
        try:
            known = records.find_record(results, config.run_id)
        except RecordError:
            continue  # the caller reports it
        if config.system.tracker == "wandb" and not (known and known.done):
            missing.setdefault(client.entity_and_project(config.system), {})[config.run_id] = config
    if not missing or client.mode() != "online":
        return []
    storage.check_writable(results)
    return [
        record
        for (entity, project), runs in missing.items()
        for record in _fetch(f"{entity}/{project}" if entity else project, runs, results, here)
    ]


def _fetch(path: str, runs: Mapping[str, RunConfig], results: Path, here: bool) -> Iterator[Record]:
    """Write the records of a project that are missing on disk; yields each."""
    try:
        for run in _runs(path, list(runs)):
            config = runs[run.config["run_id"]]
            known = records.find_record(results, config.run_id)
            if run.summary.get("status") not in records.DONE_STATUSES or (known and known.done):
                continue
            try:
                source = "/".join(run.path)
                record = reading.record_from_run(run, source)
                reuse_check.check_record(record, config, source, here)
            except (ConfigError, DataError, RecordError) as error:
                screen.note(f"not reused: {error}")
                continue
            if rows := reading.history_from_run(run):
                history_csv.write_history(results / record.run_id / records.HISTORY_FILE, rows)
            try:
                if found := reading.predictions_from_run(run, record):
                    predictions.save_predictions(results / record.run_id, found)
            except SchemaError as error:
                screen.note(f"reused without {source}/{predictions.PREDICTIONS_FILE}: it {error}")
            record.write(results)
            yield record
    except ProjectNotFoundError:
        return  # the first run makes the project
    except TrackerError as error:
        if not client.is_unreachable(error):
            raise
        WandbTracker.unreachable = True
        screen.note(f"{error}; nothing is reused from there")


def _runs(path: str, ids: list[str]) -> Iterator[Any]:
    api = client.api()
    for begin in range(0, len(ids), _IDS_PER_REQUEST):
        some = ids[begin : begin + _IDS_PER_REQUEST]
        yield from reading.list_runs(api, path, {"config.run_id": {"$in": some}})


def mirror_reused_run(config: RunConfig, record: Record, results: Path) -> list[Path]:
    """Log the metrics, the history and the files of a record to the run that the agent started.

    Without an agent it does nothing: W&B then has no run that waits for them.

    Returns:
        The client's folder, if it was not uploaded completely.

    Raises:
        TrackerError: W&B refuses the run.
    """
    if client.agent_run_id() is None or config.system.tracker == "none":
        return []
    if client.mode() == "disabled":
        return []
    came_from = record.tracker
    parts = [came_from.get(name) for name in ("entity", "project", "wandb")]
    if came_from.get("wandb") == client.agent_run_id():
        source = None  # the same run, started again after its record was written
    elif all(parts) and came_from.get("mode") == "online":
        source = "/".join(map(str, parts))
    else:
        source = f"record {record.run_id}, trained {'offline' if all(parts) else 'without W&B'}"
    extra = {"reused_from": source} if source else {}
    tags = ["reused"] if source else []
    tracker = GuardedTracker(WandbTracker(config, client.wandb_folder(results), {}, tags, extra))
    folder = results / record.run_id
    for row in history_csv.read_history(folder / records.HISTORY_FILE):
        tracker.log(int(row["epoch"]), {k: v for k, v in row.items() if k != "epoch"})
    names = (records.RECORD_FILE, records.HISTORY_FILE, records.PREDICTIONS_FILE)
    tracker.finish(record, [folder / name for name in names if (folder / name).is_file()])
    return [tracker.unsent] if tracker.unsent else []
