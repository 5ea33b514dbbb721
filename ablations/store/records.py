"""Records: one JSON file per run. Tables, plots and reports are computed from these alone.

A run is done when ``<results>/<run_id>/record.json`` is there: it is written last, in one atomic
rename. The same folder holds ``history.csv`` (one line per epoch), the checkpoint and the log.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ablations.config.schema import RUN_ID, variant_key, with_defaults
from ablations.errors import AccessError, MissingFileError, RecordError, SchemaError
from ablations.store.storage import read_file, write_atomically

SCHEMA_VERSION = 1
# Files in the folder of a run.
RECORD_FILE = "record.json"
HISTORY_FILE = "history.csv"
RUN_STATE_FILE = "begun.json"  # the state of a run that has no record yet
PROGRESS_FILE = "progress.json"  # how far the process that trains the run is
CHECKPOINT_FILE = "last.ckpt"  # to resume from; removed once the record is written
BROKEN_CHECKPOINT_FILE = "last.broken"  # a checkpoint that could not be read
WEIGHTS_FILE = "weights.pt"  # the model's state dict after the last epoch
PREDICTIONS_FILE = "predictions.npz"  # what it predicted for the validation images

STATUSES = ["finished", "diverged", "failed"]
DONE_STATUSES = ["finished", "diverged"]  # divergence is a result

LocatedRecord = tuple["Record", str]  # a record, and the file or address it comes from
FileStamp = tuple[int, int]


@dataclass(frozen=True)
class Record:
    """The result of one run.

    Args:
        run_id: The id of its config.
        status: finished, diverged or failed.
        config: The resolved RunConfig as JSON values.
        metrics: ``{"val/top1": {"last": 81.2, "best": 81.9}, ...}``, accuracies in percent.
        cost: ``params`` and ``frozen_params`` (counts), ``macs`` (per image, forward, fvcore) and
            ``image_size``; under ``paper`` the same for the variant at the paper's size.
        timing: Seconds, and images per second.
        data: ``fingerprint``, ``classes``, and the sizes of both splits.
        environment: Commit, versions, device, precision, threads, versions of plugins.
        tracker: Ids of the W&B run, if there is one.
        failure: On ``failed``: ``kind`` (an ``errors.FailureKind``) and ``message``.
        schema: The version of this schema.
    """

    run_id: str
    status: str
    config: dict[str, Any]
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    tracker: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, str] | None = None
    schema: int = SCHEMA_VERSION

    @functools.cached_property
    def variant(self) -> str:
        """The config without its seed, as canonical JSON: equal for all seeds of a variant."""
        return variant_key(self.config)

    @property
    def done(self) -> bool:
        """Whether the run needs no more training."""
        return self.status in DONE_STATUSES

    def metric(self, name: str = "val/top1", which: str = "last") -> float | None:
        """The ``last`` or ``best`` value of a metric; None where the run has none."""
        return self.metrics.get(name, {}).get(which)

    def write(self, results: Path) -> Path:
        """Write ``<results>/<run_id>/record.json``, completely or not at all."""
        path = results / self.run_id / RECORD_FILE
        write_atomically(path, json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")
        return path

    @staticmethod
    def read(path: str | Path) -> Record:
        """The record in a file.

        Raises:
            RecordError: Not JSON, an unknown schema version, or missing or invalid fields.
        """
        return _parse_record(read_file(path), path)

    @staticmethod
    def of(tree: Any, path: str) -> Record:
        """The record that JSON values describe.

        Args:
            tree: The values.
            path: Their origin, for messages.

        Raises:
            RecordError: An unknown schema version, or missing or invalid fields.
        """
        try:
            return _parse_record(json.dumps(tree).encode(), path)
        except (TypeError, RecursionError) as error:
            raise RecordError(f"{path} is not a record: {error}") from error


def _parse_record(content: bytes, path: str | Path) -> Record:
    """The record of a JSON text; its origin is for messages."""
    from ablations.store import validation

    try:
        tree = validation.parse_json(content, validation.RecordJson)
    except SchemaError as error:
        raise RecordError(f"{path} is not a record: {error}") from error
    version = tree.get("schema") if isinstance(tree, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema version {version!r}, this program reads {SCHEMA_VERSION}"
        )
    if unknown := tree.keys() - Record.__dataclass_fields__:
        raise RecordError(f"{path} has the unknown field {min(unknown)!r}")
    try:
        validation.validate_json(content, validation.RecordJson)
    except SchemaError as error:
        raise RecordError(f"{path}: {error}") from error
    return Record(**tree | {"config": with_defaults(tree["config"])})


def find_record(results: Path, run_id: str) -> Record | None:
    """The record of a run; None where it has none, or where ``run_id`` is not a run id.

    Raises:
        RecordError: The record cannot be read, or belongs to another run.
    """
    if not RUN_ID.fullmatch(run_id):
        return None  # for example a path to another folder
    path = results / run_id / RECORD_FILE
    try:
        record = Record.read(path)
    except MissingFileError:
        return None
    if record.run_id != run_id:
        raise RecordError(f"{path} is of another run, {record.run_id}")
    return record


def record_stamp(results: Path, run_id: str) -> FileStamp | None:
    """Identifies the version of a record on disk; None where there is none."""
    try:
        found = (results / run_id / RECORD_FILE).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def read_records(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """One record per run id, and a line for each record that cannot be used.

    Raises:
        RecordError: A folder does not exist.
    """
    found, problems = read_all_records(folders)
    merged, contradictions = merge_records(found)
    return [record for record, _ in merged], problems + contradictions


def read_all_records(folders: Iterable[Path]) -> tuple[list[LocatedRecord], list[str]]:
    """All records in results folders with their files, and a line for each unreadable record.

    Raises:
        RecordError: A folder does not exist.
    """
    found, problems = [], []
    for folder in folders:
        if not folder.is_dir():
            raise RecordError(f"no folder {folder}: give one that `ablations run` has filled")
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name, RECORD_FILE)
            try:
                found.append((Record.read(path), path))
            except MissingFileError:
                continue
            except RecordError as error:
                # Unreadable folders such as lost+found are not runs.
                if RUN_ID.fullmatch(name) or not isinstance(error, AccessError):
                    problems.append(str(error))
    return found, problems


def merge_records(found: Iterable[LocatedRecord]) -> tuple[list[LocatedRecord], list[str]]:
    """One record per run id, and a line for each record that contradicts the one that is kept.

    A done record wins over a failed one. Of two done records of a run the first is kept; a
    different metric, status, data set or precision in the second is reported.

    Args:
        found: Records and their origins.
    """
    kept: dict[str, LocatedRecord] = {}
    problems = []
    for record, origin in found:
        known = kept.get(record.run_id)
        if known is None or (record.done and not known[0].done):
            kept[record.run_id] = (record, origin)
        elif record.done and (name := _contradiction(known[0], record)):
            problems.append(
                f"{origin} differs from {known[1]} in its {name} and is ignored: both are of run "
                f"{record.run_id}"
            )
    return list(kept.values()), problems


def _contradiction(one: Record, other: Record) -> str | None:
    """What differs between two done records of one run id; None where they agree."""
    contents = {each.data.get("contents") for each in (one, other)} - {None}
    if len(contents) > 1:  # records of older versions have no contents
        return "images"
    pairs = {
        "metrics": (one.metrics, other.metrics),
        "status": (one.status, other.status),
        "images": tuple(each.data.get("fingerprint") for each in (one, other)),
        "precision": tuple(each.environment.get("precision") for each in (one, other)),
    }
    return next((name for name, (first, second) in pairs.items() if first != second), None)
