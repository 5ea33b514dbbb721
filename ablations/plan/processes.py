"""Probes in processes of their own, as many at once as `ablations run` trains cells at once.

So cells share cores and memory in a probe as they will, the command's own state stays as it is, and
a probe that the system kills for want of memory takes nothing else with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from ablations.config import RunConfig, SystemConfig
from ablations.data import Pictures
from ablations.launchers.local import default_workers, gpu_groups
from ablations.launchers.variables import ONE_THREAD, inherited
from ablations.launchers.worker import end_with_parent
from ablations.plan.probe import Measured, attempt

Job = tuple[RunConfig, Pictures | None]
Found = tuple[str, Measured | str]


@dataclass(frozen=True)
class Room:
    """Where `ablations run` trains cells here.

    Args:
        at_once: How many at once.
        gpus: The ids of the GPUs of each, none on a CPU.
    """

    at_once: int
    gpus: Sequence[str] = ()


def room(systems: Sequence[SystemConfig], workers: int | None) -> Room:
    """One cell a GPU, or one a core, unless the user wants so many workers.

    Raises:
        ConfigError: More GPUs a cell than there are.
    """
    on_gpus = any(system.accelerator != "cpu" for system in systems)
    devices = max((system.devices for system in systems), default=1)
    groups = gpu_groups(devices, 1) if on_gpus else []
    at_once = workers or len(groups) or default_workers(devices)
    return Room(at_once, [",".join(group) for group in groups])


def probes(jobs: Mapping[str, Job], where: Room) -> Iterator[Found]:
    """What each probe found, or why it failed, as they end.

    Args:
        jobs: Cells with their pictures (None: made up), by any name.
        where: How many processes, and their GPUs.
    """
    left = dict(jobs)
    for name, found in _pooled(jobs, where):
        del left[name]
        yield name, found
    # A process was killed. Which probe did it shows when each has the machine for itself.
    for name in left:
        alone = dict(_pooled({name: left[name]}, Room(1, where.gpus[:1])))
        killed = "killed: its process ended from outside; it may have wanted too much memory"
        yield name, alone.get(name, killed)


def _pooled(jobs: Mapping[str, Job], where: Room) -> Iterator[Found]:
    """Probes until all are done, or a process is killed.

    Some go through it once more, unheard, so that the last ones are not alone on the machine.
    """
    spawn = multiprocessing.get_context("spawn")
    gpus = spawn.SimpleQueue()
    for gpu in islice(cycle(where.gpus), where.at_once):
        gpus.put(gpu)
    arguments = (gpus if where.gpus else None,)
    pool = ProcessPoolExecutor(where.at_once, spawn, initializer=_begin, initargs=arguments)
    try:
        with inherited(ONE_THREAD):
            names = {pool.submit(attempt, *job): name for name, job in jobs.items()}
            for job in islice(cycle(jobs.values()), where.at_once - 1):
                pool.submit(attempt, *job)
        for future in as_completed(names):
            yield names[future], future.result()
    except BrokenProcessPool:
        return
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(gpus: Any) -> None:
    """A probe ends with the command, leaves Ctrl-C to it, and says nothing but its result.

    Args:
        gpus: A queue with the GPUs of each process; None on a CPU.
    """
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus.get()  # torch has not looked yet
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
