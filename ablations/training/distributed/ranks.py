"""Which rank this process is, and how the processes of a run are launched."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from ablations.config.schema import SystemConfig
from ablations.errors import ConfigError


@dataclass(frozen=True)
class RankInfo:
    """This process among the processes that train a run.

    Args:
        rank: The global rank.
        local_rank: The rank on this node, and the index of its GPU.
        node_rank: The index of this node.
        world_size: The number of processes.
        address: The host of the store through which the processes find each other.
        port: The port of the store; with 0, rank 0 picks a free port.
        external_store: Whether the launcher (torchrun) hosts the store, not rank 0.
        attempt: Which start of the processes this is; a store may outlive one.
    """

    rank: int = 0
    local_rank: int = 0
    node_rank: int = 0
    world_size: int = 1
    address: str = "127.0.0.1"
    port: int = 0
    external_store: bool = False
    attempt: str = "0"


SINGLE_PROCESS = RankInfo()


def rank_from_launcher(system: SystemConfig) -> RankInfo | None:
    """The rank that torchrun or srun has given this process; None if neither has started it.

    Raises:
        ConfigError: The launcher has started another number of processes than the config asks for,
            or nothing has started the processes of a run on several nodes.
    """
    if system.world_size == 1:
        return None
    launcher, info = _detect_launcher()
    if info is None:
        if system.nodes > 1:
            raise ConfigError(f"system.nodes {system.nodes}: {launch_hint(system)}")
        return None
    if info.world_size != system.world_size or info.local_rank >= system.devices:
        raise ConfigError(
            f"system.devices {system.devices} on system.nodes {system.nodes} are "
            f"{system.world_size} processes, {system.devices} per node, but {launcher} has started "
            f"{info.world_size}: {launch_hint(system)}"
        )
    return info


def _detect_launcher() -> tuple[str, RankInfo | None]:
    """The launcher that started this process as one of several, and its rank."""
    env = os.environ
    if TorchElasticEnvironment.detect():
        elastic = TorchElasticEnvironment()
        return "torchrun", RankInfo(
            rank=elastic.global_rank(),
            local_rank=elastic.local_rank(),
            node_rank=elastic.node_rank(),
            world_size=elastic.world_size(),
            address=elastic.main_address,
            port=elastic.main_port,
            external_store=env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=env.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )
    # Lightning's SLURMEnvironment.detect() also accepts a batch script, which is one process
    # however many tasks its job has. Only srun creates steps.
    tasks = int(env.get("SLURM_STEP_NUM_TASKS", env.get("SLURM_NTASKS", "1")))
    if "SLURM_STEP_ID" not in env or tasks == 1:
        return "nothing", None
    nodes = env.get("SLURM_STEP_NODELIST", env.get("SLURM_JOB_NODELIST", "127.0.0.1"))
    job, step = env.get("SLURM_JOB_ID", "0"), env["SLURM_STEP_ID"]
    return "srun", RankInfo(
        rank=int(env["SLURM_PROCID"]),
        local_rank=int(env["SLURM_LOCALID"]),
        node_rank=int(env["SLURM_NODEID"]),
        world_size=tasks,
        address=env.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(nodes),
        # The same for all tasks of a step, and different for a step beside it.
        port=int(env.get("MASTER_PORT") or 15000 + (int(job) + 1000 * int(step)) % 10000),
        attempt=f"{job}.{step}.{env.get('SLURM_RESTART_COUNT', '0')}",
    )


def launch_hint(system: SystemConfig) -> str:
    """How to start the processes of a run on several nodes."""
    nodes, devices = system.nodes, system.devices
    return (
        "start one process per device with "
        f"`srun --nodes={nodes} --ntasks-per-node={devices} --kill-on-bad-exit=1 ablations train "
        f"...`, or on each node with `torchrun --nnodes={nodes} --nproc-per-node={devices} "
        "--rdzv-backend=c10d --rdzv-endpoint=HOST:29500 -m ablations train ...`"
    )
