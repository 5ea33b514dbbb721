"""What a cell needs of a folder of results on a node that does not see it, and what comes back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from ablations.machine.files import PARTIAL
from ablations.store import records
from ablations.store.run_state import LOG_FILE
from ablations.store.run_state import RUN_STATE_FILE as BEGUN

Files = dict[str, bytes]  # path below a folder of results -> content
# Of a run, what its next start goes on from. Weights are not: they follow from a checkpoint.
NEEDED = [records.RECORD_FILE, records.HISTORY_FILE, BEGUN, LOG_FILE, records.CHECKPOINT_FILE]
NEEDED += [
    f"{records.PREVIOUS_FOLDER}/{name}" for name in (records.RECORD_FILE, records.HISTORY_FILE)
]
LOOK_SECONDS = 5.0
CHECKPOINT_SECONDS = 60.0  # between two of a cell's checkpoints, which may have gigabytes


def needed(results: Path, run_id: str) -> Files:
    """What a start of a run goes on from, as far as it is there."""
    return _read(results, (results / run_id / name for name in NEEDED))


def whole(results: Path) -> Files:
    """All files of a folder of results, but for those that are not whole and those of leases."""
    paths = (path for path in results.rglob("*") if path.is_file() and not path.is_symlink())
    return _read(results, (path for path in paths if not _passing(path.relative_to(results))))


def _passing(path: Path) -> bool:
    return path.parts[0].startswith(".") or path.name.endswith(PARTIAL)


def _read(results: Path, paths: Iterable[Path]) -> Files:
    files: Files = {}
    for path in paths:
        try:
            files[path.relative_to(results).as_posix()] = path.read_bytes()
        except FileNotFoundError:  # replaced by another, or gone, meanwhile
            continue
    return files


def take_back(files: Files, results: Path, run_id: str) -> None:
    """Make a run's files what they are on the node where it ended.

    Args:
        files: All that there is of it.
        results: The folder of all runs.
        run_id: The run.

    Raises:
        OSError: The folder cannot be written.
    """
    unpack(files, results)
    for name in (f"{run_id}/{name}" for name in NEEDED):
        if name not in files:  # the checkpoint of a cell that is done, say
            (results / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it has files, or is not there
        (results / run_id / records.PREVIOUS_FOLDER).rmdir()


def unpack(files: Files, results: Path) -> None:
    """Write files where they belong, each whole or not at all; records come last.

    Raises:
        OSError: The folder cannot be written.
    """
    for name in sorted(files, key=lambda name: (Path(name).name == records.RECORD_FILE, name)):
        records.write_atomically(results / name, files[name])


class Courier:
    """Sends what changes in the folder of a run, from a thread, while the block lasts.

    Not of a cell that is trained once more: what it had stays as it was until it has a new record.

    Args:
        results: The folder of results in which the run is trained.
        run_id: The run.
        send: Called with files.
    """

    def __init__(self, results: Path, run_id: str, send: Callable[[Files], None]) -> None:
        self.results, self.run_id, self.send = results, run_id, send
        self._ended = threading.Event()
        self._seen: dict[str, tuple[int, int]] = {}
        self._waited = CHECKPOINT_SECONDS
        self._thread = threading.Thread(target=self._work, name=f"courier {run_id}", daemon=True)

    def __enter__(self) -> None:
        self._changed()  # what was brought along is known at the other end
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if (self.results / self.run_id / records.PREVIOUS_FOLDER).exists():
                return
            self._waited += LOOK_SECONDS
            names = self._changed(self._waited >= CHECKPOINT_SECONDS)
            if records.CHECKPOINT_FILE in names:
                self._waited = 0.0
            folder = self.results / self.run_id
            if files := _read(self.results, (folder / name for name in names)):
                self.send(files)

    def _changed(self, checkpoint: bool = True) -> list[str]:
        """Names of the files that are others than at the last look."""
        found = []
        for name in (records.HISTORY_FILE, BEGUN, LOG_FILE, records.CHECKPOINT_FILE):
            if name == records.CHECKPOINT_FILE and not checkpoint:
                continue
            try:
                stat = (self.results / self.run_id / name).stat()
            except OSError:
                continue
            if self._seen.get(name) != (stamp := (stat.st_mtime_ns, stat.st_ino)):
                self._seen[name] = stamp
                found.append(name)
        return found
