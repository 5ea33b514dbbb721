"""The processes of ranks 1 and up: they wait for rank 0, train along, and end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
from pathlib import Path
from typing import Any

import torch.distributed as dist

from ablations import data
from ablations.config import plugins
from ablations.config.precision import resolve_precision
from ablations.config.schema import RunConfig
from ablations.data.batches import create_loaders
from ablations.errors import ConfigError, DataError
from ablations.machine.child_process import set_up_child
from ablations.store import run_state
from ablations.training import code_hash
from ablations.training.devices import check_devices, uses_gpu
from ablations.training.distributed.ranks import RankInfo
from ablations.training.distributed.store import RankContext, connect
from ablations.training.distributed.strategy import (
    abort_process_group,
    is_lost_connection,
    process_group,
)
from ablations.training.error_summary import failure_kind, summarize_error
from ablations.training.loop import Batches, fit_worker

# How long the other ranks may take to end, and rank 0 to leave a collective with a lost rank:
# gloo's fail at once, NCCL's wait forever.
GRACE_SECONDS = 10.0
LOST = "lost"  # the failure of a rank that another rank has left


def train_worker(config: RunConfig, results: Path, rank: RankContext) -> int:
    """Train along with rank 0 if it trains; the exit code.

    Args:
        config: The run.
        results: The results folder; rank 0's checkpoint is read there.
        rank: This process's rank and store.
    """
    info, store = rank.info, rank.store
    start = store.wait("start")
    if "exit" in start:
        return int(start["exit"])
    with contextlib.ExitStack() as stack:
        try:
            batches = _create_batches(config, info, start)
            store.set(f"ready {info.rank}", True)
            gpu = uses_gpu(config.system.accelerator)
            stack.enter_context(process_group(info, store.backend, gpu))
            fit_worker(config, batches, results / config.run_id, start["epoch"] > 0, info)
            return 0
        except Exception as error:
            lost = is_lost_connection(error)  # another rank has failed first
            if not lost:
                traceback.print_exc()
            # Before the group is left, which the other ranks notice.
            kind = LOST if lost else failure_kind(error)
            store.set(f"failed {info.rank}", {"kind": kind, "message": summarize_error(error)})
            abort_process_group()
            return 1


def _create_batches(config: RunConfig, info: RankInfo, start: dict[str, Any]) -> Batches:
    """This rank's share of the batches; an error if its code or data differs from rank 0's."""
    if changed := code_hash.changed_roles(start["code"]):
        raise ConfigError(f"this process has other code than rank 0 ({', '.join(changed)})")
    plugins.load_plugins(config.system.plugins)
    images = data.load_dataset(config.data)
    check_devices(config, images)
    if (precision := resolve_precision(config.system)) != start["precision"]:
        raise ConfigError(
            f"this process would train in {precision}, rank 0 in {start['precision']}: set "
            "--system.precision"
        )
    if why := plugins.changed_mixers(start["plugins"], config.model.mixers):
        raise ConfigError(f"{why}: this process has other code of it than rank 0")
    if start["images"] != images.identity:
        mine, other = (
            ", ".join(f"{name} {value}" for name, value in each.items())
            for each in (images.identity, start["images"])
        )
        raise DataError(f"the images of this process have {mine}, those of rank 0 {other}")
    workers, share = config.system.loader_workers, (info.rank, info.world_size)
    return create_loaders(images, config.data, config.seed, workers, start["epoch"], *share)


def ddp_worker_main(config: RunConfig, results: Path, info: RankInfo) -> None:
    """The main function of a process that rank 0 started on its node."""
    log_file = results / config.run_id / run_state.LOG_FILE
    set_up_child(log_file, ignore=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    exit_code = train_worker(config, results, connect(info))
    os._exit(exit_code)  # at once: rank 0 waits, and there is nothing left to write


def run_launched_worker(config: RunConfig, results: Path, rank: RankContext) -> int:
    """The life of a process that torchrun or srun started; its exit code."""

    def exit_later(*_: Any) -> None:
        # Not before rank 0, which has got the same signal: its run should report the signal, not
        # the loss of a rank.
        timer = threading.Timer(GRACE_SECONDS, os._exit, (128 + signal.SIGTERM,))
        timer.daemon = True
        timer.start()

    handled = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handled.append(signal.SIGHUP)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in handled:
        signal.signal(number, signal.SIG_DFL)
    try:
        rank.store.wait("start")
        for number in handled:
            signal.signal(number, exit_later)
        exit_code = train_worker(config, results, rank)
        if exit_code:
            # The launcher ends all processes when one ends, and rank 0 has a record to write.
            rank.store.wait("end", GRACE_SECONDS)
        rank.store.set(f"left {rank.info.rank}", True)
        return exit_code
    except dist.DistError:
        return 1  # rank 0 is gone and has reported why
