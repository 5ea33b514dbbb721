"""Where a cell runs: warm worker processes on this machine.

A worker imports torch once and trains cell after cell. A worker that dies takes nothing with it:
its cell comes back to the runner and continues from its checkpoint in a fresh worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ablations.config import RunConfig

LOG = "workers.log"
# Inherited by the workers before they load the libraries that read them.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Each worker has a W&B client of its own: with the runner's, its end would end their runs well.
OWN_CLIENT = {"WANDB_SERVICE": None}
# How long workers may take to end their batch and to tell W&B before they are killed.
GRACE_SECONDS = 15


@dataclass(frozen=True)
class Event:
    """What a worker tells of its cell.

    Args:
        kind: epoch, done, unsent (the tracker's folder), refused (wrong input), failed (without
            a record) or died.
        run_id: The cell; empty where a worker died without one.
        body: The metrics of an epoch, the record of a cell that is done, or the reason.
    """

    kind: str
    run_id: str
    body: Any = None


class Worker:
    """One process and the cell that it has."""

    def __init__(self, results: Path, gpu: str | None, reuse: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.gpu = gpu
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, results, reuse))
        own = {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}
        with inherited({**ONE_THREAD, **OWN_CLIENT, **own}):
            self.process.start()
        theirs.close()  # so that this end sees the worker's death
        self.cell: RunConfig | None = None

    def give(self, cell: RunConfig) -> None:
        """Start a cell."""
        self.cell = cell
        # Where the worker has just died, its end of the pipe says so at the next look.
        with contextlib.suppress(OSError):
            self.connection.send(cell)


@contextlib.contextmanager
def inherited(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Environment variables that a process started here sees; this one's stay as they are."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def gpus() -> list[str]:
    """The ids of the GPUs that this process may use, found without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name not in ("", "-1")]
    return [str(index) for index, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def default_workers(on_gpus: bool) -> int:
    """One worker a GPU where there are some, else one a core that this process may use."""
    return (len(gpus()) if on_gpus else 0) or len(os.sched_getaffinity(0))


class LocalWorkers:
    """A fixed number of warm workers, spread over the GPUs; dead ones are replaced."""

    def __init__(self, results: Path, on_gpus: bool = False, reuse: bool = True) -> None:
        self.results, self.reuse = results, reuse
        self.gpus = gpus() if on_gpus else []
        self.workers: list[Worker] = []

    def start(self, count: int) -> None:
        """Start the processes."""
        for index in range(count):
            gpu = self.gpus[index % len(self.gpus)] if self.gpus else None
            self.workers.append(Worker(self.results, gpu, self.reuse))

    def idle(self) -> list[Worker]:
        """Workers without a cell."""
        return [worker for worker in self.workers if worker.cell is None]

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for at most ``timeout`` seconds."""
        ready = wait([worker.connection for worker in self.workers], timeout)
        for worker in [worker for worker in self.workers if worker.connection in ready]:
            try:
                event: Event = worker.connection.recv()
            except (EOFError, OSError):
                yield self._replace(worker)
                continue
            if event.kind in ("done", "refused", "failed"):
                worker.cell = None
            yield event

    def _replace(self, worker: Worker) -> Event:
        worker.process.join()
        code = worker.process.exitcode or 0
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        cell = worker.cell
        worker.connection.close()
        self.workers[self.workers.index(worker)] = Worker(self.results, worker.gpu, self.reuse)
        return Event("died", cell.run_id if cell else "", f"its worker ended with {reason}")

    def stop(self) -> None:
        """End all workers; what they trained so far lies in their checkpoints.

        Those with a cell are asked first, so that W&B hears of it.
        """
        for worker in self.workers:
            if worker.cell:
                worker.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in self.workers:
            if worker.cell:
                worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.connection.close()


def serve(connection: Connection, results: Path, reuse: bool) -> None:
    """A worker's life: cells in, events out, until the runner is gone."""
    # Ctrl-C reaches the whole foreground group; the runner decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    # What the libraries print, and what a crash leaves, goes to one file beside the runs.
    log = os.open(results / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)

    from ablations.train import train

    def tell(event: Event) -> None:
        try:
            connection.send(event)
        except OSError:  # the runner is gone; the checkpoint holds what was trained
            os._exit(1)

    def tell_epoch(run_id: str, body: dict[str, Any]) -> None:
        tell(Event("epoch", run_id, body))

    def tell_unsent(run_id: str, folder: Path) -> None:
        tell(Event("unsent", run_id, folder))

    while True:
        try:
            cell: RunConfig = connection.recv()
        except (EOFError, OSError):
            return
        try:
            record = train(
                cell,
                results,
                partial(tell_epoch, cell.run_id),
                reuse,
                partial(tell_unsent, cell.run_id),
            )
        except KeyboardInterrupt:  # SIGTERM: the run has told what there was to tell
            os._exit(143)
        except Exception as error:
            ours = type(error).__module__.split(".")[0] in ("ablations", "poolformer")
            message = str(error) if ours else f"{type(error).__name__}: {error}"
            tell(Event("refused" if ours else "failed", cell.run_id, message))
        else:
            tell(Event("done", cell.run_id, record))


def _end_with_parent() -> None:
    """A worker never outlives its runner, not even one that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
