"""train(RunConfig) -> Record: used by `ablations train`, the scheduler's workers and `wandb agent`.

A run that was killed continues from its last finished epoch and ends with the numbers of a run that
was not.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ablations import data
from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.data.batches import create_loaders, set_first_epoch
from ablations.errors import AccessError, ConfigError, LeaseLostError, ProcessLostError
from ablations.store import (
    cleanup,
    failures,
    leases,
    previous_results,
    records,
    reuse_check,
    run_state,
    storage,
)
from ablations.store.leases import Lease
from ablations.store.records import BROKEN_CHECKPOINT_FILE, CHECKPOINT_FILE, WEIGHTS_FILE, Record
from ablations.store.run_progress import RunProgress
from ablations.store.validation import CheckpointJson, validate_values
from ablations.tracking import mirror
from ablations.tracking.tracker import Tracker
from ablations.training import code_hash, environment
from ablations.training.cost import run_cost
from ablations.training.devices import check_devices, uses_gpu
from ablations.training.distributed.rank_zero import ddp_workers
from ablations.training.distributed.ranks import SINGLE_PROCESS, RankInfo, launch_hint
from ablations.training.distributed.store import RankContext
from ablations.training.error_summary import failure_kind, summarize_error
from ablations.training.history import EpochReport, History, summarize
from ablations.training.loop import Batches, fit
from ablations.training.run_log import log_to_file
from ablations.training.signals import Signals

log = logging.getLogger("ablations")


def train(
    config: RunConfig,
    results: Path,
    on_epoch: EpochReport | None = None,
    reuse: bool = True,
    on_unsent: Callable[[Path], None] | None = None,
    signals: Signals | None = None,
    rank: RankContext | None = None,
    on_progress: Callable[[RunProgress], None] | None = None,
) -> Record:
    """Train a run to its end, from where it was left, and write its record.

    Args:
        config: The fully resolved run.
        results: The results folder; the files of this run go to ``<results>/<run_id>``.
        on_epoch: Called after each epoch with ``epoch``, ``epochs``, the metrics and ``speed``
            (training images per second).
        reuse: Whether to return a finished record instead of training again.
        on_unsent: Called with the tracker's folder if W&B has not received all of it.
        signals: The signal handling of the caller, if it has one.
        rank: Rank 0 and its store, if a launcher has started the processes of the run. Otherwise
            the processes of this machine are started here.
        on_progress: Called within epochs, at most once a second.

    Returns:
        The record on disk, or the existing one if the run is done. A run that fails while it trains
        returns a record with status ``failed`` and the reason.

    Raises:
        ConfigError: This machine or these images do not fit the config (no GPU, another number of
            classes), or the run was started in another precision or by other code.
        DataError: The images are missing, or differ from those that the run was started with.
        RecordError: The results folder is not writable.
        AccessError: A file of the run belongs to another user.
        BusyError: Another process trains the run.
        LeaseLostError: Another process has taken the run over while this one slept.
        ProcessLostError: A process of a distributed run was ended from outside.
        TrackerError: W&B refuses the run, because of its entity or key.
        Interrupted: SIGINT or SIGTERM.
    """
    signals = signals or Signals()
    with signals.handled():
        images = _load_images(config, rank)
        clean = not previous_results.has_interrupted_move(results, config.run_id)
        if clean and (known := _find_reusable(config, results, reuse)):
            # A killed process may have left files beside its record.
            cleanup.remove_finished_leftovers(results, [config.run_id])
            return known
        # Create the loaders first: wrong input is reported before anything is written.
        workers, world_size = config.system.loader_workers, config.system.world_size
        batches = create_loaders(images, config.data, config.seed, workers, world=world_size)
        storage.check_writable(results)
        with leases.hold_lease(results, config.run_id) as lease:
            previous_results.finish_interrupted_move(results, config.run_id)
            # The last holder of the lease may have finished the run.
            if known := _find_reusable(config, results, reuse):
                return known
            hooks = on_epoch, on_unsent, on_progress
            try:
                return _Training(
                    config, results, images, batches, signals, lease, rank, *hooks
                ).run()
            except (OSError, AccessError) as error:
                raise storage.storage_error(error, results / config.run_id) or error from None


def _load_images(config: RunConfig, rank: RankContext | None) -> data.ImageDataset:
    """The images of a run, after all checks of the machine and the data."""
    if rank is None and config.system.nodes > 1:
        raise ConfigError(f"system.nodes {config.system.nodes}: {launch_hint(config.system)}")
    plugins.load_plugins(config.system.plugins)
    uses_gpu(config.system.accelerator)
    images = data.load_dataset(config.data)
    data.check_classes(config, len(images.classes))
    check_devices(config, images)
    return images


def _find_reusable(config: RunConfig, results: Path, reuse: bool) -> Record | None:
    """The record of a run that is done, if it may be reused.

    Raises:
        DataError: The record is of other images.
        ConfigError: It is of another precision, or of other code of a plugin's mixer.
    """
    known = records.find_record(results, config.run_id)
    if not (known and known.done and reuse):
        return None
    reuse_check.check_record(known, config, results / known.run_id / records.RECORD_FILE)
    return known


@dataclass
class _Training:
    """One start of a run, by the process that holds its lease."""

    config: RunConfig
    results: Path
    images: data.ImageDataset
    batches: Batches
    signals: Signals
    lease: Lease
    rank: RankContext | None
    on_epoch: EpochReport | None
    on_unsent: Callable[[Path], None] | None
    on_progress: Callable[[RunProgress], None] | None

    def __post_init__(self) -> None:
        self.start = time.perf_counter()
        self.folder = self.results / self.config.run_id
        self.environment = environment.describe(self.config)
        self.previous = records.find_record(self.results, self.config.run_id)
        checkpoint = self.folder / CHECKPOINT_FILE
        self.state = load_run_checkpoint(checkpoint, self.config.run_id)
        if self.state:
            reuse_check.check_checkpoint(self.state, self.config, checkpoint)
            code_hash.check_unchanged(checkpoint, self.state.get("code", {}))
            set_first_epoch(self.batches[0], self.state["epoch"] + 1)

    def run(self) -> Record:
        """Train and write the record, with the log, the run state and the tracker."""
        config, results = self.config, self.results
        cleanup.remove_leftovers(self.folder)
        with (
            run_state.run_folder(results, config.run_id) as folder,
            log_to_file(folder / run_state.LOG_FILE),
        ):
            tracker = self._start_tracker()
            with (
                self._interrupt_on_error(tracker),
                run_state.track_run_state(config, results, tracker.ids) as self.lease.is_unchanged,
            ):
                self.signals.check()
                if self.previous and self.previous.done:
                    previous_results.move_to_previous(results, config.run_id)
                record = self._train_or_fail(tracker)
                self.lease.check(now=True)
                previous_results.write_or_restore(results, record)
            if record.done:
                (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
            kept = [records.RECORD_FILE, records.HISTORY_FILE, records.PREDICTIONS_FILE]
            kept += [WEIGHTS_FILE] if config.system.log_model else []
            tracker.finish(record, [folder / name for name in kept if (folder / name).is_file()])
        self._report_unsent(tracker)
        return record

    def _report_unsent(self, tracker: Tracker) -> None:
        if tracker.unsent and self.on_unsent:
            self.on_unsent(tracker.unsent)

    def _start_tracker(self) -> Tracker:
        with self.signals.deferred():  # so that W&B hears of a signal that comes meanwhile
            ids = run_state.find_tracker_ids(self.results, self.config.run_id, self.previous)
            return mirror.start_tracker(self.config, self.results, ids)

    @contextlib.contextmanager
    def _interrupt_on_error(self, tracker: Tracker) -> Iterator[None]:
        """End the tracker's run if the block fails: the next run of this process starts another."""
        try:
            yield
        except KeyboardInterrupt as interrupt:
            tracker.interrupt(getattr(interrupt, "code", 130))
            self._report_unsent(tracker)
            raise
        except Exception:
            tracker.interrupt(1)
            raise

    def _train_or_fail(self, tracker: Tracker) -> Record:
        """Train to the end; the record, of a failure too.

        Raises:
            LeaseLostError, ProcessLostError: Another process has the run, or one was lost.
            OSError, AccessError: The folder of the run cannot be written.
        """
        fields: dict[str, Any]
        history = History(self.folder, self.images, tracker, self.on_epoch)
        cost = run_cost(self.config)
        try:
            with self._other_ranks() as info:
                given = self.config, self.batches, self.folder, history, self.signals
                status = fit(*given, self._check, self.state, info, self.on_progress)
            fields = {
                "status": status,
                "metrics": summarize(history.rows),
                "timing": history.timing(time.perf_counter() - self.start),
            }
            device = history.device
        except (LeaseLostError, ProcessLostError):
            raise
        except Exception as error:
            log.error("%s", traceback.format_exc())
            if storage_error := storage.storage_error(error, self.folder):
                raise storage_error from error
            kind, message = failure_kind(error), summarize_error(error)
            failure = failures.describe_failure(kind, message, self.folder)
            fields, device = {"status": "failed", "failure": failure}, {}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return Record(
            run_id=self.config.run_id,
            config=self.config.to_json(),
            data={
                **self.images.identity,
                "classes": len(self.images.classes),
                "train": len(self.images.train),
                "val": len(self.images.val),
            },
            tracker=tracker.ids,
            cost=cost,
            environment={**self.environment, **device, "date": now},
            **fields,
        )

    def _other_ranks(self) -> contextlib.AbstractContextManager[RankInfo]:
        """The other processes of the run train along inside the block."""
        if self.config.system.world_size == 1 or (self.state and self.state["diverged"]):
            return contextlib.nullcontext(SINGLE_PROCESS)
        epoch = self.state["epoch"] + 1 if self.state else 0
        identity = self.images.identity
        return ddp_workers(self.config, self.results, identity, epoch, self.rank, self.signals)

    def _check(self) -> None:
        """Called after each batch: raise if a signal has come or the lease is lost."""
        self.signals.check()
        self.lease.check()


def load_run_checkpoint(checkpoint: Path, run_id: str) -> dict[str, Any] | None:
    """The checkpoint of a run; None if there is none, or none that can be used.

    A checkpoint that is broken or made by an older version is renamed, not overwritten. An error of
    the file system is raised: it is no reason to train the run anew.
    """
    if not checkpoint.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        validate_values(state, CheckpointJson)
        if state["run_id"] != run_id:
            reason = f"is of run {state['run_id']}"
        elif code_hash.is_outdated(state.get("code", {})):
            reason = "was made by other code (another version of this program)"
        else:
            return state
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever torch raises for a broken file
        reason = f"cannot be read ({summarize_error(error)})"
    renamed = checkpoint.with_name(BROKEN_CHECKPOINT_FILE)
    checkpoint.replace(renamed)
    screen.note(f"{checkpoint} {reason}: starting anew, it is kept as {renamed.name}")
    return None
