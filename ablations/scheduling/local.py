"""Trains runs on this machine, in worker processes that stay alive between runs.

A worker imports torch once and trains run after run. When a worker dies, its run returns to the
scheduler and continues from its checkpoint in a new worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.machine.child_process import ONE_THREAD
from ablations.machine.cores import count_oom_kills
from ablations.machine.env_vars import set_environ
from ablations.scheduling.events import Event, OutOfMemory, RunEnd, WorkerDied
from ablations.scheduling.gpus import local_capacity
from ablations.scheduling.launcher import GRACE_SECONDS
from ablations.scheduling.local_worker import serve
from ablations.scheduling.worker_env import NO_WANDB_IDENTITY


class LocalWorker:
    """A slot of this machine: a worker process and the run that it trains.

    Args:
        results: The folder of all runs.
        gpus: The ids of the GPUs that it may use; empty for the CPU.
        reuse: Whether a record that is already there is enough.
    """

    def __init__(self, results: Path, gpus: Sequence[str] = (), reuse: bool = True) -> None:
        self.results, self.gpus, self.reuse = results, list(gpus), reuse
        self.location = self.device = f"gpu {', '.join(gpus)}" if gpus else "cpu"
        self.run: RunConfig | None = None
        self.start()

    def start(self) -> None:
        """Start the process."""
        # The pipe must not get the file number of a closed standard stream.
        screen.reopen_closed_streams()
        context = multiprocessing.get_context("spawn")
        self.connection, worker_end = context.Pipe()
        self.process = context.Process(target=serve, args=(worker_end, self.results, self.reuse))
        devices = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}
        with set_environ({**ONE_THREAD, **NO_WANDB_IDENTITY, **devices}):
            self.process.start()
        worker_end.close()  # so that the connection ends when the worker dies
        self.oom_kills = count_oom_kills()

    def submit(self, run: RunConfig) -> None:
        """Start a run."""
        if self.connection.closed:
            self.start()
        with contextlib.suppress(OSError):  # a worker that has just died is noticed by `events`
            self.connection.send(run)
        self.run = run

    def shut_down(self) -> None:
        """End the process and free its memory; the next run starts another one."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def ended(self) -> RunEnd:
        """Why the process ended."""
        self.process.join()
        code = self.process.exitcode or 0
        run_id = self.run.run_id if self.run else ""
        cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        reason = f"its worker ended with {cause}"
        self.connection.close()
        if code == -signal.SIGKILL and self.oom_kills < count_oom_kills():
            return OutOfMemory(
                run_id, f"{reason}: the system killed a process because memory ran out"
            )
        return WorkerDied(run_id, reason)


class LocalLauncher:
    """Trains runs in workers on this machine, spread over its GPUs; dead workers are replaced.

    Args:
        workers: Runs at once; None for one a GPU, or one a core.
        workers_per_gpu: Runs on a GPU; None for one.
    """

    on_this_machine = True
    may_grow = False

    def __init__(self, workers: int | None = None, workers_per_gpu: int | None = None) -> None:
        self.requested, self.workers_per_gpu = workers, workers_per_gpu
        self.max_runs = 0
        self.gpu_groups: list[list[str]] = []
        self.workers: list[LocalWorker] = []

    def check(self, runs: Sequence[RunConfig]) -> None:
        """Find room on this machine.

        Raises:
            ConfigError: A run wants more GPUs than there are, or ``workers_per_gpu`` is set but no
                GPU is used.
        """
        self.max_runs, self.gpu_groups = local_capacity(
            [run.system for run in runs], self.requested, self.workers_per_gpu
        )

    def start(self, runs: Sequence[RunConfig], results: Path, reuse: bool) -> None:
        """Start the worker processes, no more than there are runs."""
        self.max_runs = min(self.max_runs, len(runs))
        for index in range(self.max_runs):
            gpus = self.gpu_groups[index % len(self.gpu_groups)] if self.gpu_groups else []
            self.workers.append(LocalWorker(results, gpus, reuse))

    def slots(self) -> list[LocalWorker]:
        """The workers."""
        return list(self.workers)

    def submit(self, slot: LocalWorker, run: RunConfig, alone: bool = False) -> None:
        """Start a run; ``alone``: in a new process, while no other one uses the device."""
        if alone:
            for worker in self.workers:
                if worker.device == slot.device and not worker.connection.closed:
                    worker.shut_down()
        slot.submit(run)

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for at most ``timeout`` seconds."""
        connected = [worker for worker in self.workers if not worker.connection.closed]
        ready = wait([worker.connection for worker in connected], timeout)
        for worker in [worker for worker in connected if worker.connection in ready]:
            try:
                event = worker.connection.recv()
            except (EOFError, OSError):
                event = worker.ended()
                worker.start()
            if isinstance(event, RunEnd):
                worker.run = None
            yield replace(event, location=worker.location)

    def cancel(self, run_id: str, kill: bool = False) -> None:
        """Ask the run's worker to end, or ``kill`` it."""
        for worker in self.workers:
            if worker.run and worker.run.run_id == run_id:
                end = worker.process.kill if kill else worker.process.terminate
                end()

    def stop(self) -> None:
        """End all workers; checkpoints keep what was trained.

        Busy workers are asked first, so that they can close their W&B runs.
        """
        busy = [worker for worker in self.workers if worker.run]
        for worker in busy:
            worker.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in busy:
            worker.process.join(max(0.0, deadline - time.monotonic()))
        for worker in self.workers:
            worker.shut_down()
        self.workers.clear()
