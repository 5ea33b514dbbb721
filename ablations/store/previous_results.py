"""Results of a run that is trained once more: kept in ``previous/`` until the new record is there.

Each move is a few renames. A process may be killed between two of them:
``finish_interrupted_move`` completes or undoes such a move.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ablations.store.records import CHECKPOINT_FILE, HISTORY_FILE, RECORD_FILE, Record

PREVIOUS_FOLDER = "previous"


def move_to_previous(results: Path, run_id: str) -> None:
    """Move the record and history of a run out of the way, before it is trained once more."""
    folder = results / run_id
    (folder / PREVIOUS_FOLDER).mkdir(exist_ok=True)
    for name in (HISTORY_FILE, RECORD_FILE):
        if (folder / name).is_file():
            os.replace(folder / name, folder / PREVIOUS_FOLDER / name)


def write_or_restore(results: Path, record: Record) -> None:
    """Write the new record of a run; if it failed, restore the previous results instead."""
    folder = results / record.run_id
    previous = folder / PREVIOUS_FOLDER
    if not record.done and (previous / RECORD_FILE).is_file():
        for name in (HISTORY_FILE, RECORD_FILE):
            if (previous / name).is_file():
                os.replace(previous / name, folder / name)
    else:
        record.write(results)
    shutil.rmtree(previous, ignore_errors=True)


def has_interrupted_move(results: Path, run_id: str) -> bool:
    """Whether a process was killed while it moved or restored the results of a run."""
    folder = results / run_id
    # Not Path.is_dir: it raises for the folder of another user.
    return os.path.isdir(folder / PREVIOUS_FOLDER) and (
        (folder / RECORD_FILE).is_file() or _is_half_restored(folder)
    )


def finish_interrupted_move(results: Path, run_id: str) -> None:
    """Undo half of a move, or finish half of a restore; the caller holds the lease of the run."""
    folder = results / run_id
    previous = folder / PREVIOUS_FOLDER
    if not has_interrupted_move(results, run_id):
        return
    if not (previous / RECORD_FILE).is_file() and (previous / HISTORY_FILE).is_file():
        os.replace(previous / HISTORY_FILE, folder / HISTORY_FILE)
    if not (folder / RECORD_FILE).is_file():
        os.replace(previous / RECORD_FILE, folder / RECORD_FILE)
    shutil.rmtree(previous, ignore_errors=True)


def _is_half_restored(folder: Path) -> bool:
    """Whether the history was restored and the record was not, and no new training has begun."""
    previous = folder / PREVIOUS_FOLDER
    others = (previous / HISTORY_FILE, folder / RECORD_FILE, folder / CHECKPOINT_FILE)
    return (previous / RECORD_FILE).is_file() and not any(path.is_file() for path in others)
