"""Where a cell runs: warm worker processes on this machine.

A worker imports torch once and trains cell after cell. A worker that dies takes nothing with it:
its cell comes back to the runner and continues from its checkpoint in a fresh worker.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ablations.config import RunConfig

# Inherited by the workers before they load the libraries that read them.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Event:
    """What a worker tells of its cell.

    Args:
        kind: epoch, done, refused (wrong input) or died.
        run_id: The cell; empty where a worker died without one.
        body: The metrics of an epoch, the record of a cell that is done, or the reason.
    """

    kind: str
    run_id: str
    body: Any = None


class Worker:
    """One process and the cell that it has."""

    def __init__(self, results: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, results), daemon=False)
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update({k: v for k, v in ONE_THREAD.items() if before[k] is None})
        try:
            self.process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
        theirs.close()  # so that this end sees the worker's death
        self.cell: RunConfig | None = None

    def give(self, cell: RunConfig) -> None:
        """Start a cell."""
        self.cell = cell
        self.connection.send(cell)

    def stop(self) -> None:
        """End the process at once; what it trained so far lies in its checkpoint."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class LocalWorkers:
    """A fixed number of warm workers; dead ones are replaced."""

    def __init__(self, count: int, results: Path) -> None:
        self.results = results
        self.workers = [Worker(results) for _ in range(count)]

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
            if event.kind in ("done", "refused"):
                worker.cell = None
            yield event

    def _replace(self, worker: Worker) -> Event:
        worker.process.join()
        code = worker.process.exitcode or 0
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        cell = worker.cell
        worker.connection.close()
        self.workers[self.workers.index(worker)] = Worker(self.results)
        return Event("died", cell.run_id if cell else "", f"its worker ended with {reason}")

    def stop(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.stop()


def serve(connection: Connection, results: Path) -> None:
    """A worker's life: cells in, events out, until the runner is gone."""
    # Ctrl-C reaches the whole foreground group; the runner decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    silent = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(silent, stream)

    from ablations.train import train

    def tell(event: Event) -> None:
        try:
            connection.send(event)
        except OSError:  # the runner is gone; the checkpoint holds what was trained
            os._exit(1)

    def tell_epoch(run_id: str, body: dict[str, Any]) -> None:
        tell(Event("epoch", run_id, body))

    while True:
        try:
            cell: RunConfig = connection.recv()
        except (EOFError, OSError):
            return
        try:
            record = train(cell, results, partial(tell_epoch, cell.run_id))
        except (ValueError, OSError) as error:
            tell(Event("refused", cell.run_id, str(error)))
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
