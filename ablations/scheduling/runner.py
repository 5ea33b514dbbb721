"""Cells -> records: skip what is done, launch the rest, retry what was killed, report progress.

The truth is on disk: a cell is done once its record is there, whoever wrote it, and somebody has it
as long as its lease says so. Runners that share a folder so share the work.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from ablations import data
from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.config.sweep import SweepRun
from ablations.data.checks import check_classes
from ablations.errors import RecordError
from ablations.scheduling.launcher import Launcher
from ablations.scheduling.progress import Observer
from ablations.scheduling.scheduler import Outcome, Work
from ablations.store import failures, leases, records, reuse_check
from ablations.store.records import Record, record_stamp
from ablations.tracking.reuse import fetch_finished_runs
from ablations.training.signals import Signals


def split(
    cells: Sequence[SweepRun], results: Path, retry_failed: bool = False
) -> tuple[list[Record], list[RunConfig], dict[str, str]]:
    """The records of runs that are done or failed for good, and the runs that are to be trained.

    A run whose record cannot be read is neither: its id comes with the reason.

    Args:
        cells: What is wanted.
        results: The folder of all runs.
        retry_failed: Whether runs that failed are all trained again, not only those whose process
            was killed.
    """
    there, todo, unread = [], [], {}
    for cell in cells:
        try:
            record = records.find_record(results, cell.config.run_id)
        except RecordError as error:
            unread[cell.config.run_id] = str(error)
            continue
        if record and (record.done or failures.keeps_failure(record, retry_failed)):
            there.append(record)
        else:
            todo.append(cell.config)
    return there, todo, unread


def sorted_out(
    cells: Sequence[SweepRun],
    results: Path,
    retry_failed: bool = False,
    retrain_stale: bool = False,
    here: bool = True,
) -> tuple[list[Record], list[RunConfig], dict[str, str], dict[str, str]]:
    """``split`` held against the images, the precision and the mixers that are asked for now.

    Every data set is opened once, before any worker starts.

    Args:
        cells: What is wanted.
        results: The folder of all runs.
        retry_failed: As of ``split``.
        retrain_stale: Whether runs whose token mixer has changed are trained again; what they have
            is kept.
        here: Whether the runs train on this machine, so that precision ``auto`` is known.

    Returns:
        The records that are reused, what is to be trained, run id -> why a run is stale, and
        run id -> why its record cannot be read.

    Raises:
        DataError: Images that are missing, broken, or others than those of a done record.
        ConfigError: Another number of classes than the models', or a done record of another
            precision.
        BusyError: Somebody trains a run that is to be set aside.
    """
    reuse_check.finish_interrupted_moves(results, [cell.config.run_id for cell in cells])
    there, todo, unread = split(cells, results, retry_failed)
    configs = [cell.config for cell in cells if cell.config.run_id not in unread]
    found = reuse_check.check_records(configs, there, here, on_missing=_open)
    found.refuse(results)
    reuse_check.remove_finished_leftovers(
        results, (record.run_id for record in there if record.done)
    )
    if retrain_stale:
        for config in configs:
            if config.run_id in found.stale or reuse_check.is_stale(results, config):
                reuse_check.move_stale_files(results, config.run_id)
    left = found.stale.keys() | found.failed
    again = left if retrain_stale else found.failed
    there = [record for record in there if record.run_id not in left]
    wanted = {config.run_id for config in todo} | again
    todo = [config for config in configs if config.run_id in wanted]
    return there, todo, {} if retrain_stale else found.stale, unread


def _open(config: RunConfig) -> None:
    """Read the images of a run that is to be trained."""
    check_classes(config, len(data.load_dataset(config.data).classes))


def run(
    cells: Sequence[SweepRun],
    results: Path,
    launcher: Callable[[int], Launcher],
    progress: Callable[[Sequence[RunConfig], Sequence[RunConfig]], Observer],
    reuse: bool = True,
    retry_failed: bool = False,
    retrain_stale: bool = False,
    here: bool = True,
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
        retrain_stale: Whether runs whose token mixer has changed are trained again.
        here: Whether the runs train on this machine, so that precision ``auto`` is known.
        cell_timeout: Seconds that a cell may take from its start here; None for any.
        unsent: Called with a tracker's folder where not all of a run has arrived.

    Raises:
        ConfigError: The launcher cannot be had, or a done record is of another precision; nothing
            was trained.
        RecordError: The folder cannot be written or takes no leases.
        DataError: Missing or broken images, or others than those of a done record.
        TrackerError: W&B refuses: no API key, no such entity.
    """
    # Before anything is read: what another runner writes meanwhile is seen as its work.
    before = {cell.config.run_id: record_stamp(results, cell.config.run_id) for cell in cells}
    stale: dict[str, str] = {}
    unread: dict[str, str] = {}
    if reuse:
        fetch_finished_runs([cell.config for cell in cells], results, here)
        given = results, retry_failed, retrain_stale, here
        there, todo, stale, unread = sorted_out(cells, *given)
    else:
        there, todo = [], [cell.config for cell in cells]
        for config in todo:
            _open(config)
    records.check_writable(results)
    leases.check_leases_work(results)
    outcome = Outcome(there, reused=sum(record.done for record in there), stale=stale)
    outcome.refused = unread
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
    _find_stale(outcome, todo)
    return outcome


def _find_stale(outcome: Outcome, todo: Sequence[RunConfig]) -> None:
    """Leave out what was trained before a token mixer was changed, while the study ran."""
    trained = {config.run_id: config.model.mixers for config in todo}
    for record in list(outcome.records):
        before, mixers = record.environment.get("plugins", {}), trained.get(record.run_id, ())
        if record.done and (why := plugins.changed_mixers(before, mixers)):
            outcome.records.remove(record)
            outcome.stale[record.run_id] = why
