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
from itertools import cycle, islice
from typing import Any

from ablations.config.schema import RunConfig
from ablations.data import ImageDataset
from ablations.machine.child_process import ONE_THREAD, set_up_child
from ablations.machine.env_vars import set_environ
from ablations.planning.probe import Measured, attempt

Job = tuple[RunConfig, ImageDataset | None]
Found = tuple[int, Measured | str]


def probes(jobs: Mapping[int, Job], at_once: int, gpus: Sequence[Sequence[str]]) -> Iterator[Found]:
    """What each probe found, or why it failed, as they end.

    Args:
        jobs: Cells with their pictures (None: made up), by any number.
        at_once: How many processes.
        gpus: The ids of the GPUs that each may have, as ``launchers.local.room`` gives them.
    """
    left = dict(jobs)
    for name, found in _pooled(jobs, at_once, gpus):
        del left[name]
        yield name, found
    # A process was killed. Which probe did it shows when each has the machine for itself.
    for name in left:
        alone = dict(_pooled({name: left[name]}, 1, gpus))
        killed = "killed: its process ended from outside; it may have wanted too much memory"
        yield name, alone.get(name, killed)


def _pooled(
    jobs: Mapping[int, Job], at_once: int, gpus: Sequence[Sequence[str]]
) -> Iterator[Found]:
    """Probes until all are done, or a process is killed.

    Some go through it once more, unheard, so that the last ones are not alone on the machine.
    """
    if not jobs:
        return
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.SimpleQueue()
    for index in range(at_once):
        queue.put(",".join(gpus[index % len(gpus)]) if gpus else None)
    pool = ProcessPoolExecutor(at_once, spawn, initializer=_begin, initargs=(queue,))
    try:
        with set_environ(ONE_THREAD):
            names = {pool.submit(attempt, *job): name for name, job in jobs.items()}
            for job in islice(cycle(jobs.values()), at_once - 1):
                pool.submit(attempt, *job)
        for future in as_completed(names):
            yield names[future], future.result()
    except BrokenProcessPool:
        return
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(queue: Any) -> None:
    """A probe ends with the command, leaves Ctrl-C to it, and says nothing but its result.

    Args:
        queue: The GPUs of each process, or None.
    """
    if gpus := queue.get():
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus  # torch has not looked yet
    set_up_child(os.devnull, ignore=[signal.SIGINT])
