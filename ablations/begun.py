"""What is known of a run before it has a record: ``<results>/<run_id>/begun.json``.

Written when a run starts and removed when its record is there. Where it is found without a record,
it tells a run that is being trained from one that was stopped and from one that crashed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ablations.config import RunConfig, id_of
from ablations.records import Record, write_atomically

FILE = "begun.json"
LOG = "log.txt"


@dataclass(frozen=True)
class Begun:
    """A start of a run.

    Args:
        run_id: The run.
        config: Its resolved config as JSON values.
        host: The machine that trains it.
        pid: The process there.
        birth: When that process began, as its system counts; tells it from a later one of its pid.
        tracker: Ids of the W&B run, so that the next start continues it.
        stopped: Whether a signal or an error ended it in an orderly way.
    """

    run_id: str
    config: dict[str, Any]
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    birth: str | None = field(default_factory=lambda: process_birth(os.getpid()))
    tracker: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False

    @property
    def state(self) -> str:
        """running, interrupted or crashed; of another machine only the file is known: running."""
        if self.stopped:
            return "interrupted"
        here = self.host == socket.gethostname()
        return "crashed" if here and not alive(self.pid, self.birth) else "running"

    def write(self, results: Path) -> None:
        """Write it beside the run's other files."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"
        write_atomically(results / self.run_id / FILE, text)


@contextlib.contextmanager
def marked(config: RunConfig, results: Path, tracker: Mapping[str, Any]) -> Iterator[None]:
    """Note that this process trains a run inside the block.

    The note is gone when the block ends well, and tells an interruption where it does not.
    """
    mark = Begun(config.run_id, config.to_json(), tracker=dict(tracker))
    mark.write(results)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # a full disk, say, is told by the error itself
            replace(mark, stopped=True).write(results)
        raise
    if read(results, config.run_id) == mark:
        (results / config.run_id / FILE).unlink(missing_ok=True)


def read(results: Path, run_id: str) -> Begun | None:
    """The last start of a run, or None where none is known."""
    try:
        start = Begun(**json.loads((results / run_id / FILE).read_text()))
        id_of(start.config), start.config["recipe"]  # KeyError where it is not whole
        return start
    except (OSError, ValueError, TypeError, KeyError):
        return None  # nothing depends on it: a run without one starts as a new one does


def tracker_ids(results: Path, run_id: str, known: Record | None) -> dict[str, Any]:
    """The tracker's ids of a run that is not done, for its next start to continue."""
    last = read(results, run_id)
    if last:
        # Two processes in one W&B run would write over each other.
        return {} if last.state == "running" else last.tracker
    return known.tracker if known and not known.done else {}


@contextlib.contextmanager
def folder(results: Path, run_id: str) -> Iterator[Path]:
    """The folder of a run, made for the block; gone again where a refusal left but a log in it."""
    path = results / run_id
    path.mkdir(exist_ok=True)
    try:
        yield path
    except BaseException:
        if [file.name for file in path.iterdir()] in ([], [LOG]):
            shutil.rmtree(path, ignore_errors=True)
        raise


def process_birth(pid: int) -> str | None:
    """When a process began, in clock ticks since its machine did; None where that is not told."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else rest[18]  # a zombie has ended


def alive(pid: int, birth: str | None) -> bool:
    """Whether a process of this machine still runs and is the one that was born then."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but alive
    return birth is None or process_birth(pid) == birth
