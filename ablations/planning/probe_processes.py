"""Probes in processes of their own, as many at once as ``ablations run`` trains runs at once.

So a probe shares cores and memory as a run will, the state of the command does not change, and a
probe that is killed because memory ran out takes nothing else with it.
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
from ablations.planning.probe import Measurement, try_measure

Job = tuple[RunConfig, ImageDataset | None]  # a run and its images; None for random ones
Result = tuple[int, Measurement | str]
KILLED = "killed: its process ended from outside; memory may have run out"


def measure_in_processes(
    jobs: Mapping[int, Job], at_once: int, gpus: Sequence[Sequence[str]]
) -> Iterator[Result]:
    """Probe runs; yield each result, or why the probe failed, as it ends.

    Args:
        jobs: The probes, by any number.
        at_once: How many processes.
        gpus: The GPU ids for each of them, as ``local_capacity`` returns them.
    """
    left = dict(jobs)
    for index, result in _run_pool(jobs, at_once, gpus):
        del left[index]
        yield index, result
    # A process was killed. Run the others one by one to see which of them does it.
    for index in left:
        alone = dict(_run_pool({index: left[index]}, 1, gpus))
        yield index, alone.get(index, KILLED)


def _run_pool(
    jobs: Mapping[int, Job], at_once: int, gpus: Sequence[Sequence[str]]
) -> Iterator[Result]:
    """Run probes until all are done or a process is killed.

    Some are run a second time, so that the last ones do not have the machine for themselves.
    """
    if not jobs:
        return
    spawn = multiprocessing.get_context("spawn")
    gpus_queue = spawn.SimpleQueue()
    for worker in range(at_once):
        gpus_queue.put(",".join(gpus[worker % len(gpus)]) if gpus else None)
    pool = ProcessPoolExecutor(at_once, spawn, initializer=_set_up, initargs=(gpus_queue,))
    try:
        with set_environ(ONE_THREAD):
            futures = {pool.submit(try_measure, *job): index for index, job in jobs.items()}
            for job in islice(cycle(jobs.values()), at_once - 1):
                pool.submit(try_measure, *job)
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        return
    finally:
        pool.shutdown(cancel_futures=True)


def _set_up(gpus_queue: Any) -> None:
    """Set up a process of the pool: its GPUs, its signals, and no output."""
    if gpus := gpus_queue.get():
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus  # torch has not read it yet
    set_up_child(os.devnull, ignore=[signal.SIGINT])
