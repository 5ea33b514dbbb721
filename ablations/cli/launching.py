"""The launcher of `ablations run`, by its flags."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from ablations.cli.options import integer
from ablations.errors import ConfigError

if TYPE_CHECKING:
    from ablations.scheduling.launcher import Launcher

BYTES = {"MB": 1e6, "GB": 1e9, "TB": 1e12}


def add(command: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    command.add_argument(
        "--launcher",
        choices=["local", "ray"],
        metavar="LAUNCHER",
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
    """The launcher that the flags ask for: local or ray.

    Raises:
        ConfigError: A number of workers below 1.
    """
    name: str = arguments.launcher or ("ray" if arguments.ray_address else "local")
    for flag in ("workers", "workers_per_gpu"):
        value = getattr(arguments, flag)
        if value is not None and value < 1:
            raise ConfigError(f"--{flag.replace('_', '-')} {value} must be 1 or more")
    return name


def launcher(arguments: argparse.Namespace) -> Launcher:
    """The launcher, by the flags.

    Raises:
        ConfigError: A number of workers below 1, or a flag of the other launcher.
    """
    if chosen(arguments) == "ray":
        from ablations.scheduling.ray.launcher import RayLauncher

        memory = size("--memory-per-cell", arguments.memory_per_cell)
        return RayLauncher(
            arguments.ray_address, arguments.workers, arguments.workers_per_gpu, memory
        )
    for name in ("ray_address", "memory_per_cell"):
        if getattr(arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')} needs --launcher ray")
    from ablations.scheduling.local import LocalLauncher

    return LocalLauncher(arguments.workers, arguments.workers_per_gpu)


def size(flag: str, text: str | None) -> float | None:
    """``800MB``, ``8GB`` or ``1.5TB`` in bytes."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|TB)", text.strip(), re.IGNORECASE | re.ASCII)
    value = float(found[1]) * BYTES[found[2].upper()] if found else 0.0
    if not value:
        raise ConfigError(f"{flag} {text!r} must be a size above 0, such as 800MB or 8GB")
    return value
