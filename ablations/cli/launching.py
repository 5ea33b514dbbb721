"""The flags of `ablations run` that choose and configure its launcher."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ablations.cli.options import add_shared, parse_count, parse_size
from ablations.errors import ConfigError

if TYPE_CHECKING:
    from ablations.scheduling.launcher import Launcher


def add_launcher(command: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    command.add_argument(
        "--launcher",
        choices=["local", "ray"],
        help="local (default): workers on this machine; ray: tasks of a Ray cluster",
    )
    command.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="the Ray cluster: HOST:PORT, ray://HOST:PORT or auto; implies --launcher ray "
        "(default: $RAY_ADDRESS, else a new cluster on this machine)",
    )
    add_shared(
        command,
        "--workers",
        help="runs at once (default: one per GPU, else one per CPU core; on Ray as many as fit)",
    )
    command.add_argument(
        "--workers-per-gpu",
        type=parse_count,
        metavar="N",
        help="runs at once on a GPU (default: 1); fewer where other programs use its memory",
    )
    command.add_argument(
        "--memory-per-cell",
        type=parse_size,
        metavar="SIZE",
        help="memory that a run reserves on a Ray node, such as 8GB (default: 2GB for each "
        "process and 1GB for each data loader process)",
    )


def launcher_name(arguments: argparse.Namespace) -> str:
    """The launcher that the flags ask for: local or ray."""
    return arguments.launcher or ("ray" if arguments.ray_address else "local")


def create_launcher(arguments: argparse.Namespace) -> Launcher:
    """The launcher that the flags ask for.

    Raises:
        ConfigError: A flag of the other launcher.
    """
    if launcher_name(arguments) == "ray":
        from ablations.scheduling.ray.launcher import RayLauncher

        return RayLauncher(
            arguments.ray_address,
            arguments.workers,
            arguments.workers_per_gpu,
            arguments.memory_per_cell,
        )
    for name in ("ray_address", "memory_per_cell"):
        if getattr(arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')} needs --launcher ray")
    from ablations.scheduling.local import LocalLauncher

    return LocalLauncher(arguments.workers, arguments.workers_per_gpu)
