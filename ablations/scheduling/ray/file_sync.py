"""Copies a run's files to and from a node that does not mount the results folder."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ablations.machine.files import PARTIAL
from ablations.store import previous_results, records, storage
from ablations.store.run_state import LOG_FILE

Files = Mapping[str, bytes]  # path below a results folder -> content
SYNCED_FILES = [records.HISTORY_FILE, records.RUN_STATE_FILE, LOG_FILE, records.CHECKPOINT_FILE]
# What a run resumes from, or restores. Weights are not sent: they follow from a checkpoint.
RESUME_FILES = [
    records.RECORD_FILE,
    records.PREDICTIONS_FILE,
    *SYNCED_FILES,
    f"{previous_results.PREVIOUS_FOLDER}/{records.RECORD_FILE}",
    f"{previous_results.PREVIOUS_FOLDER}/{records.HISTORY_FILE}",
    f"{previous_results.PREVIOUS_FOLDER}/{records.PREDICTIONS_FILE}",
]
POLL_SECONDS = 5.0
CHECKPOINT_SECONDS = 60.0  # between two checkpoints of a run, which may be gigabytes


def resume_files(results: Path, run_id: str) -> Files:
    """The files that a run resumes from, as far as they exist."""
    return _read(results, (results / run_id / name for name in RESUME_FILES))


def all_files(results: Path) -> Files:
    """All files of a results folder, except leases and files that are being written."""
    paths = (path for path in results.rglob("*") if path.is_file() and not path.is_symlink())
    return _read(results, (path for path in paths if not _temporary(path.relative_to(results))))


def _temporary(path: Path) -> bool:
    return path.parts[0].startswith(".") or path.name.endswith(PARTIAL)


def _read(results: Path, paths: Iterable[Path]) -> Files:
    files = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            files[path.relative_to(results).as_posix()] = path.read_bytes()
    return files


def replace_files(files: Files, results: Path, run_id: str) -> None:
    """Make a run's files those of the node where it ended.

    Args:
        files: All files that the node has of the run.
        results: The folder of all runs.
        run_id: The run.

    Raises:
        OSError: The folder cannot be written.
    """
    write_files(files, results)
    for name in (f"{run_id}/{name}" for name in RESUME_FILES):
        if name not in files:  # such as the checkpoint of a finished run
            (results / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty, or not there
        (results / run_id / previous_results.PREVIOUS_FOLDER).rmdir()


def write_files(files: Files, results: Path) -> None:
    """Write each file atomically; records come last.

    Raises:
        OSError: The folder cannot be written.
    """
    for name in sorted(files, key=lambda name: (Path(name).name == records.RECORD_FILE, name)):
        storage.write_atomically(results / name, files[name])


class FileSync:
    """Sends the changed files of a run from a thread, while the block lasts.

    A run that is trained again sends nothing: its old files stay until it has a new record.

    Args:
        results: The results folder in which the run is trained.
        run_id: The run.
        send: Called with the changed files.
    """

    def __init__(self, results: Path, run_id: str, send: Callable[[Files], None]) -> None:
        self.results, self.run_id, self.send = results, run_id, send
        self._ended = threading.Event()
        self._sent: dict[str, tuple[int, int]] = {}
        self._since_checkpoint = CHECKPOINT_SECONDS
        self._thread = threading.Thread(target=self._run, name=f"sync {run_id}", daemon=True)

    def __enter__(self) -> None:
        self._changed()  # the files that the run came with need not be sent back
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        folder = self.results / self.run_id
        while not self._ended.wait(POLL_SECONDS):
            if (folder / previous_results.PREVIOUS_FOLDER).exists():
                return
            self._since_checkpoint += POLL_SECONDS
            names = self._changed(self._since_checkpoint >= CHECKPOINT_SECONDS)
            if records.CHECKPOINT_FILE in names:
                self._since_checkpoint = 0.0
            if files := _read(self.results, (folder / name for name in names)):
                self.send(files)

    def _changed(self, checkpoint: bool = True) -> list[str]:
        """Names of the files that have changed since the last call."""
        changed = []
        for name in SYNCED_FILES:
            if name == records.CHECKPOINT_FILE and not checkpoint:
                continue
            try:
                stat = (self.results / self.run_id / name).stat()
            except OSError:
                continue
            if self._sent.get(name) != (stamp := (stat.st_mtime_ns, stat.st_ino)):
                self._sent[name] = stamp
                changed.append(name)
        return changed
