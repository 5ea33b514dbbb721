"""A worker process of this machine: it receives runs, trains them and sends events back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from ablations.config.schema import RunConfig
from ablations.errors import (
    BusyError,
    InsufficientMemoryError,
    LeaseLostError,
    PoolformerError,
    ProcessLostError,
    TrackerError,
)
from ablations.machine.child_process import set_up_child
from ablations.scheduling import events
from ablations.scheduling.events import RunEnd, RunEvent
from ablations.scheduling.launcher import LOG

ENDS = {
    BusyError: events.Busy,
    LeaseLostError: events.Busy,
    InsufficientMemoryError: events.OutOfMemory,
    ProcessLostError: events.WorkerDied,
    TrackerError: events.StudyAborted,
    PoolformerError: events.Refused,  # any other
}


def serve(connection: Connection, results: Path, reuse: bool) -> None:
    """Train the runs that arrive through a connection, until the runner closes it."""
    # Ctrl-C and a closed terminal reach the whole process group; the runner decides what happens.
    set_up_child(results / LOG, ignore=[signal.SIGINT, signal.SIGHUP])

    def send(event: RunEvent) -> None:
        try:
            connection.send(event)
        except OSError:  # the runner is gone; the checkpoint keeps what was trained
            os._exit(1)

    while True:
        try:
            run: RunConfig = connection.recv()
        except (EOFError, OSError):
            return
        send(events.Started(run.run_id))
        try:
            send(train_run(run, results, reuse, send))
        except KeyboardInterrupt:  # SIGTERM: the run has already closed its files and W&B run
            os._exit(143)


def train_run(
    run: RunConfig, results: Path, reuse: bool, send: Callable[[RunEvent], None]
) -> RunEnd:
    """Train a run and say how it ended.

    Args:
        run: The run.
        results: The folder of all runs.
        reuse: Whether a record that is already there is enough.
        send: Called with the events until then.
    """
    from ablations.store.storage import NO_SPACE_ERRORS
    from ablations.training.train import train

    run_id = run.run_id
    try:
        record = train(
            run,
            results,
            on_epoch=lambda metrics: send(events.EpochDone(run_id, metrics)),
            reuse=reuse,
            on_unsent=lambda folder: send(events.Unsynced(run_id, folder)),
            on_progress=lambda progress: send(events.BatchDone(run_id, progress)),
        )
        return events.Recorded(run_id, record)
    except PoolformerError as error:
        end = next(end for kind, end in ENDS.items() if isinstance(error, kind))
        return end(run_id, str(error))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE_ERRORS:
            return events.Refused(run_id, f"{error.filename or results}: {error.strerror}")
        return events.Failed(run_id, f"{type(error).__name__}: {error}")
    finally:
        _free_resources(run)


def _free_resources(run: RunConfig) -> None:
    """Release GPU memory and end loader processes that a failed run leaves behind.

    Another worker may need them while this one waits.
    """
    import torch

    used = torch.cuda.is_available() and torch.cuda.memory_reserved()
    if used or run.system.loader_workers:
        import gc

        gc.collect()
    if used:
        torch.cuda.empty_cache()
