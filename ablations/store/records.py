"""Record: one run, one JSON file. Everything a reader sees is computed from these alone.

A run is done when ``<results>/<run_id>/record.json`` is there: it is written last, whole, by an
atomic rename. Beside it lie ``history.csv`` (a line an epoch), the checkpoint and the log.
"""

from __future__ import annotations

import csv
import errno
import functools
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ablations.config.schema import RUN_ID, variant_key
from ablations.errors import AccessError, RecordError, SchemaError
from ablations.machine import files
from ablations.machine.files import PARTIAL

SCHEMA_VERSION = 1
RECORD_FILE = "record.json"
HISTORY_FILE = "history.csv"
RUN_STATE_FILE = "begun.json"  # what is known of a run before it has a record
PROGRESS_FILE = "progress.json"  # how far a process is that trains the run
CHECKPOINT_FILE = "last.ckpt"  # to resume from; gone once the record is there
BROKEN_CHECKPOINT_FILE = "last.broken"  # one that could not be read
WEIGHTS_FILE = "weights.pt"  # the model's state dict after the last epoch
# Of a row an epoch: losses are means over the epoch, accuracies percent, seconds wall time.
HISTORY_COLUMNS = ["epoch", "train/loss", "lr", "val/top1", "val/top5", "val/loss", "pictures"]
HISTORY_COLUMNS += ["train_seconds", "epoch_seconds"]
_NUMBER = re.compile(r"-?(nan|inf|[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?)")  # as Python writes them
STATUSES = ["finished", "diverged", "failed"]
DONE_STATUSES = ["finished", "diverged"]  # divergence is a result


LocatedRecord = tuple["Record", str]  # a record and the file or address that it comes from


@dataclass(frozen=True)
class Record:
    """What is known of one run.

    Args:
        run_id: The id of its config.
        status: finished, diverged or failed.
        config: The resolved RunConfig as JSON values.
        metrics: ``{"val/top1": {"last": 81.2, "best": 81.9}, ...}``, accuracies in percent.
        cost: ``params`` and ``frozen_params`` (counts), ``macs`` (a picture, forward, fvcore) and
            ``image_size``; under ``paper`` the same for the variant at the paper's size.
        timing: Seconds and pictures a second.
        data: ``fingerprint``, ``classes``, and the sizes of both splits.
        environment: Commit, versions, device, precision, threads, versions of plugins' mixers.
        tracker: Ids of the W&B run, where there is one.
        failure: On ``failed``: ``kind`` (one of ``failures.FAILURE_KINDS``) and ``message``.
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
        """What its run shares with those of other seeds, as canonical JSON."""
        return variant_key(self.config)

    @property
    def done(self) -> bool:
        """Whether the run needs no more training."""
        return self.status in DONE_STATUSES

    def metric(self, name: str = "val/top1", which: str = "last") -> float | None:
        """A metric's ``last`` or ``best`` value, None where the run has none."""
        return self.metrics.get(name, {}).get(which)

    def write(self, results: Path) -> Path:
        """Write to ``<results>/<run_id>/record.json``, whole or not at all."""
        path = results / self.run_id / RECORD_FILE
        write_atomically(path, json.dumps(asdict(self), indent=2, sort_keys=True) + "\n")
        return path

    @staticmethod
    def read(path: str | Path) -> Record:
        """The record in a file.

        Raises:
            RecordError: No JSON, an unknown schema version, or fields that are missing or odd.
        """
        from ablations.store import validation

        try:
            content = files.read_regular(path)
            return _validated_record(
                validation.parse_json(content, validation.RecordJson), content, str(path)
            )
        except OSError as error:
            raise access_error(path, error) from error
        except SchemaError as error:
            raise RecordError(f"{path} is not a record: {error}") from error

    @staticmethod
    def of(tree: Any, path: str) -> Record:
        """The record that JSON values describe.

        Args:
            tree: The values.
            path: Where they come from, for the message.

        Raises:
            RecordError: An unknown schema version, or fields that are missing or odd.
        """
        try:
            return _validated_record(tree, json.dumps(tree).encode(), path)
        except (TypeError, RecursionError) as error:
            raise RecordError(f"{path} is not a record: {error}") from error


def _validated_record(tree: Any, content: bytes, path: str) -> Record:
    """The record that values and their JSON are."""
    from ablations.store import validation

    version = tree.get("schema") if isinstance(tree, dict) else None
    if type(version) is not int or version != SCHEMA_VERSION:
        raise RecordError(
            f"{path} has schema version {version!r}, this program reads {SCHEMA_VERSION}"
        )
    if odd := tree.keys() - _FIELD_NAMES:
        raise RecordError(f"{path} has the unknown field {min(odd)!r}")
    try:
        validation.validate_json(content, validation.RecordJson)
    except SchemaError as error:
        raise RecordError(f"{path}: {error}") from error
    return Record(**tree)


NO_SPACE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP)
_FIELD_NAMES = {item.name for item in fields(Record)}


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def find_leftovers(folder: Path) -> list[Path]:
    """Halves of files, and the position, that a killed process left in the folder of a run."""
    return [*folder.glob(f"*{PARTIAL}"), *folder.glob(PROGRESS_FILE)]


def remove_leftovers(folder: Path) -> None:
    """Remove them; for who has the run's lease, so that nobody is writing one."""
    for path in find_leftovers(folder):
        path.unlink(missing_ok=True)


def storage_error(error: BaseException | None, folder: Path) -> OSError | AccessError | None:
    """The full disk, or the file that this user may not touch, behind an error; None for others.

    It is no outcome of a run: no record tells it, and the next start goes on.

    Args:
        error: The error.
        folder: Of the run. A file elsewhere, of the images, say, is not meant.
    """
    ours = Path(os.path.abspath(folder))
    while error is not None:
        if isinstance(error, OSError):
            if error.errno in NO_SPACE_ERRORS:
                return OSError(error.errno, os.strerror(error.errno), str(folder))
            where = Path(os.path.abspath(os.fsdecode(error.filename or "")))
            if error.errno in _NO_ACCESS_ERRORS and where.is_relative_to(ours):
                return access_error(error.filename, error)
        error = error.__cause__ or error.__context__
    return None


def check_writable(results: Path) -> None:
    """Create the results folder.

    Raises:
        RecordError: It cannot be created or written.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise RecordError(
            f"results folder {results} cannot be written ({error.strerror}): choose another with "
            "--results DIR"
        ) from error


PREVIOUS_FOLDER = "previous"  # folder of the record and history of a cell that is trained once more


def move_to_previous(results: Path, run_id: str) -> None:
    """Make room for a cell to be trained once more; what it has is kept until that is done."""
    folder = results / run_id
    (folder / PREVIOUS_FOLDER).mkdir(exist_ok=True)
    for name in (HISTORY_FILE, RECORD_FILE):
        if (folder / name).is_file():
            os.replace(folder / name, folder / PREVIOUS_FOLDER / name)


def write_or_restore(results: Path, record: Record) -> None:
    """Write a record in place of what was set aside; a failed one gives way to that instead."""
    folder = results / record.run_id
    aside = folder / PREVIOUS_FOLDER
    if not record.done and (aside / RECORD_FILE).is_file():
        for name in (HISTORY_FILE, RECORD_FILE):
            if (aside / name).is_file():
                os.replace(aside / name, folder / name)
    else:
        record.write(results)
    shutil.rmtree(aside, ignore_errors=True)


def has_interrupted_move(results: Path, run_id: str) -> bool:
    """Whether a process was killed while it moved what a run had before it was trained again."""
    folder = results / run_id
    # Not Path.is_dir: another user's folder, which cannot be looked into, is none of ours.
    return os.path.isdir(folder / PREVIOUS_FOLDER) and (
        (folder / RECORD_FILE).is_file() or _is_half_restored(folder)
    )


def finish_interrupted_move(results: Path, run_id: str) -> None:
    """Undo half of a ``set_aside``, finish half of a ``replace``; for who has the run's lease."""
    folder = results / run_id
    aside = folder / PREVIOUS_FOLDER
    if not has_interrupted_move(results, run_id):
        return
    if not (aside / RECORD_FILE).is_file() and (aside / HISTORY_FILE).is_file():
        os.replace(aside / HISTORY_FILE, folder / HISTORY_FILE)  # the record had not been moved yet
    if not (folder / RECORD_FILE).is_file():
        os.replace(aside / RECORD_FILE, folder / RECORD_FILE)
    shutil.rmtree(aside, ignore_errors=True)


def files_of_unfinished_cleanup(results: Path, run_id: str) -> list[Path]:
    """What a process left that was killed just after it had written the record of a run."""
    folder = results / run_id
    if not os.path.isfile(folder / RECORD_FILE):
        return []
    return [
        folder / name for name in (CHECKPOINT_FILE, RUN_STATE_FILE) if os.path.isfile(folder / name)
    ]


def _is_half_restored(folder: Path) -> bool:
    """Whether the record is still to follow its history; a checkpoint is of a training to go on."""
    aside = folder / PREVIOUS_FOLDER
    others = (aside / HISTORY_FILE, folder / RECORD_FILE, folder / CHECKPOINT_FILE)
    return (aside / RECORD_FILE).is_file() and not any(path.is_file() for path in others)


def find_record(results: Path, run_id: str) -> Record | None:
    """The record of a run, or None where it has none, or where that is no run's id.

    Raises:
        RecordError: It has one that cannot be read, or that is not of this run.
    """
    if not RUN_ID.fullmatch(run_id):
        return None  # such as a path to somewhere else
    path = results / run_id / RECORD_FILE
    try:
        record = Record.read(path)
    except RecordError as error:
        if isinstance(error.__cause__, OSError) and not file_exists(error.__cause__):
            return None
        raise
    if record.run_id != run_id:
        raise RecordError(f"{path} is of another run, {record.run_id}")
    return record


FileStamp = tuple[int, int]


def record_stamp(results: Path, run_id: str) -> FileStamp | None:
    """What tells the record on disk from a later one; None where there is none."""
    try:
        found = (results / run_id / RECORD_FILE).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def access_error(path: object, error: OSError) -> AccessError:
    """What to tell of a file that cannot be read, or be written."""
    return AccessError(f"{path}: {(error.strerror or 'it cannot be read').lower()}")


def file_exists(error: OSError) -> bool:
    """Whether there is a file that cannot be read, and not none."""
    return error.errno not in (errno.ENOENT, errno.ENOTDIR)


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """A CSV line an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history, none where there is no file.

    Raises:
        RecordError: It cannot be read, or has a row of another length, a cell that is not a number
            or an epoch that does not follow the one before.
    """
    try:
        lines = files.read_regular(path).decode().splitlines()
        header, *cells = [row for row in csv.reader(lines, strict=True) if row] or [["epoch"]]
        rows = [
            {name: _parse_number(value) for name, value in zip(header, row, strict=True)}
            for row in cells
        ]
        epochs = [row["epoch"] for row in rows]
        if len(set(header)) < len(header) or "epoch" not in header:
            raise ValueError(f"its columns are {', '.join(header)[:80]}")
        if any(not isinstance(epoch, int) or epoch < 1 for epoch in epochs):
            raise ValueError("an epoch is no number from 1")
        if epochs != sorted(set(epochs)):
            raise ValueError("its epochs do not rise")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise access_error(path, error) from error
    except KeyError:
        raise RecordError(f"{path} is not a history: it has no epochs") from None
    except (ValueError, csv.Error) as error:
        raise RecordError(f"{path} is not a history: {error}") from error
    return rows


def _parse_number(text: str) -> float:
    """A number as it was written: whole ones without a point."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    return int(text) if text.removeprefix("-").isdigit() and len(text) < 19 else float(text)


def read_records(folders: Iterable[Path]) -> tuple[list[Record], list[str]]:
    """The records in folders of results, one a run id, and a line for each that cannot be used.

    Raises:
        RecordError: A folder does not exist.
    """
    found, problems = read_all_records(folders)
    merged, differing = merge_records(found)
    return [record for record, _ in merged], problems + differing


def read_all_records(folders: Iterable[Path]) -> tuple[list[LocatedRecord], list[str]]:
    """All records in folders of results with their files, and a line for each that is none.

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
            except RecordError as error:
                why = error.__cause__
                # Folders of others, such as lost+found, are nobody's runs.
                if not isinstance(why, OSError) or (file_exists(why) and RUN_ID.fullmatch(name)):
                    problems.append(str(error))
    return found, problems


def _contradiction(one: Record, other: Record) -> str | None:
    """In what two done records of one run id contradict each other; None where they agree."""
    both = {
        "metrics": (one.metrics, other.metrics),
        "status": (one.status, other.status),
        "images": tuple(each.data.get("fingerprint") for each in (one, other)),
        "precision": tuple(each.environment.get("precision") for each in (one, other)),
    }
    contents = {each.data.get("contents") for each in (one, other)} - {None}
    if len(contents) > 1:  # older records have none
        return "images"
    return next((name for name, (mine, theirs) in both.items() if mine != theirs), None)


def merge_records(found: Iterable[LocatedRecord]) -> tuple[list[LocatedRecord], list[str]]:
    """One record a run id, and a line for each that contradicts another.

    A done record wins over a failed one. Two done ones that agree are one; one that has other
    metrics, status, pictures or precision than the first is told, not averaged.

    Args:
        found: Records and where they come from.
    """
    first: dict[str, LocatedRecord] = {}
    problems = []
    for record, place in found:
        known = first.get(record.run_id)
        if known is None or (record.done and not known[0].done):
            first[record.run_id] = (record, place)
        elif record.done and (odd := _contradiction(known[0], record)):
            told = f"{place} differs from {known[1]} in its {odd}"
            problems.append(f"{told}; both have one run_id, and the second is shown")
    return list(first.values()), problems
