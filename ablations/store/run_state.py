"""The state of a run that has no record yet: ``<results>/<run_id>/begun.json``.

It is written when training starts and removed when the record is written. A state without a
record and without a lease means that the run was stopped, or that it crashed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ablations.config.schema import RunConfig, run_id_of, with_defaults
from ablations.errors import (
    AccessError,
    LeaseLostError,
    MissingFileError,
    RecordError,
    SchemaError,
)
from ablations.store.records import RUN_STATE_FILE, Record
from ablations.store.storage import read_file, write_atomically

LOG_FILE = "log.txt"


@dataclass(frozen=True)
class RunState:
    """The last start of a run.

    Args:
        run_id: The run.
        config: Its resolved config as JSON values.
        tracker: Ids of the W&B run; the next start continues it.
        stopped: Whether training ended by a signal or an exception. If not, it still runs or its
            process was killed.
    """

    run_id: str
    config: dict[str, Any]
    tracker: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False

    def write(self, results: Path) -> None:
        """Write ``<results>/<run_id>/begun.json``."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"
        write_atomically(results / self.run_id / RUN_STATE_FILE, text)


@contextlib.contextmanager
def track_run_state(
    config: RunConfig, results: Path, tracker: Mapping[str, Any]
) -> Iterator[Callable[[], bool]]:
    """Write the state of a run for the block; remove it afterwards, or mark it as stopped.

    Yields:
        A function: whether the state on disk is still that of this process.
    """
    state = RunState(config.run_id, config.to_json(), tracker=dict(tracker))
    state.write(results)
    try:
        yield lambda: find_run_state(results, config.run_id) == state
    except LeaseLostError:
        raise  # another process writes to the folder now
    except BaseException:
        with contextlib.suppress(OSError):  # such as a full disk: the first error reports it
            replace(state, stopped=True).write(results)
        raise
    if find_run_state(results, config.run_id) == state:
        (results / config.run_id / RUN_STATE_FILE).unlink(missing_ok=True)


def find_run_state(results: Path, run_id: str) -> RunState | None:
    """The last start of a run; None where none is known or the file is invalid."""
    try:
        return read_run_state(results, run_id)
    except RecordError:
        return None


def read_run_state(results: Path, run_id: str) -> RunState | None:
    """The last start of a run, or None where there is no file.

    Raises:
        RecordError: The file is invalid, or belongs to another run.
    """
    from ablations.store import validation

    path = results / run_id / RUN_STATE_FILE
    try:
        tree = validation.read_json(read_file(path), validation.RunStateJson)
        state = RunState(**tree | {"config": with_defaults(tree["config"])})
    except MissingFileError:
        return None
    except (SchemaError, TypeError) as error:  # TypeError: unknown fields
        raise RecordError(f"{path} is not the state of a run: {error}") from error
    if state.run_id != run_id or run_id_of(state.config) != run_id:
        raise RecordError(f"{path} is of another run")
    return state


def find_tracker_ids(results: Path, run_id: str, known: Record | None) -> dict[str, Any]:
    """The tracker ids of a run that is not done, so that its next start continues the W&B run.

    Args:
        results: The results folder.
        run_id: The run.
        known: Its record, if it has one.
    """
    if state := find_run_state(results, run_id):
        return state.tracker
    return known.tracker if known and not known.done else {}


@contextlib.contextmanager
def run_folder(results: Path, run_id: str) -> Iterator[Path]:
    """Create the folder of a run; remove it if the block fails and leaves nothing but a log.

    Raises:
        AccessError: It is a symbolic link: files must stay in the results folder.
    """
    path = results / run_id
    if path.is_symlink():
        raise AccessError(f"{path} is a symbolic link: no run is trained through one")
    path.mkdir(exist_ok=True)
    try:
        yield path
    except BaseException:
        if [file.name for file in path.iterdir()] in ([], [LOG_FILE]):
            shutil.rmtree(path, ignore_errors=True)
        raise
