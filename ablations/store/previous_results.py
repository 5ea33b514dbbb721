"""Earlier results of a run that is trained once more.

They are kept in ``previous/`` until the new record is there; those of a run whose token mixer has
changed are kept in ``stale-N/`` for good. Each move is a few renames.
A process may be killed between two of them:
``finish_interrupted_move`` completes or undoes such a move.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ablations.errors import RecordError
from ablations.store import leases
from ablations.store.records import (
    CHECKPOINT_FILE,
    HISTORY_FILE,
    PREDICTIONS_FILE,
    RECORD_FILE,
    WEIGHTS_FILE,
    Record,
)

PREVIOUS_FOLDER = "previous"
STALE_FOLDER = "stale"
# The record moves last: with it the run is done.
_RESULT_FILES = (HISTORY_FILE, PREDICTIONS_FILE, RECORD_FILE)


def move_to_previous(results: Path, run_id: str) -> None:
    """Move the results of a run out of the way, before it is trained once more."""
    folder = results / run_id
    (folder / PREVIOUS_FOLDER).mkdir(exist_ok=True)
    for name in _RESULT_FILES:
        if (folder / name).is_file():
            os.replace(folder / name, folder / PREVIOUS_FOLDER / name)


def write_or_restore(results: Path, record: Record) -> None:
    """Write the new record of a run; if it failed, restore the previous results instead."""
    folder = results / record.run_id
    previous = folder / PREVIOUS_FOLDER
    if not record.done and (previous / RECORD_FILE).is_file():
        # Those of the failed run, if it came that far; the previous record may have none.
        (folder / PREDICTIONS_FILE).unlink(missing_ok=True)
        for name in _RESULT_FILES:
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
    for name in _RESULT_FILES:
        # What is in the folder was not moved yet, is restored already, or is of a new record.
        if (previous / name).is_file() and not (folder / name).is_file():
            os.replace(previous / name, folder / name)
    shutil.rmtree(previous, ignore_errors=True)


def finish_interrupted_moves(results: Path, run_ids: Iterable[str]) -> None:
    """As ``finish_interrupted_move``, for all runs of which this process gets the lease."""
    for run_id in run_ids:
        if has_interrupted_move(results, run_id):
            # Skip runs that another process trains, or that this user may not write.
            with contextlib.suppress(RecordError, OSError), leases.hold_lease(results, run_id):
                finish_interrupted_move(results, run_id)


def move_stale_files(results: Path, run_id: str) -> Path:
    """Move the files of a stale run to a folder ``stale-N`` in its own, so that it trains again.

    Returns:
        That folder; it is never removed.

    Raises:
        BusyError: Another process trains the run.
    """
    folder = results / run_id
    with leases.hold_lease(results, run_id):
        number = 1
        while (kept := folder / f"{STALE_FOLDER}-{number}").exists():
            number += 1
        kept.mkdir()
        for name in (WEIGHTS_FILE, CHECKPOINT_FILE, *_RESULT_FILES):
            if (folder / name).is_file():
                os.replace(folder / name, kept / name)
    return kept


def _is_half_restored(folder: Path) -> bool:
    """Whether the history was restored and the record was not, and no new training has begun."""
    previous = folder / PREVIOUS_FOLDER
    others = (previous / HISTORY_FILE, folder / RECORD_FILE, folder / CHECKPOINT_FILE)
    return (previous / RECORD_FILE).is_file() and not any(path.is_file() for path in others)
