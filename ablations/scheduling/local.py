"""Warm worker processes on this machine.

A worker imports torch once and trains cell after cell. A worker that dies takes nothing with it:
its cell comes back to the runner and continues from its checkpoint in a fresh worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from ablations.config.schema import RunConfig, SystemConfig
from ablations.console import screen
from ablations.errors import ConfigError
from ablations.machine.child_process import ONE_THREAD
from ablations.machine.cores import count_oom_kills, usable_cores
from ablations.machine.env_vars import set_environ
from ablations.scheduling.launcher import GRACE_SECONDS, ON_THE_WAY, Event
from ablations.scheduling.worker import serve
from ablations.scheduling.worker_env import OWN_CLIENT
from ablations.text.phrases import pluralize

DRIVER = Path("/proc/driver/nvidia/gpus")
# What there is where the driver shows no GPUs of its own: in sandboxes, in WSL, with ROCm.
DEVICES = [Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd")]


class Worker:
    """One process, once it has had a cell, and the cell that it has.

    Args:
        results: The folder of all runs.
        gpus: The ids of the GPUs that it sees; none: the CPU.
        reuse: Whether records that are there already are enough.
    """

    def __init__(self, results: Path, gpus: Sequence[str] = (), reuse: bool = True) -> None:
        self.results, self.gpus, self.reuse = results, list(gpus), reuse
        self.place = self.device = f"gpu {', '.join(gpus)}" if gpus else "cpu"
        self.cell: RunConfig | None = None
        self.kill_at: float | None = None  # when it is killed, if asking has not ended it
        self.start()

    def start(self) -> None:
        """Start the process."""
        # The pipe to the worker must not have the number of one of its streams.
        screen.reopen_closed_streams()
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.results, self.reuse))
        own = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}
        with set_environ({**ONE_THREAD, **OWN_CLIENT, **own}):
            self.process.start()
        theirs.close()  # so that this end sees the worker's death
        self.oom_kills = count_oom_kills()

    def give(self, cell: RunConfig) -> None:
        """Start a cell."""
        if not self.connection.closed:
            # Where the process has just died, its end of the pipe says so at the next look.
            with contextlib.suppress(OSError):
                self.connection.send(cell)
        else:
            self.start()
            self.connection.send(cell)
        self.cell = cell

    def rest(self) -> None:
        """End the process, so that nothing of it is in memory; the next cell starts another."""
        self.process.kill()
        self.process.join()
        self.connection.close()

    def died(self) -> Event:
        """What the end of the process was."""
        self.process.join()
        code = self.process.exitcode or 0
        cell = self.cell
        run_id = cell.run_id if cell else ""
        reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        kind, how = "died", f"its worker ended with {reason}"
        if code == -signal.SIGKILL and self.oom_kills < count_oom_kills():
            kind, how = "oom", f"{how}: the system has killed a process for want of memory"
        self.connection.close()
        self.cell = self.kill_at = None
        return Event(kind, run_id, how, self.place)


class LocalWorkers:
    """Warm workers, spread over the GPUs; dead ones are replaced.

    Args:
        results: The folder of all runs.
        count: How many cells at once.
        groups: GPUs by the cells that may run on them, as ``gpu_groups`` gives them; none: the CPU.
        reuse: Whether records that are there already are enough.
    """

    def __init__(
        self,
        results: Path,
        count: int,
        groups: Sequence[Sequence[str]] = (),
        reuse: bool = True,
    ) -> None:
        self.results, self.count, self.groups, self.reuse = results, count, groups, reuse
        self.workers: list[Worker] = []

    def start(self) -> None:
        """Start the processes."""
        for index in range(self.count):
            gpus = self.groups[index % len(self.groups)] if self.groups else []
            self.workers.append(Worker(self.results, gpus, self.reuse))

    def slots(self) -> list[Worker]:
        """The workers."""
        return list(self.workers)

    def may_grow(self) -> bool:
        """No: a machine has the devices that it has."""
        return False

    def give(self, slot: Worker, cell: RunConfig, alone: bool = False) -> None:
        """Start a cell; alone: in a fresh process, while no other is on that device."""
        if alone:
            for worker in self.workers:
                if worker.device == slot.device and not worker.connection.closed:
                    worker.rest()
        slot.give(cell)

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for at most ``timeout`` seconds."""
        now = time.monotonic()
        for worker in self.workers:
            if worker.kill_at is not None and now > worker.kill_at:
                worker.process.kill()
        open_ones = [worker for worker in self.workers if not worker.connection.closed]
        ready = wait([worker.connection for worker in open_ones], timeout)
        for worker in [worker for worker in open_ones if worker.connection in ready]:
            try:
                event: Event = worker.connection.recv()
            except (EOFError, OSError):
                event = worker.died()
                worker.start()
            if event.kind not in ON_THE_WAY:
                worker.cell = worker.kill_at = None
            yield Event(event.kind, event.run_id, event.body, worker.place)

    def end(self, run_id: str) -> None:
        """Ask a cell's worker to end, and kill it where it does not."""
        for worker in self.workers:
            if worker.cell and worker.cell.run_id == run_id and worker.kill_at is None:
                worker.process.terminate()
                worker.kill_at = time.monotonic() + GRACE_SECONDS

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


def gpus() -> list[str]:
    """The ids of the GPUs that this process may use, found without importing torch.

    CUDA_VISIBLE_DEVICES is believed as far as there are such devices; as for CUDA, the list ends
    before the first that is none.
    """
    there = len(list(DRIVER.glob("*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(there)]
    if not there and not any(path.exists() for path in DEVICES):
        return []
    found: list[str] = []
    for name in (word.strip() for word in visible.split(",")):
        if not name or name.startswith("-") or (there and name.isdigit() and int(name) >= there):
            break
        found.append(name)
    return found


def room(
    systems: Sequence[SystemConfig], workers: int | None, per_gpu: int | None = None
) -> tuple[int, list[list[str]]]:
    """How many cells train at once on this machine, and the GPUs that each may have; none: the CPU.

    Args:
        systems: Of the cells.
        workers: As many as the user wants; None for one a GPU, or one a core.
        per_gpu: Cells on a GPU; None for one.

    Raises:
        ConfigError: More GPUs a cell than there are, or several cells a GPU where none is used.
    """
    on_gpus = any(system.accelerator != "cpu" for system in systems)
    devices = max((system.devices for system in systems), default=1)
    groups = gpu_groups(devices, per_gpu or 1) if on_gpus else []
    if per_gpu and not groups:
        raise ConfigError(
            f"--workers-per-gpu {per_gpu}: "
            + ("there is no GPU here" if on_gpus else "the runs are to be trained on the CPU")
        )
    return workers or len(groups) or default_workers(devices), groups


def gpu_groups(devices: int, per_gpu: int) -> list[list[str]]:
    """The GPUs of each cell that may run at once, none where there are none.

    Args:
        devices: GPUs of a cell.
        per_gpu: Cells on a GPU that is free; fewer on one of whose memory others have a part.

    Raises:
        ConfigError: More GPUs a cell than there are.
    """
    found = gpus()
    if not found:
        return []
    if devices > len(found):
        raise ConfigError(
            f"system.devices {devices}: this machine has "
            f"{pluralize(len(found), 'GPU')} ({', '.join(found)})"
        )
    groups = [found[at : at + devices] for at in range(0, len(found) - devices + 1, devices)]
    free = free_memory() if per_gpu > 1 else {}
    shares = [max(1, round(per_gpu * min(free.get(gpu, 1.0) for gpu in own))) for own in groups]
    # Round by round, so that fewer cells than there is room for spread over all GPUs.
    return [
        own
        for turn in range(per_gpu)
        for own, share in zip(groups, shares, strict=True)
        if turn < share
    ]


def free_memory() -> dict[str, float]:
    """GPU, by index and by UUID -> share of its memory that is free; empty where none is known."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.free,memory.total"]
    query.append("--format=csv,noheader,nounits")
    try:
        done = subprocess.run(query, capture_output=True, encoding="utf-8", check=True, timeout=20)
        rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
        return {name: float(row[2]) / float(row[3]) for row in rows for name in row[:2]}
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, ZeroDivisionError):
        return {}


def default_workers(devices: int = 1) -> int:
    """One worker a core that this process may use, or fewer where a cell takes several."""
    return max(1, usable_cores() // devices)
