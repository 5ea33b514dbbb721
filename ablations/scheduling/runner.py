"""Trains the runs of a study: reuse finished ones, launch the others, retry, report progress.

The results folder decides: a run is done once its record is there, whoever wrote it, and is being
trained while its lease is alive. So several runners can share a folder and its work.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablations import data
from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError, RecordError
from ablations.scheduling.launcher import Launcher
from ablations.scheduling.local import LocalLauncher
from ablations.scheduling.observer import Observer
from ablations.scheduling.scheduler import Outcome, Scheduler
from ablations.store import (
    cleanup,
    failures,
    leases,
    previous_results,
    records,
    reuse_check,
    storage,
)
from ablations.store.records import Record, record_stamp
from ablations.tracking.reuse import fetch_finished_runs
from ablations.training.signals import Signals


@dataclass
class Selection:
    """The runs of a study by what happens to them.

    Args:
        reused: Records of runs that are done, or that failed and are not retried.
        todo: The runs to train.
        unreadable: Run id -> why its record cannot be read.
        stale: Run id -> which of its token mixers have changed since it was trained.
    """

    reused: list[Record] = field(default_factory=list)
    todo: list[RunConfig] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)

    def retrain(self, run_ids: set[str], runs: Sequence[RunConfig]) -> None:
        """Train runs again although they have a record; ``todo`` keeps the order of ``runs``."""
        self.reused = [record for record in self.reused if record.run_id not in run_ids]
        todo = {run.run_id for run in self.todo} | run_ids
        self.todo = [run for run in runs if run.run_id in todo]


def select_by_record(
    runs: Sequence[RunConfig], results: Path, retry_failed: bool = False
) -> Selection:
    """Select the runs to train by the records in a folder alone.

    Args:
        runs: All runs of the study.
        results: The folder of all runs.
        retry_failed: Whether to train all failed runs again, not only those that were killed.
    """
    selection = Selection()
    for run in runs:
        try:
            record = records.find_record(results, run.run_id)
        except RecordError as error:
            selection.unreadable[run.run_id] = str(error)
            continue
        if record and (record.done or failures.keeps_failure(record, retry_failed)):
            selection.reused.append(record)
        else:
            selection.todo.append(run)
    return selection


def select_runs(
    runs: Sequence[RunConfig],
    results: Path,
    retry_failed: bool = False,
    retrain_stale: bool = False,
    on_this_machine: bool = True,
) -> Selection:
    """Select the runs to train, and compare records with the images, precision and mixers of now.

    It opens each data set once, before any worker starts.

    Args:
        runs: All runs of the study.
        results: The folder of all runs.
        retry_failed: Whether to train all failed runs again, not only those that were killed.
        retrain_stale: Whether to train runs again whose token mixer has changed; their files are
            kept.
        on_this_machine: Whether runs train here, so that precision ``auto`` can be resolved.

    Raises:
        DataError: Images are missing or broken, or differ from those of a finished record.
        ConfigError: The number of classes is not the model's, or a finished record has another
            precision.
        BusyError: Another process trains a stale run.
    """
    previous_results.finish_interrupted_moves(results, [run.run_id for run in runs])
    selection = select_by_record(runs, results, retry_failed)
    readable = [run for run in runs if run.run_id not in selection.unreadable]
    compared = reuse_check.check_records(
        readable, selection.reused, on_this_machine, on_missing=_check_data
    )
    compared.raise_mismatch(results)
    cleanup.remove_finished_leftovers(
        results, (record.run_id for record in selection.reused if record.done)
    )
    selection.retrain(compared.failed, readable)
    if retrain_stale:
        for run in readable:
            if run.run_id in compared.stale or reuse_check.is_stale(results, run):
                previous_results.move_stale_files(results, run.run_id)
        selection.retrain(set(compared.stale), readable)
    else:
        selection.stale = compared.stale
        selection.reused = [r for r in selection.reused if r.run_id not in compared.stale]
    return selection


def _check_data(run: RunConfig) -> None:
    """Open the images of a run; raise DataError or ConfigError for those it cannot train on."""
    data.check_classes(run, len(data.load_dataset(run.data).classes))


def run_study(
    runs: Sequence[RunConfig],
    results: Path,
    launcher: Launcher | None = None,
    observer: Callable[[Sequence[RunConfig], Sequence[RunConfig]], Observer] = Observer,
    *,
    reuse: bool = True,
    retry_failed: bool = False,
    retrain_stale: bool = False,
    run_timeout: float | None = None,
    on_unsynced: Callable[[Path], None] = lambda folder: None,
) -> Outcome:
    """Train all runs that are not done yet.

    SIGINT and SIGTERM stop it. Each epoch leaves a checkpoint, from which the next call resumes.

    Args:
        runs: All runs of the study.
        results: The folder of all runs.
        launcher: Where runs train; by default workers on this machine, one a GPU or one a core.
        observer: Given all runs and those to train, makes the observer of what happens, such as the
            class ``Progress``; by default nothing is shown.
        reuse: Whether to reuse records, from the folder or from W&B.
        retry_failed: Whether to train all failed runs again, not only those that were killed.
        retrain_stale: Whether to train runs again whose token mixer has changed.
        run_timeout: Seconds that a run may take from its start here; None for any.
        on_unsynced: Called with the folder of each run that W&B did not receive completely.

    Raises:
        ConfigError: The launcher cannot train such runs, or a finished record has another
            precision; nothing was trained.
        RecordError: The folder cannot be written or takes no leases.
        DataError: Images are missing or broken, or differ from those of a finished record.
        TrackerError: W&B refuses: no API key, or no such entity.
    """
    launcher = launcher or LocalLauncher()
    _check_one_node(runs)
    launcher.check(runs)
    # Taken before anything else is read, so that what other runners write meanwhile is noticed.
    before = {run.run_id: record_stamp(results, run.run_id) for run in runs}
    if reuse:
        fetch_finished_runs(runs, results, launcher.on_this_machine)
        selection = select_runs(
            runs, results, retry_failed, retrain_stale, launcher.on_this_machine
        )
    else:
        selection = Selection(todo=list(runs))
        for run in runs:
            _check_data(run)
    storage.check_writable(results)
    leases.check_leases_work(results)
    outcome = Outcome(
        records=selection.reused,
        reused=sum(record.done for record in selection.reused),
        refused=selection.unreadable,
        stale=selection.stale,
    )
    if selection.todo:
        shown = observer(runs, selection.todo)
        scheduler = Scheduler(
            selection.todo, before, results, launcher, shown, outcome, run_timeout, on_unsynced
        )
        outcome.interrupted = _run_to_end(scheduler, reuse)
        _drop_stale(outcome, selection.todo)
    return outcome


def _check_one_node(runs: Sequence[RunConfig]) -> None:
    nodes = max((run.system.nodes for run in runs), default=1)
    if nodes > 1:
        raise ConfigError(
            f"system.nodes {nodes}: `ablations run` trains each run on one machine. To train one "
            "run on several, start `ablations train` with srun or torchrun, a process per device"
        )


def _run_to_end(scheduler: Scheduler, reuse: bool) -> int:
    """Run until all runs have ended; return the exit code of a signal that stops it, else 0."""
    signals, launcher = Signals(), scheduler.launcher
    try:
        launcher.start(list(scheduler.runs.values()), scheduler.results, reuse)
        with signals.handled(), scheduler.observer:
            while scheduler.unfinished():
                signals.check()
                scheduler.step()
    except KeyboardInterrupt as stopped:
        return getattr(stopped, "code", 130)
    finally:
        with _sigint_ignored():  # a second Ctrl-C must not leave half of the workers running
            launcher.stop()
    return 0


@contextlib.contextmanager
def _sigint_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _drop_stale(outcome: Outcome, todo: Sequence[RunConfig]) -> None:
    """Move runs from ``records`` to ``stale`` if their token mixer was changed during the study."""
    mixers = {run.run_id: run.model.mixers for run in todo}
    for record in list(outcome.records):
        trained_with = record.environment.get("plugins", {})
        reason = plugins.changed_mixers(trained_with, mixers.get(record.run_id, ()))
        if record.done and reason:
            outcome.records.remove(record)
            outcome.stale[record.run_id] = reason
