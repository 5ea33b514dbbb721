"""The processes of a run that are not rank 0: what they do, and how rank 0 looks after them.

Rank 0 starts them when training begins, or torchrun or srun has started all of them. Either way
they wait for rank 0's word, train along, and end with it; what goes wrong with one of them is
what rank 0's record tells.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch.distributed as dist

from ablations import data
from ablations.config import plugins
from ablations.config.precision import resolve_precision
from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.data.batches import create_loaders
from ablations.errors import ConfigError, DataError, ProcessLostError, RankError
from ablations.machine.child_process import set_up_child
from ablations.store import run_state
from ablations.training import code_hash
from ablations.training.loop import (
    Batches,
    check_devices,
    failure_kind,
    fit_worker,
    summarize_error,
    uses_gpu,
)
from ablations.training.ranks import (
    POLL_SECONDS,
    MessageStore,
    RankInfo,
    abort_process_group,
    connect_store,
    is_lost_connection,
    port_of,
    process_group,
)
from ablations.training.signals import Signals

log = logging.getLogger("ablations")

# How long the others may take to end, and rank 0 to come out of an exchange with one that is gone:
# gloo's fail at once, NCCL's wait for ever.
GRACE_SECONDS = 10.0
LOST = "lost"  # what a follower tells where another process has left it
TELLS_SECONDS = 5.0  # how long it takes until it shows why an exchange has failed


@dataclass(frozen=True)
class RankContext:
    """A process and its wire to the others of the run, which somebody else has started.

    Args:
        seat: Its own.
        wire: To them.
    """

    seat: RankInfo
    wire: MessageStore


# What a follower does


def train_worker(config: RunConfig, results: Path, team: RankContext) -> int:
    """Train along with rank 0 where it trains; the exit code.

    Args:
        config: The cell.
        results: The folder of all runs; rank 0's checkpoint is read there.
        team: Its seat and its wire.
    """
    seat, wire = team.seat, team.wire
    order = wire.wait("order")
    if "exit" in order:
        return int(order["exit"])
    with contextlib.ExitStack() as group:
        try:
            batches = _share(config, seat, order)
            wire.tell(f"ready {seat.rank}", True)
            group.enter_context(
                process_group(seat, wire.store, uses_gpu(config.system.accelerator))
            )
            fit_worker(config, batches, results / config.run_id, order["epoch"] > 0, seat)
            return 0
        except Exception as error:
            lost = is_lost_connection(error)  # that is the others' failure
            if not lost:
                traceback.print_exc()
            # Before the group is left, which is what the others notice.
            kind = LOST if lost else failure_kind(error)
            told = {"kind": kind, "message": summarize_error(error)}
            wire.tell(f"failed {seat.rank}", told)
            abort_process_group()
            return 1


def _share(config: RunConfig, seat: RankInfo, order: dict[str, Any]) -> Batches:
    """A seat's batches, of the same pictures and by the same code as rank 0's."""
    if changed := code_hash.changed_roles(order["code"]):
        raise ConfigError(f"this process has other code than rank 0 ({', '.join(changed)})")
    plugins.load_plugins(config.system.plugins)
    pictures = data.load_dataset(config.data)
    check_devices(config, pictures)
    if (mine := resolve_precision(config.system)) != order["precision"]:
        raise ConfigError(
            f"this process would train in {mine}, rank 0 in {order['precision']}: set "
            "--system.precision"
        )
    if why := plugins.changed_mixers(order["plugins"], config.model.mixers):
        raise ConfigError(f"{why}: this process has other code of it than rank 0")
    if order["pictures"] != pictures.identity:
        raise DataError(
            f"the images of this process have {_words(pictures.identity)}, those of rank 0 "
            f"{_words(order['pictures'])}"
        )
    workers = config.system.loader_workers
    own = order["epoch"], seat.rank, seat.world
    return create_loaders(pictures, config.data, config.seed, workers, *own)


def _words(identity: Mapping[str, str]) -> str:
    """``fingerprint 0123, contents 4567``."""
    return ", ".join(f"{name} {value}" for name, value in identity.items())


def ddp_worker_main(config: RunConfig, results: Path, seat: RankInfo) -> None:
    """The life of a process that rank 0 has started on its machine."""
    log_file = results / config.run_id / run_state.LOG_FILE
    set_up_child(log_file, ignore=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    ended = train_worker(config, results, RankContext(seat, connect_store(seat)))
    os._exit(ended)  # at once: rank 0 waits, and nothing here is left to be written


def run_launched_worker(config: RunConfig, results: Path, team: RankContext) -> int:
    """The life of a process that torchrun or srun has started; its exit code."""

    def leave(*_: Any) -> None:
        # Not before rank 0, which has got the same signal: that one of its processes is gone is
        # not what its run should tell.
        timer = threading.Timer(GRACE_SECONDS, os._exit, (128 + signal.SIGTERM,))
        timer.daemon = True
        timer.start()

    ends = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ends:
        signal.signal(number, signal.SIG_DFL)
    try:
        team.wire.wait("order")
        for number in ends:
            signal.signal(number, leave)
        ended = train_worker(config, results, team)
        if ended:
            # The launcher ends all once one has ended, and rank 0 has a record to write.
            team.wire.wait("end", GRACE_SECONDS)
        team.wire.tell(f"left {team.seat.rank}", True)
        return ended
    except dist.DistError:
        return 1  # rank 0 is gone, and has told why


# What rank 0 does


def run_rank_zero(team: RankContext, command: Callable[[], int]) -> int:
    """Be rank 0 of processes that somebody else has started; the exit code.

    Args:
        team: Its seat and its wire.
        command: What rank 0 does. Where it trains nothing, the others end with its exit code.
    """
    wire, ended = team.wire, 1
    try:
        ended = command()
        return ended
    except KeyboardInterrupt as stopped:
        ended = getattr(stopped, "code", 130)
        raise
    except (ValueError, OSError):
        ended = 2  # the input was wrong
        raise
    finally:
        with contextlib.suppress(dist.DistError):  # who keeps the store has gone, and ends all
            if wire.heard("order") is None:
                wire.tell("order", {"exit": ended})
            wire.tell("end", True)
            # The store may be this process's own: it stays until all have heard.
            deadline = time.monotonic() + (0 if team.seat.hosted else GRACE_SECONDS)
            for rank in range(1, team.seat.world):
                wire.wait(f"left {rank}", deadline - time.monotonic())


@contextlib.contextmanager
def ddp_workers(
    config: RunConfig,
    results: Path,
    identity: Mapping[str, str],
    epoch: int,
    team: RankContext | None,
    signals: Signals,
) -> Iterator[RankInfo]:
    """The other processes of a run train along in the block; rank 0's seat.

    However the block ends, none of those that were started here is left.

    Args:
        config: The cell.
        results: The folder of all runs.
        identity: Of rank 0's images.
        epoch: The first that is trained; above 0 there is a checkpoint.
        team: Where somebody else has started them.
        signals: What ends the wait for them.

    Raises:
        ProcessLostError: One of them has ended from outside.
        RankError: One of them has failed.
    """
    seat = team.seat if team else RankInfo(world=config.system.world_size)
    wire = team.wire if team else connect_store(seat)
    order: dict[str, Any] = {"code": code_hash.current_hashes()}
    order |= {"plugins": plugins.mixer_versions(config.model.mixers)}
    order |= {"precision": resolve_precision(config.system)}
    order |= {"pictures": dict(identity), "epoch": epoch}
    wire.tell("order", order)
    crew = DDPWorkers(config, results, seat, wire, start=team is None)
    try:
        with contextlib.ExitStack() as group, crew.blamed(signals):
            crew.gather(signals)
            group.enter_context(
                process_group(seat, wire.store, uses_gpu(config.system.accelerator))
            )
            yield seat
        crew.join()
    finally:
        crew.end()


class DDPWorkers:
    """The other processes of a run, as rank 0 sees them.

    Args:
        config: The cell.
        results: The folder of all runs.
        seat: Rank 0's.
        wire: To all.
        start: Whether they are to be started here, on this machine.
    """

    def __init__(
        self, config: RunConfig, results: Path, seat: RankInfo, wire: MessageStore, start: bool
    ) -> None:
        # Its own, because rank 0 waits for the group in the other one, and must hear of a loss.
        self.world, self.wire = seat.world, wire.another()
        self.processes: dict[int, SpawnProcess] = {}
        self.left = threading.Event()
        self.watcher = threading.Thread(target=self._watch, name="followers", daemon=True)
        context = multiprocessing.get_context("spawn")
        try:
            for rank in range(1, seat.world) if start else ():
                theirs = replace(seat, rank=rank, local_rank=rank, port=port_of(wire))
                # Not daemonic: it may have loader processes of its own.
                given = config, results, theirs
                process = context.Process(target=ddp_worker_main, args=given, daemon=False)
                process.start()
                self.processes[rank] = process
            self.watcher.start()
        except BaseException:
            self.end()
            raise

    def gather(self, signals: Signals) -> None:
        """Wait until all have their pictures: who waits in a process group hears nothing else."""
        while not all(self.wire.heard(f"ready {rank}") for rank in range(1, self.world)):
            signals.check()
            if trouble := self.trouble():
                raise trouble
            time.sleep(POLL_SECONDS)

    def trouble(self) -> Exception | None:
        """What has happened to one of them; None where all is well."""
        reports = {rank: self.wire.heard(f"failed {rank}") for rank in range(1, self.world)}
        for rank, process in self.processes.items():
            if process.exitcode and not reports[rank]:
                return ProcessLostError(f"process {rank} of {self.world} {how(process.exitcode)}")
        failed = {rank: report for rank, report in reports.items() if report}
        if not failed:
            return None
        # What one has failed by itself comes before what others have failed because of it.
        rank = min(failed, key=lambda rank: failed[rank]["kind"] == LOST)
        kind, told = failed[rank]["kind"], failed[rank]["message"]
        told = f"{told} (in process {rank} of {self.world})"
        return ProcessLostError(told) if kind == LOST else RankError(kind, told)

    @contextlib.contextmanager
    def blamed(self, signals: Signals) -> Iterator[None]:
        """What fails in the block because another process has failed is told as that."""
        try:
            yield
        except BaseException as error:
            ours = bool(signals.came) or not isinstance(error, Exception)
            reason = error if ours else self._reason(error)
            # Now, because leaving the group may take those that are in it.
            self.kill()
            signals.check()
            if reason is error:
                raise
            raise reason from error

    def _reason(self, error: BaseException) -> BaseException:
        """Why rank 0 has failed: an exchange that fails is the end of another process."""
        deadline = time.monotonic() + (TELLS_SECONDS if isinstance(error, RuntimeError) else 0)
        while (trouble := self.trouble()) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if trouble is None and is_lost_connection(error):
            return ProcessLostError(
                f"one of {self.world} processes is gone: {summarize_error(error)}"
            )
        return trouble or error

    def _watch(self) -> None:
        """Where one is gone, rank 0 is got out of what it waits for, or its process ends."""
        while not self.left.wait(POLL_SECONDS):
            with contextlib.suppress(dist.DistError):
                if trouble := self.trouble():
                    break
        else:
            return
        if self.left.wait(GRACE_SECONDS):
            return
        log.error("%s: ending what this process waits for", trouble)
        abort_process_group()
        if self.left.wait(GRACE_SECONDS):
            return
        line = f"{trouble}: this process waits for it in vain and ends; the checkpoint is kept"
        log.error("%s", line)
        screen.note(f"ablations: {line}")
        self.kill()
        os._exit(1)

    def kill(self) -> None:
        """End those that were started here, at once."""
        for process in self.processes.values():
            process.kill()

    def join(self) -> None:
        """Wait for those that were started here: they are done too."""
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self.processes.values():
            process.join(max(0.0, deadline - time.monotonic()))

    def end(self) -> None:
        """Leave none."""
        self.left.set()
        if self.watcher.ident:
            self.watcher.join()
        self.kill()
        for process in self.processes.values():
            process.join()
            process.close()


def how(exitcode: int) -> str:
    """How a process has ended, in words."""
    if exitcode < 0:
        return f"ended with signal {signal.Signals(-exitcode).name}"
    return f"ended with exit code {exitcode}"
