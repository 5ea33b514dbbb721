"""What is known of a run before it has a record: ``<results>/<run_id>/begun.json``.

Written when a run starts and removed when its record is there. Where it is found without a record,
nobody having the run's lease, it tells a run that was stopped from one that crashed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ablations.config.schema import RunConfig, run_id_of
from ablations.errors import AccessError, LeaseLostError, RecordError, SchemaError
from ablations.machine import files
from ablations.store import records
from ablations.store.records import Record, access_error, write_atomically

RUN_STATE_FILE = records.RUN_STATE_FILE
LOG_FILE = "log.txt"


@dataclass(frozen=True)
class RunState:
    """A start of a run.

    Args:
        run_id: The run.
        config: Its resolved config as JSON values.
        tracker: Ids of the W&B run, so that the next start continues it.
        stopped: Whether a signal or an error ended it in an orderly way.
    """

    run_id: str
    config: dict[str, Any]
    tracker: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False

    def write(self, results: Path) -> None:
        """Write it beside the run's other files."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"
        write_atomically(results / self.run_id / RUN_STATE_FILE, text)


@contextlib.contextmanager
def track_run_state(
    config: RunConfig, results: Path, tracker: Mapping[str, Any]
) -> Iterator[Callable[[], bool]]:
    """Note that this process trains a run inside the block; tells whether the note is still there.

    The note is gone when the block ends well, and tells an interruption where it does not.
    """
    mark = RunState(config.run_id, config.to_json(), tracker=dict(tracker))
    mark.write(results)
    try:
        yield lambda: find_run_state(results, config.run_id) == mark
    except LeaseLostError:
        raise  # the folder is another process's now
    except BaseException:
        with contextlib.suppress(OSError):  # a full disk, say, is told by the error itself
            replace(mark, stopped=True).write(results)
        raise
    if find_run_state(results, config.run_id) == mark:
        (results / config.run_id / RUN_STATE_FILE).unlink(missing_ok=True)


def find_run_state(results: Path, run_id: str) -> RunState | None:
    """The last start of a run, or None where none is known."""
    try:
        return read_run_state(results, run_id)
    except RecordError:
        return None  # nothing depends on it: a run without one starts as a new one does


def read_run_state(results: Path, run_id: str) -> RunState | None:
    """The same, for who tells what is wrong.

    Raises:
        RecordError: There is a file that is not of a start of the run.
    """
    from ablations.store import validation

    path = results / run_id / RUN_STATE_FILE
    try:
        start = RunState(**validation.read_json(files.read_regular(path), validation.RunStateJson))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise access_error(path, error) from error
    except (SchemaError, TypeError) as error:  # TypeError: it has other fields too
        raise RecordError(f"{path} is not of a start: {error}") from error
    if start.run_id != run_id or run_id_of(start.config) != run_id:
        raise RecordError(f"{path} is of another run")
    return start


def find_tracker_ids(results: Path, run_id: str, known: Record | None) -> dict[str, Any]:
    """The tracker's ids of a run that is not done, for its next start to continue."""
    last = find_run_state(results, run_id)
    if last:
        return last.tracker
    return known.tracker if known and not known.done else {}


@contextlib.contextmanager
def run_folder(results: Path, run_id: str) -> Iterator[Path]:
    """The folder of a run, made for the block; gone again where a refusal left but a log in it.

    Raises:
        AccessError: It is a link: what is written here is to stay in the folder of results.
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
