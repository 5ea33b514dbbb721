"""DDP among processes that exist already: the process group, and what Lightning needs to know.

Lightning gets the ranks from here and detects nothing itself. A worker that runs inside an srun or
torchrun job has environment variables that describe the job, not the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy

from ablations.training.distributed.ranks import RankInfo

COLLECTIVE_TIMEOUT = timedelta(minutes=30)  # rank 0 may have a slow disk or network


class RankEnvironment(TorchElasticEnvironment):
    """Gives Lightning a rank, whatever the environment variables say.

    Lightning does not ask for the address and port: the process group exists already.
    """

    def __init__(self, info: RankInfo) -> None:
        self.info = info

    def world_size(self) -> int:
        return self.info.world_size

    def global_rank(self) -> int:
        return self.info.rank

    def local_rank(self) -> int:
        return self.info.local_rank

    def node_rank(self) -> int:
        return self.info.node_rank


class ExternalDDPStrategy(DDPStrategy):
    """DDP among processes that exist already.

    Buffers are not broadcast: all ranks compute the same batch statistics. DDP looks for unused
    parameters because a user's mixer may have some, and because otherwise it reorders the gradients
    after the first step of a process. From three processes on, that changes the order of sums, so
    that a resumed run would not end with the numbers of an uninterrupted one.
    """

    def __init__(self) -> None:
        super().__init__(broadcast_buffers=False, find_unused_parameters=True)

    def _configure_launcher(self) -> None:
        # Lightning's launcher would set the number of threads, on which the last digit of a sum
        # depends. No public option leaves the launcher out.
        self._launcher = None


@contextlib.contextmanager
def process_group(info: RankInfo, store: dist.Store, gpu: bool) -> Iterator[None]:
    """A process group inside the block. All ranks enter it, each with its own GPU if ``gpu``."""
    dist.init_process_group(
        "nccl" if gpu else "gloo",
        store=dist.PrefixStore("group", store),
        rank=info.rank,
        world_size=info.world_size,
        timeout=COLLECTIVE_TIMEOUT,
        device_id=torch.device("cuda", info.local_rank) if gpu else None,
    )
    try:
        yield
    except BaseException:
        abort_process_group()  # NCCL would wait for the other ranks before it ends
        raise
    finally:
        dist.destroy_process_group()


def abort_process_group() -> None:
    """Make the collectives that this process waits in raise. gloo does so by itself."""
    with contextlib.suppress(Exception):
        dist.distributed_c10d._get_default_group().abort()


def is_lost_connection(error: BaseException) -> bool:
    """Whether a collective failed because other ranks have left it."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
