"""Files that a results folder no longer needs: never a record or what belongs to it, nor logs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ablations.config.schema import RUN_ID
from ablations.errors import RecordError
from ablations.machine.files import PARTIAL
from ablations.store import leases, previous_results, records
from ablations.store.leases import Holder

# What may be removed, in the order of the report.
REMOVABLE_KINDS = {
    "checkpoint": "checkpoints of runs that are done",
    "leftover": "partial files that killed processes left",
    "previous": "earlier files of runs that were trained again and have a new record",
    "broken": "damaged checkpoints",
    "empty": "empty folders of runs",
    "lease": "leases of processes that are gone",
}
Removable = tuple[str, Path]  # one of KINDS and the file or folder


def find_removable(results: Path) -> Iterator[Removable]:
    """The files that a results folder no longer needs.

    Runs that a process trains, and runs whose record cannot be read, are skipped.
    """
    held = leases.active_leases(results)
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        # Other folders are not runs: W&B's own files, for example, or targets of links.
        if RUN_ID.fullmatch(folder.name) and not folder.is_symlink():
            yield from _removable_of_run(results, folder, held)
    yield from (("lease", path) for path in leases.expired_leases(results))


def _removable_of_run(results: Path, folder: Path, held: dict[str, Holder]) -> Iterator[Removable]:
    if folder.name in held:
        return
    try:
        if not any(folder.iterdir()):
            yield "empty", folder
            return
    except OSError:  # another user's
        return
    try:
        record = records.find_record(results, folder.name)
    except RecordError:
        return
    yield from (("leftover", path) for path in sorted(find_leftovers(folder)))
    if (folder / records.BROKEN_CHECKPOINT_FILE).is_file():
        yield "broken", folder / records.BROKEN_CHECKPOINT_FILE
    aside = folder / previous_results.PREVIOUS_FOLDER
    if record and record.done:
        if (aside / records.RECORD_FILE).is_file():
            yield from (("previous", path) for path in [*sorted(aside.iterdir()), aside])
        for path in files_of_unfinished_cleanup(results, folder.name):
            yield "checkpoint" if path.name == records.CHECKPOINT_FILE else "leftover", path


def find_leftovers(folder: Path) -> list[Path]:
    """Partial files, and the progress file, that a killed process left in the folder of a run."""
    return [*folder.glob(f"*{PARTIAL}"), *folder.glob(records.PROGRESS_FILE)]


def remove_leftovers(folder: Path) -> None:
    """Remove what ``find_leftovers`` finds; the caller holds the lease of the run."""
    for path in find_leftovers(folder):
        path.unlink(missing_ok=True)


def files_of_unfinished_cleanup(results: Path, run_id: str) -> list[Path]:
    """The files that a process did not remove because it was killed just after the record."""
    folder = results / run_id
    if not os.path.isfile(folder / records.RECORD_FILE):
        return []
    names = (records.CHECKPOINT_FILE, records.RUN_STATE_FILE)
    return [folder / name for name in names if os.path.isfile(folder / name)]


def remove_finished_leftovers(results: Path, run_ids: Iterable[str]) -> None:
    """Remove the files that killed processes left in the folders of done runs."""
    for run_id in run_ids:
        if files_of_unfinished_cleanup(results, run_id):
            # Skip runs that another process trains, or that this user may not write.
            with contextlib.suppress(RecordError, OSError), leases.hold_lease(results, run_id):
                if (known := records.find_record(results, run_id)) and known.done:
                    for path in files_of_unfinished_cleanup(results, run_id):
                        path.unlink(missing_ok=True)


def file_size(path: Path) -> int:
    """The size of a file in bytes; 0 for a folder."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def remove_path(path: Path) -> int:
    """Remove a file or an empty folder, and return its size in bytes."""
    bytes_ = file_size(path)
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    return bytes_
