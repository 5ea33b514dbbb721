"""What a folder of results no longer needs: never a record, a history, weights or a log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ablations.config.schema import RUN_ID
from ablations.errors import RecordError
from ablations.store import leases, records, run_state
from ablations.store.leases import Holder
from ablations.store.reuse import settle

# What may be removed, in the order in which it is told.
KINDS = {
    "checkpoint": "checkpoints of runs that are done",
    "leftover": "partial files that killed processes left",
    "previous": "earlier files of runs that were trained again and have a new record",
    "broken": "damaged checkpoints that were set aside",
    "empty": "empty folders of runs",
    "lease": "leases of processes that are gone",
}
Found = tuple[str, Path]  # one of KINDS and the file or folder


def removable(results: Path) -> Iterator[Found]:
    """What a folder no longer needs.

    A cell that somebody trains is left alone, and so is one whose record cannot be read.
    """
    held = leases.living(results)
    for folder in sorted(path for path in results.iterdir() if path.is_dir()):
        # Others are not ours: W&B's own files, say, or what a link leads to.
        if RUN_ID.fullmatch(folder.name) and not folder.is_symlink():
            yield from _of_cell(results, folder, held)
    yield from (("lease", path) for path in leases.gone(results))


def _of_cell(results: Path, folder: Path, held: dict[str, Holder]) -> Iterator[Found]:
    if folder.name in held:
        return
    try:
        if not any(folder.iterdir()):
            yield "empty", folder
            return
    except OSError:  # another user's
        return
    try:
        record = records.find(results, folder.name)
    except RecordError:
        return
    yield from (("leftover", path) for path in sorted(records.leftovers(folder)))
    if (folder / records.BROKEN).is_file():
        yield "broken", folder / records.BROKEN
    aside = folder / records.PREVIOUS
    if record and record.done and (aside / records.FILE).is_file():
        yield from (("previous", path) for path in [*sorted(aside.iterdir()), aside])
    if record and record.done:
        if (folder / records.CHECKPOINT).is_file():
            yield "checkpoint", folder / records.CHECKPOINT
        if (folder / run_state.FILE).is_file():
            yield "leftover", folder / run_state.FILE


def restore(results: Path) -> None:
    """Put back what a killed `--no-reuse` had half set aside."""
    settle(results, [path.name for path in results.iterdir() if RUN_ID.fullmatch(path.name)])


def size(path: Path) -> int:
    """Bytes of a file; of a folder none."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def remove(path: Path) -> int:
    """Remove a file or an empty folder; the bytes that it had."""
    bytes_ = size(path)
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    return bytes_
