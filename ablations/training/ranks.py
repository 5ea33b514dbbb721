"""The processes that train one run together: which is which, and what they tell each other.

Rank 0 has the run: its lease, its tracker, its record. The other ranks hold the same weights and
take their share of each step. Lightning is told who is who, and finds out nothing by itself: a
worker that srun or torchrun started has variables in its environment that are about something else.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy

from ablations.config.schema import SystemConfig
from ablations.errors import ConfigError

# How long a process waits for the others in a collective: rank 0 may have a slow disk or network.
TIMEOUT = timedelta(minutes=30)
CONNECT = timedelta(minutes=10)  # for rank 0 to be there: its machine may come up last
POLL_SECONDS = 0.1  # between two looks at what another process has told


@dataclass(frozen=True)
class RankInfo:
    """A process's place among those that train a run.

    Args:
        rank: Its number among all.
        local_rank: Its number on its machine, and that of its GPU.
        node: The number of its machine.
        world: How many processes there are.
        address: The machine of the store through which they find each other.
        port: The store's; 0: rank 0 takes one that is free.
        hosted: Whether somebody else, torchrun, keeps the store.
        attempt: Which start of the processes this is: a store may outlive one.
    """

    rank: int = 0
    local_rank: int = 0
    node: int = 0
    world: int = 1
    address: str = "127.0.0.1"
    port: int = 0
    hosted: bool = False
    attempt: str = "0"


SINGLE_PROCESS = RankInfo()


class RankEnvironment(ClusterEnvironment):
    """Tells Lightning a seat, whatever the environment says."""

    def __init__(self, seat: RankInfo) -> None:
        self.seat = seat

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self.seat.address

    @property
    def main_port(self) -> int:
        return self.seat.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self.seat.world

    def set_world_size(self, size: int) -> None:
        assert size == self.seat.world

    def global_rank(self) -> int:
        return self.seat.rank

    def set_global_rank(self, rank: int) -> None:
        """Lightning's own count of ranks; the seat's holds."""

    def local_rank(self) -> int:
        return self.seat.local_rank

    def node_rank(self) -> int:
        return self.seat.node


class ExternalDDPStrategy(DDPStrategy):
    """DDP among processes that are there already.

    Lightning's launcher is left out: it would set the number of threads, on which a sum's last
    digit depends. Buffers are those of each process: all see the same batches' statistics.

    Unused parameters are looked for not only because a mixer of the user's may have some: otherwise
    DDP sorts the gradients anew after a process's first step, from three processes on that changes
    the order of their sums, and a resumed run would not end with the numbers of one that was not.
    """

    def __init__(self) -> None:
        super().__init__(broadcast_buffers=False, find_unused_parameters=True)

    def _configure_launcher(self) -> None:
        self._launcher = None


@contextlib.contextmanager
def process_group(seat: RankInfo, store: dist.Store, gpu: bool) -> Iterator[None]:
    """A process group for the block; all ranks enter it, each with its own GPU where it has one."""
    dist.init_process_group(
        "nccl" if gpu else "gloo",
        store=dist.PrefixStore("group", store),
        rank=seat.rank,
        world_size=seat.world,
        timeout=TIMEOUT,
        device_id=torch.device("cuda", seat.local_rank) if gpu else None,
    )
    try:
        yield
    except BaseException:
        abort_process_group()  # NCCL would wait for the others until it may end
        raise
    finally:
        dist.destroy_process_group()


def abort_process_group() -> None:
    """End what this process waits for in its group: there it raises. gloo does so by itself."""
    with contextlib.suppress(Exception):
        dist.distributed_c10d._get_default_group().abort()


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is an exchange that others have left."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


class MessageStore:
    """What the ranks tell each other beside their collectives: JSON values by name, in a store."""

    def __init__(self, store: dist.Store) -> None:
        self.store = store

    def another(self) -> MessageStore:
        """A second connection: what waits in the first one keeps others from using it."""
        return MessageStore(self.store.clone())

    def tell(self, name: str, value: Any) -> None:
        """Say something to whoever asks."""
        self.store.set(name, json.dumps(value))

    def heard(self, name: str) -> Any:
        """What was said; None where nothing was."""
        return json.loads(self.store.get(name)) if self.store.check([name]) else None

    def wait(self, name: str, seconds: float | None = None) -> Any:
        """What was said, as soon as it is; None after so many seconds."""
        begun = time.monotonic()
        while (value := self.heard(name)) is None:
            if seconds is not None and time.monotonic() - begun > seconds:
                return None
            time.sleep(POLL_SECONDS)
        return value


def connect_store(seat: RankInfo) -> MessageStore:
    """The wire of a seat. Rank 0 keeps the store, unless somebody else does.

    Raises:
        ConfigError: Nobody is at that address, or somebody else.
    """
    host = seat.rank == 0 and not seat.hosted
    try:
        store = dist.TCPStore(
            seat.address, seat.port, is_master=host, timeout=CONNECT, wait_for_workers=False
        )
    except dist.DistError as error:
        raise ConfigError(
            f"process {seat.rank} of {seat.world} does not find the others at {seat.address}:"
            f"{seat.port} (MASTER_ADDR and MASTER_PORT): {str(error).splitlines()[0]}"
        ) from error
    return MessageStore(dist.PrefixStore(f"ablations {seat.attempt}", store))


def port_of(wire: MessageStore) -> int:
    """The port that a wire's store has taken."""
    store = wire.store
    while isinstance(store, dist.PrefixStore):
        store = store.underlying_store
    assert isinstance(store, dist.TCPStore)
    return store.port


def rank_from_launcher(system: SystemConfig) -> RankInfo | None:
    """The seat that torchrun or srun has given this process; None where neither has.

    Raises:
        ConfigError: It has started other processes than the run asks for, or nobody has started
            those of several machines.
    """
    if system.world_size == 1:
        return None
    by, seat = _seat()
    if seat is None:
        if system.nodes > 1:
            raise ConfigError(f"system.nodes {system.nodes}: {launch_hint(system)}")
        return None
    if (seat.world, seat.local_rank < system.devices) != (system.world_size, True):
        raise ConfigError(
            f"system.devices {system.devices} on system.nodes {system.nodes} are "
            f"{system.world_size} processes, {system.devices} a machine, and {by} has started "
            f"{seat.world}: {launch_hint(system)}"
        )
    return seat


def _seat() -> tuple[str, RankInfo | None]:
    """Who has started this process as one of several, and its seat."""
    env = os.environ
    if TorchElasticEnvironment.detect():
        given = TorchElasticEnvironment()
        seat = RankInfo(
            rank=given.global_rank(),
            local_rank=given.local_rank(),
            node=given.node_rank(),
            world=given.world_size(),
            address=given.main_address,
            port=given.main_port,
            hosted=env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=env.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )
        return "torchrun", seat
    # Lightning's SLURMEnvironment.detect() says yes to a batch script too, which is one process
    # whatever the job's tasks are; only srun makes steps.
    tasks = int(env.get("SLURM_STEP_NUM_TASKS", env.get("SLURM_NTASKS", "1")))
    if "SLURM_STEP_ID" in env and tasks > 1:
        nodes = env.get("SLURM_STEP_NODELIST", env.get("SLURM_JOB_NODELIST", "127.0.0.1"))
        job, step = env.get("SLURM_JOB_ID", "0"), env["SLURM_STEP_ID"]
        seat = RankInfo(
            rank=int(env["SLURM_PROCID"]),
            local_rank=int(env["SLURM_LOCALID"]),
            node=int(env["SLURM_NODEID"]),
            world=tasks,
            address=env.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodes),
            # The same for all tasks of a step, and another for its neighbour's.
            port=int(env.get("MASTER_PORT") or 15000 + (int(job) + 1000 * int(step)) % 10000),
            attempt=f"{job}.{step}.{env.get('SLURM_RESTART_COUNT', '0')}",
        )
        return "srun", seat
    return "nobody", None


def launch_hint(system: SystemConfig) -> str:
    """The commands that start a run's processes."""
    nodes, devices = system.nodes, system.devices
    return (
        "start one process a device, by "
        f"`srun --nodes={nodes} --ntasks-per-node={devices} --kill-on-bad-exit=1 ablations train "
        f"...`, or on each machine by `torchrun --nnodes={nodes} --nproc-per-node={devices} "
        "--rdzv-backend=c10d --rdzv-endpoint=HOST:29500 -m ablations train ...`"
    )
