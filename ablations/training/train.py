"""train(RunConfig) -> Record. What `ablations train`, the runner's workers and `wandb agent` start.

A run that was killed continues from its last finished epoch and ends with the numbers of one that
was not.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ablations import data
from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.data.batches import create_loaders, set_first_epoch
from ablations.data.checks import check_classes
from ablations.errors import AccessError, ConfigError, LeaseLostError, ProcessLostError
from ablations.store import failures, leases, records, reuse_check, run_state
from ablations.store.leases import Lease
from ablations.store.records import BROKEN_CHECKPOINT_FILE, CHECKPOINT_FILE, WEIGHTS_FILE, Record
from ablations.store.run_progress import RunProgress
from ablations.store.validation import CheckpointJson, validate_values
from ablations.tracking import mirror
from ablations.training import code_hash, environment
from ablations.training.cost import run_cost
from ablations.training.ddp_workers import RankContext, ddp_workers
from ablations.training.history import History, Progress, summarize
from ablations.training.loop import (
    Batches,
    check_devices,
    failure_kind,
    fit,
    has_diverged,
    summarize_error,
    uses_gpu,
)
from ablations.training.ranks import SINGLE_PROCESS, launch_hint
from ablations.training.run_log import log_to_file
from ablations.training.signals import Interrupted, Signals

log = logging.getLogger("ablations")


def train(
    config: RunConfig,
    results: Path,
    on_epoch: Progress | None = None,
    reuse: bool = True,
    on_unsent: Callable[[Path], None] | None = None,
    signals: Signals | None = None,
    team: RankContext | None = None,
    on_progress: Callable[[RunProgress], None] | None = None,
) -> Record:
    """Train one cell to its end, from where it was left, and write its record.

    Args:
        config: The fully resolved cell.
        results: The folder of all runs; this one's files go to ``<results>/<run_id>``.
        on_epoch: Called after each epoch with ``epoch``, ``epochs``, the metrics and ``speed``
            (training images per second).
        reuse: Whether a record that is there already is enough.
        on_unsent: Called with the tracker's folder if W&B has not received all of it.
        signals: Where the caller handles SIGTERM already.
        team: Where the processes of the run have been started already, and this is rank 0; else
            it starts those of its machine itself.
        on_progress: Called within epochs, at most once a second.

    Returns:
        The record on disk; the one that was there already if the cell is done. A run that fails
        on its way gives a record with status ``failed`` and the reason.

    Raises:
        ConfigError: What this machine or these images cannot give: a GPU, the model's classes; a
            run that was begun or ended in another precision or by other code.
        DataError: The images are missing, or other ones than the run was begun or ended with.
        RecordError: The results folder cannot be written.
        AccessError: A file of the run is another user's.
        BusyError: Another process trains the run.
        LeaseLostError: Another process has taken the run over while this one slept.
        ProcessLostError: One of several processes that train the run has ended from outside.
        TrackerError: W&B refuses the run: no such entity, another key.
        Interrupted: SIGINT or SIGTERM.
    """
    signals = signals or Signals()
    with signals.handled():
        if team is None and config.system.nodes > 1:
            raise ConfigError(f"system.nodes {config.system.nodes}: {launch_hint(config.system)}")
        plugins.load_plugins(config.system.plugins)
        uses_gpu(config.system.accelerator)
        pictures = data.load_dataset(config.data)
        check_classes(config, len(pictures.classes))
        check_devices(config, pictures)
        whole = not records.has_interrupted_move(results, config.run_id)
        if whole and (known := reusable(config, results, reuse)):
            reuse_check.remove_finished_leftovers(
                results, [config.run_id]
            )  # what a killed process left beside its record
            return known
        # What is wrong with the input shows before anything is written.
        workers, world = config.system.loader_workers, config.system.world_size
        batches = create_loaders(pictures, config.data, config.seed, workers, world=world)
        records.check_writable(results)
        with leases.hold_lease(results, config.run_id) as lease:
            records.finish_interrupted_move(results, config.run_id)
            # Whoever had it a moment ago may have finished it.
            if known := reusable(config, results, reuse):
                return known
            given = config, results, pictures, batches
            try:
                return _train(*given, on_epoch, on_unsent, signals, lease, team, on_progress)
            except OSError as error:
                raise records.storage_error(error, results / config.run_id) or error from error


def reusable(config: RunConfig, results: Path, reuse: bool) -> Record | None:
    """The record of a run that is done, where that is enough.

    Raises:
        DataError: It is of other images.
        ConfigError: It is of another precision, or of other code of a plugin's mixer.
    """
    known = records.find_record(results, config.run_id)
    if not (known and known.done and reuse):
        return None
    reuse_check.check_record(known, config, results / known.run_id / records.RECORD_FILE)
    return known


def _train(
    config: RunConfig,
    results: Path,
    pictures: data.ImageDataset,
    batches: Batches,
    progress: Progress | None,
    unsent: Callable[[Path], None] | None,
    signals: Signals,
    lease: Lease,
    team: RankContext | None,
    report: Callable[[RunProgress], None] | None,
) -> Record:
    started = time.perf_counter()
    mixers = plugins.mixer_versions(config.model.mixers)
    found = {"plugins": mixers, "processes": config.system.world_size}
    where = environment.describe(found, config.system.threads)
    known = records.find_record(results, config.run_id)
    checkpoint = results / config.run_id / CHECKPOINT_FILE
    state = load_run_checkpoint(checkpoint, config.run_id)
    epoch = state["epoch"] + 1 if state else 0
    if state:
        reuse_check.check_checkpoint(state, config, checkpoint)
        code_hash.check_unchanged(checkpoint, state.get("code", {}))
        set_first_epoch(batches[0], epoch)
    records.remove_leftovers(results / config.run_id)
    shared: dict[str, Any] = {
        "run_id": config.run_id,
        "config": config.to_json(),
        "data": {
            **pictures.identity,
            "classes": len(pictures.classes),
            "train": len(pictures.train),
            "val": len(pictures.val),
        },
    }
    with (
        run_state.run_folder(results, config.run_id) as folder,
        log_to_file(folder / run_state.LOG_FILE),
    ):
        with signals.held():  # so that W&B hears of a signal that comes meanwhile
            before = run_state.find_tracker_ids(results, config.run_id, known)
            tracker = mirror.start_tracker(config, results, before)
        try:
            with run_state.track_run_state(config, results, tracker.ids) as lease.is_unchanged:
                signals.check()
                if known and known.done:
                    records.move_to_previous(results, config.run_id)
                try:
                    shared |= {"tracker": tracker.ids, "cost": cost_or_none(config)}
                    history = History(folder, pictures, tracker, progress)

                    def check() -> None:
                        signals.check()
                        lease.check()

                    alone = config.system.world_size == 1 or has_diverged(state)
                    others = (
                        contextlib.nullcontext(SINGLE_PROCESS)
                        if alone
                        else ddp_workers(config, results, pictures.identity, epoch, team, signals)
                    )
                    with others as seat:
                        given = config, batches, folder, history, signals, check, state
                        status = fit(*given, seat, report)
                    record = Record(
                        status=status,
                        metrics=summarize(history.rows),
                        timing=history.timing(time.perf_counter() - started),
                        environment=where | history.device | environment.end_date(),
                        **shared,
                    )
                except (LeaseLostError, ProcessLostError):
                    raise
                except Exception as error:
                    log.error("%s", traceback.format_exc())
                    if refused := records.storage_error(error, folder):
                        raise refused from error
                    record = Record(
                        status="failed",
                        failure=failures.describe_failure(
                            failure_kind(error), summarize_error(error), folder
                        ),
                        environment=where | environment.end_date(),
                        **shared,
                    )
                lease.check(now=True)
                records.write_or_restore(results, record)
        except (LeaseLostError, ProcessLostError):
            tracker.interrupt(1)
            raise
        except KeyboardInterrupt as stopped:
            tracker.interrupt(getattr(stopped, "code", 130))
            if isinstance(stopped, Interrupted):
                stopped.reported = True
            if tracker.unsent and unsent:
                unsent(tracker.unsent)
            raise
        except (OSError, AccessError) as error:
            tracker.interrupt(1)  # the next run in this process must not find it open
            raise records.storage_error(error, folder) or error from None
        if record.done:
            (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        tracker.finish(record, kept(folder, config.system.log_model))
    if tracker.unsent and unsent:
        unsent(tracker.unsent)
    return record


def kept(folder: Path, weights: bool) -> list[Path]:
    """The files of a run that its tracker keeps, as far as they are there."""
    names = [records.RECORD_FILE, records.HISTORY_FILE, *([WEIGHTS_FILE] if weights else [])]
    return [folder / name for name in names if (folder / name).is_file()]


def cost_or_none(config: RunConfig) -> dict[str, Any]:
    """The cost of a run; a model whose cost cannot be counted can still be trained."""
    try:
        return run_cost(config)
    except Exception as error:  # whatever fvcore makes of a new operator
        log.warning("the cost cannot be counted: %s", summarize_error(error))
        return {}


def load_run_checkpoint(checkpoint: Path, run_id: str) -> dict[str, Any] | None:
    """The checkpoint of this run, or None where there is none that can be read.

    A broken one is put aside, not overwritten. A file system that fails is an error, not a reason
    to train anew.
    """
    if not checkpoint.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        validate_values(state, CheckpointJson)
        if state["run_id"] == run_id:
            return state
        reason = f"is of run {state['run_id']}"
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch raises what the broken file makes it raise
        reason = f"cannot be read ({summarize_error(error)})"
    aside = checkpoint.with_name(BROKEN_CHECKPOINT_FILE)
    checkpoint.replace(aside)
    screen.note(f"{checkpoint} {reason}: starting anew, it is kept as {aside.name}")
    return None
