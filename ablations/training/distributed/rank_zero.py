"""Rank 0: it starts the other ranks or finds them started, and reports why one has failed."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch.distributed as dist

from ablations.config import plugins
from ablations.config.precision import resolve_precision
from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.errors import ProcessLostError, RankError
from ablations.training import code_hash
from ablations.training.devices import uses_gpu
from ablations.training.distributed.ranks import RankInfo
from ablations.training.distributed.store import (
    POLL_SECONDS,
    RankContext,
    connect,
)
from ablations.training.distributed.strategy import (
    abort_process_group,
    is_lost_connection,
    process_group,
)
from ablations.training.distributed.workers import GRACE_SECONDS, LOST, ddp_worker_main
from ablations.training.error_summary import summarize_error
from ablations.training.signals import Signals

log = logging.getLogger("ablations")

REPORT_SECONDS = 5.0  # how long a rank may take to report why a collective failed


def run_rank_zero(rank: RankContext, command: Callable[[], int]) -> int:
    """Run a command as rank 0 of processes that a launcher started; the exit code.

    Args:
        rank: Rank 0 and its store.
        command: What rank 0 does. If it does not train, the other ranks end with its exit code.
    """
    store, exit_code = rank.store, 1
    try:
        exit_code = command()
        return exit_code
    except KeyboardInterrupt as interrupt:
        exit_code = getattr(interrupt, "code", 130)
        raise
    except (ValueError, OSError):
        exit_code = 2  # the input was wrong
        raise
    finally:
        with contextlib.suppress(dist.DistError):  # the host of the store has ended all ranks
            if store.get("start") is None:
                store.set("start", {"exit": exit_code})
            store.set("end", True)
            # This process may host the store: keep it until all ranks have read the message.
            deadline = time.monotonic() + (0 if rank.info.external_store else GRACE_SECONDS)
            for other in range(1, rank.info.world_size):
                store.wait(f"left {other}", deadline - time.monotonic())


@contextlib.contextmanager
def ddp_workers(
    config: RunConfig,
    results: Path,
    identity: Mapping[str, str],
    epoch: int,
    rank: RankContext | None,
    signals: Signals,
) -> Iterator[RankInfo]:
    """The other ranks train along inside the block; yields the info of rank 0.

    However the block ends, no process that was started here survives it.

    Args:
        config: The run.
        results: The results folder.
        identity: Fingerprint and contents of rank 0's images.
        epoch: The first epoch to train; above 0 there is a checkpoint.
        rank: Rank 0, if a launcher started all ranks.
        signals: Interrupts the wait for the other ranks.

    Raises:
        ProcessLostError: A rank was ended from outside.
        RankError: A rank has failed.
    """
    this = rank or connect(RankInfo(world_size=config.system.world_size))
    info, store = this.info, this.store
    store.set(
        "start",
        {
            "code": code_hash.current_hashes(),
            "plugins": plugins.mixer_versions(config.model.mixers),
            "precision": resolve_precision(config.system),
            "images": dict(identity),
            "epoch": epoch,
        },
    )
    workers = DDPWorkers(this)
    try:
        if rank is None:
            workers.start_processes(config, results)
        workers.watcher.start()
        with contextlib.ExitStack() as stack, workers.report_first_failure(signals):
            workers.wait_until_ready(signals)
            gpu = uses_gpu(config.system.accelerator)
            stack.enter_context(process_group(info, store.backend, gpu))
            yield info
        workers.join()
    finally:
        workers.close()


class DDPWorkers:
    """The other ranks of a run, as rank 0 sees them.

    Args:
        rank_zero: This process.
    """

    def __init__(self, rank_zero: RankContext) -> None:
        # Rank 0 waits for the group in its own connection, and must still hear of a lost rank.
        self.info, self.store = rank_zero.info, rank_zero.store.clone()
        self.ranks = range(1, self.info.world_size)
        self.processes: dict[int, SpawnProcess] = {}
        self.closed = threading.Event()
        self.watcher = threading.Thread(target=self._watch, name="ddp-workers", daemon=True)

    def start_processes(self, config: RunConfig, results: Path) -> None:
        """Start the other ranks, all on this node."""
        context = multiprocessing.get_context("spawn")
        for rank in self.ranks:
            arguments = config, results, replace(self.info, rank=rank, local_rank=rank)
            # Not daemonic, so that it can have loader workers.
            process = context.Process(target=ddp_worker_main, args=arguments, daemon=False)
            process.start()
            self.processes[rank] = process

    def wait_until_ready(self, signals: Signals) -> None:
        """Wait until all ranks have loaded their images. In a process group, nothing else is heard.

        Raises:
            ProcessLostError: A rank was ended from outside.
            RankError: A rank has failed.
        """
        while not all(self.store.get(f"ready {rank}") for rank in self.ranks):
            signals.check()
            if failure := self.find_failure():
                raise failure
            time.sleep(POLL_SECONDS)

    def find_failure(self) -> Exception | None:
        """The error of the rank that failed first; None if all ranks are well."""
        reports = {rank: self.store.get(f"failed {rank}") for rank in self.ranks}
        failed = {rank: report for rank, report in reports.items() if report}
        for rank, process in self.processes.items():
            if (code := process.exitcode) and rank not in failed:
                how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                return ProcessLostError(
                    f"process {rank} of {self.info.world_size} ended with {how}"
                )
        if not failed:
            return None
        # A rank that failed by itself comes before the ranks that lost their connection to it.
        rank = min(failed, key=lambda rank: failed[rank]["kind"] == LOST)
        kind = failed[rank]["kind"]
        message = f"{failed[rank]['message']} (in process {rank} of {self.info.world_size})"
        return ProcessLostError(message) if kind == LOST else RankError(kind, message)

    @contextlib.contextmanager
    def report_first_failure(self, signals: Signals) -> Iterator[None]:
        """Raise the error of the first failing rank, not of the ranks that failed because of it."""
        try:
            yield
        except BaseException as error:
            interrupted = bool(signals.received) or not isinstance(error, Exception)
            cause = error if interrupted else self._find_cause(error)
            # Now, because leaving the group may wait for the ranks in it.
            self.kill()
            signals.check()
            if cause is error:
                raise
            raise cause from error

    def _find_cause(self, error: BaseException) -> BaseException:
        """The error of another rank, if that is why rank 0 has failed."""
        deadline = time.monotonic() + (REPORT_SECONDS if isinstance(error, RuntimeError) else 0)
        while (failure := self.find_failure()) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if failure is None and is_lost_connection(error):
            return ProcessLostError(
                f"one of {self.info.world_size} processes is gone: {summarize_error(error)}"
            )
        return failure or error

    def _watch(self) -> None:
        """If a rank is lost, get rank 0 out of its collective, or else end the process."""
        while not self.closed.wait(POLL_SECONDS):
            with contextlib.suppress(dist.DistError):
                if failure := self.find_failure():
                    break
        else:
            return
        if self.closed.wait(GRACE_SECONDS):
            return
        log.error("%s: aborting the collective that waits for it", failure)
        abort_process_group()
        if self.closed.wait(GRACE_SECONDS):
            return
        line = f"{failure}: this process still waits for it and ends now; the checkpoint is kept"
        log.error("%s", line)
        screen.note(f"ablations: {line}")
        self.kill()
        os._exit(1)

    def kill(self) -> None:
        """Kill the processes that were started here."""
        for process in self.processes.values():
            process.kill()

    def join(self) -> None:
        """Wait for the processes that were started here; they have finished too."""
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self.processes.values():
            process.join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """End the watcher and all processes."""
        self.closed.set()
        if self.watcher.ident:
            self.watcher.join()
        self.kill()
        for process in self.processes.values():
            process.join()
            process.close()
