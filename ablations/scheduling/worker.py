"""A worker's life on this machine: cells in, events out, until the runner is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ablations.config.schema import RunConfig
from ablations.errors import PoolformerError
from ablations.machine.child_process import set_up_child
from ablations.scheduling.launcher import LOG, Event


def serve(connection: Connection, results: Path, reuse: bool) -> None:
    """Train the cells that come through a connection."""
    # Ctrl-C and a closed terminal reach the whole foreground group; the runner decides what they
    # mean.
    # One file beside the runs has what the libraries print, and what a crash leaves.
    set_up_child(results / LOG, ignore=[signal.SIGINT, signal.SIGHUP])

    def tell(event: Event) -> None:
        try:
            connection.send(event)
        except OSError:  # the runner is gone; the checkpoint holds what was trained
            os._exit(1)

    while True:
        try:
            cell: RunConfig = connection.recv()
        except (EOFError, OSError):
            return
        tell(Event("began", cell.run_id))
        try:
            tell(trained(cell, results, reuse, tell))
        except KeyboardInterrupt:  # SIGTERM: the run has told what there was to tell
            os._exit(143)


def trained(cell: RunConfig, results: Path, reuse: bool, tell: Callable[[Event], None]) -> Event:
    """Train a cell; what came of it.

    Args:
        cell: The cell.
        results: The folder of all runs.
        reuse: Whether a record that is there already is enough.
        tell: Called with what happens on the way.
    """
    from ablations.errors import (
        BusyError,
        InsufficientMemoryError,
        LeaseLostError,
        ProcessLostError,
        TrackerError,
    )
    from ablations.store.records import NO_SPACE_ERRORS
    from ablations.training.train import train

    def on_the_way(kind: str, body: Any) -> None:
        tell(Event(kind, cell.run_id, body))

    try:
        record = train(
            cell,
            results,
            on_epoch=partial(on_the_way, "epoch"),
            reuse=reuse,
            on_unsent=partial(on_the_way, "unsent"),
            on_progress=partial(on_the_way, "batch"),
        )
        return Event("done", cell.run_id, record)
    except (BusyError, LeaseLostError) as error:
        return Event("busy", cell.run_id, str(error))
    except InsufficientMemoryError as error:
        return Event("oom", cell.run_id, str(error))
    except ProcessLostError as error:
        return Event("died", cell.run_id, str(error))
    except TrackerError as error:
        return Event("stop", cell.run_id, str(error))
    except PoolformerError as error:
        return Event("refused", cell.run_id, str(error))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE_ERRORS:
            return Event("refused", cell.run_id, f"{error.filename or results}: {error.strerror}")
        return Event("failed", cell.run_id, f"{type(error).__name__}: {error}")
    finally:
        _free(cell)


def _free(cell: RunConfig) -> None:
    """Give back a GPU's memory and end loader processes, which a run that failed leaves behind.

    A neighbour can have both while this worker waits.
    """
    import torch

    used = torch.cuda.is_available() and torch.cuda.memory_reserved()
    if used or cell.system.loader_workers:
        import gc

        gc.collect()
    if used:
        torch.cuda.empty_cache()
