"""Cells -> records: skip what is done, launch the rest, retry what was killed, report progress.

The truth is on disk: a cell is done once its record is there, whoever wrote it, and somebody has it
as long as its lease says so. Runners that share a folder so share the work.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from ablations import data, failures, leases, plugins, records
from ablations.config import RunConfig
from ablations.data.checks import check_classes, check_same_data
from ablations.launchers import Launcher
from ablations.progress import Observer
from ablations.records import Record, stamp
from ablations.signals import Signals
from ablations.sweep import Cell
from ablations.tracking.reuse import fetch
from ablations.work import Outcome, Work

SOURCE = ["name", "root"]  # the fields of DataConfig that say which pictures


def split(
    cells: Sequence[Cell], results: Path, retry_failed: bool = False
) -> tuple[list[Record], list[RunConfig]]:
    """The records of cells that stay as they are, and the cells that are still to be trained.

    Args:
        cells: What is wanted.
        results: The folder of all runs.
        retry_failed: Whether cells that failed are all trained again, not only those whose process
            was killed.

    Raises:
        RecordError: A record that cannot be read; it is left as it is.
        ConfigError: A record of another version of a plugin's mixer.
    """
    there, todo = [], []
    for cell in cells:
        record = records.find(results, cell.config.run_id)
        if record is not None and record.done:
            before = record.environment.get("plugins", {})
            plugins.check_same(record.run_id, before, cell.config.model.mixers)
            there.append(record)
        elif record is not None and failures.stays(record, retry_failed):
            there.append(record)
        else:
            todo.append(cell.config)
    return there, todo


def check_data(done: Sequence[Record], todo: Sequence[RunConfig]) -> None:
    """Open every data set of the cells once, before any worker starts.

    Raises:
        DataError: Missing or broken pictures, or other ones than a done record was made from.
        ConfigError: Another number of classes than the models'.
    """
    for cell in todo:
        pictures = data.load(cell.data)
        check_classes(cell, len(pictures.classes))
        for record in done:
            same = all(record.config["data"][name] == getattr(cell.data, name) for name in SOURCE)
            if same:
                before = record.data.get("fingerprint")
                check_same_data(record.run_id, before, pictures.fingerprint)


def run(
    cells: Sequence[Cell],
    results: Path,
    launcher: Callable[[int], Launcher],
    progress: Callable[[Sequence[RunConfig], Sequence[RunConfig]], Observer],
    reuse: bool = True,
    retry_failed: bool = False,
    cell_timeout: float | None = None,
    unsent: Callable[[Path], None] = lambda _: None,
) -> Outcome:
    """Train all cells that are not done yet.

    SIGINT and SIGTERM end it; nothing that was trained is lost, because every epoch
    leaves a checkpoint.

    Args:
        cells: What to train.
        results: The folder of all runs.
        launcher: Given the number of cells to train, where they run.
        progress: Given all cells and those to train, who is told of what happens.
        reuse: Whether cells that are done, here or in W&B, are left as they are.
        retry_failed: Whether cells that failed before are all tried again.
        cell_timeout: Seconds that a cell may take from its start here; None for any.
        unsent: Called with a tracker's folder where not all of a run has arrived.

    Raises:
        ConfigError: The launcher cannot be had; nothing was trained.
        RecordError: The folder cannot be written or takes no leases, or holds a record that cannot
            be read.
        DataError: Missing or broken pictures.
        TrackerError: W&B refuses: no API key, no such entity.
    """
    # Before anything is read: what another runner writes meanwhile is seen as its work.
    before = {cell.config.run_id: stamp(results, cell.config.run_id) for cell in cells}
    if reuse:
        fetch([cell.config for cell in cells], results)
        there, todo = split(cells, results, retry_failed)
    else:
        there, todo = [], [cell.config for cell in cells]
    check_data([record for record in there if record.done], todo)
    records.check_writable(results)
    leases.check(results)
    outcome = Outcome(there, reused=sum(record.done for record in there))
    if not todo:
        return outcome
    pool = launcher(len(todo))
    signals = Signals()
    try:
        with signals.handled(), progress([cell.config for cell in cells], todo) as shown:
            pool.start()
            work = Work(todo, before, results, pool, shown, outcome, cell_timeout, unsent)
            while work.goes_on():
                signals.check()
                work.step()
    except KeyboardInterrupt as stopped:
        outcome.interrupted = getattr(stopped, "code", 130)
    finally:
        # A second Ctrl-C must not leave half of the workers running.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        pool.stop()
        signal.signal(signal.SIGINT, handler)
    return outcome
