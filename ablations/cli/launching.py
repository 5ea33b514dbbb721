"""Where `ablations run` trains cells, by its flags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ablations.cli.options import integer
from ablations.config.schema import SystemConfig, check_choice
from ablations.errors import ConfigError

if TYPE_CHECKING:
    from ablations.config.sweep import SweepRun
    from ablations.scheduling.launcher import Launcher

LAUNCHERS = ["local", "ray"]
BYTES = {"MB": 1e6, "GB": 1e9, "TB": 1e12}


def add(command: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    command.add_argument(
        "--launcher",
        help="local (the default: workers on this machine) or ray (tasks of a Ray cluster)",
    )
    command.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="the Ray cluster: HOST:PORT, ray://HOST:PORT or auto; implies --launcher ray. "
        "Default: $RAY_ADDRESS, else a cluster that is started on this machine alone",
    )
    command.add_argument(
        "--workers",
        type=integer,
        help="runs at once (default: one a GPU, else one a CPU core; on Ray as many as fit)",
    )
    command.add_argument(
        "--workers-per-gpu",
        type=integer,
        metavar="N",
        help="runs at once on a GPU (default: 1); fewer where others use part of its memory",
    )
    command.add_argument(
        "--memory-per-cell",
        metavar="SIZE",
        help="memory that a run reserves on a Ray node, such as 8GB (default: 2GB a process and "
        "1GB for each loader process)",
    )


def chosen(arguments: argparse.Namespace) -> str:
    """One of LAUNCHERS.

    Raises:
        ConfigError: Another name, or no workers.
    """
    name: str = arguments.launcher or ("ray" if arguments.ray_address else "local")
    check_choice("--launcher", name, LAUNCHERS)
    for flag in ("workers", "workers_per_gpu"):
        value = getattr(arguments, flag)
        if value is not None and value < 1:
            raise ConfigError(f"--{flag.replace('_', '-')} {value} must be 1 or more")
    return name


def launcher(arguments: argparse.Namespace, cells: Sequence[SweepRun]) -> Callable[[int], Launcher]:
    """Given the number of cells to train, where they run.

    Raises:
        ConfigError: As ``chosen``, more GPUs a cell than there are, an unknown name,
            several machines a cell.
    """
    name = chosen(arguments)
    systems = [cell.config.system for cell in cells]
    if (nodes := max((system.nodes for system in systems), default=1)) > 1:
        raise ConfigError(
            f"system.nodes {nodes}: `ablations run` trains each run on one machine; for one over "
            "several start `ablations train` by srun or torchrun, a process a device"
        )
    if name == "ray":
        return _ray(arguments, systems)
    for name in ("ray_address", "memory_per_cell"):
        if getattr(arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')} goes with --launcher ray, not local")
    return _local(arguments, systems)


def _local(
    arguments: argparse.Namespace, systems: Sequence[SystemConfig]
) -> Callable[[int], Launcher]:
    from ablations.scheduling.local import LocalWorkers, room

    workers, groups = room(systems, arguments.workers, arguments.workers_per_gpu)

    def launch(count: int) -> Launcher:
        reuse = not arguments.no_reuse
        return LocalWorkers(arguments.results, min(workers, count), groups, reuse)

    return launch


def _ray(
    arguments: argparse.Namespace, systems: Sequence[SystemConfig]
) -> Callable[[int], Launcher]:
    from ablations.scheduling.ray.resources import needs

    per_gpu = arguments.workers_per_gpu or 1
    if per_gpu > 1 and any(system.devices > 1 for system in systems):
        raise ConfigError(
            f"--workers-per-gpu {per_gpu}: runs on a Ray cluster share GPUs only where each has "
            "one, system.devices 1"
        )
    memory = size("--memory-per-cell", arguments.memory_per_cell)
    wanted = partial(needs, systems, per_gpu=per_gpu, memory=memory)

    def launch(count: int) -> Launcher:
        from ablations.scheduling.ray.cluster import RayCluster

        at_once = min(arguments.workers or count, count)
        reuse, address = not arguments.no_reuse, arguments.ray_address
        return RayCluster(arguments.results, at_once, wanted, reuse, address)

    return launch


def size(flag: str, text: str | None) -> float | None:
    """``800MB``, ``8GB`` or ``1.5TB`` in bytes."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|TB)", text.strip(), re.IGNORECASE | re.ASCII)
    value = float(found[1]) * BYTES[found[2].upper()] if found else 0.0
    if not value:
        raise ConfigError(f"{flag} {text!r} must be a size above 0, such as 800MB or 8GB")
    return value
