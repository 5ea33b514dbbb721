"""The GPUs of this machine and how many runs they have room for; found without importing torch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ablations.config.schema import SystemConfig
from ablations.errors import ConfigError
from ablations.machine.cores import usable_cores
from ablations.text.phrases import pluralize

DRIVER = Path("/proc/driver/nvidia/gpus")
# Devices of systems whose driver lists no GPUs there: sandboxes, WSL, ROCm.
DEVICES = [Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd")]


def visible_gpus() -> list[str]:
    """The ids of the GPUs that this process may use.

    CUDA_VISIBLE_DEVICES counts as far as such devices exist. Like CUDA, stop at the first id that
    is invalid.
    """
    count = len(list(DRIVER.glob("*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(count)]
    if not count and not any(path.exists() for path in DEVICES):
        return []
    gpus: list[str] = []
    for name in (word.strip() for word in visible.split(",")):
        if not name or name.startswith("-") or (count and name.isdigit() and int(name) >= count):
            break
        gpus.append(name)
    return gpus


def local_capacity(
    systems: Sequence[SystemConfig], workers: int | None = None, per_gpu: int | None = None
) -> tuple[int, list[list[str]]]:
    """How many runs may train at once on this machine, and the GPUs of each; none for the CPU.

    Args:
        systems: The system settings of the runs.
        workers: The number of runs at once; None for one a GPU, or one a core.
        per_gpu: Runs on a GPU; None for one.

    Raises:
        ConfigError: A run wants more GPUs than there are, or several runs shall share a GPU where
            none is used.
    """
    use_gpus = any(system.accelerator != "cpu" for system in systems)
    devices = max((system.devices for system in systems), default=1)
    groups = gpu_groups(devices, per_gpu or 1) if use_gpus else []
    if per_gpu and not groups:
        reason = "there is no GPU here" if use_gpus else "the runs are to be trained on the CPU"
        raise ConfigError(f"--workers-per-gpu {per_gpu}: {reason}")
    return workers or len(groups) or default_workers(devices), groups


def gpu_groups(devices: int, per_gpu: int) -> list[list[str]]:
    """The GPUs of each run that may train at once; empty without GPUs.

    Args:
        devices: GPUs of a run.
        per_gpu: Runs on a free GPU; fewer where other programs use part of its memory.

    Raises:
        ConfigError: A run wants more GPUs than there are.
    """
    gpus = visible_gpus()
    if not gpus:
        return []
    if devices > len(gpus):
        raise ConfigError(
            f"system.devices {devices}: this machine has "
            f"{pluralize(len(gpus), 'GPU')} ({', '.join(gpus)})"
        )
    groups = [gpus[at : at + devices] for at in range(0, len(gpus) - devices + 1, devices)]
    free = _free_memory() if per_gpu > 1 else {}
    shares = [max(1, round(per_gpu * min(free.get(gpu, 1.0) for gpu in group))) for group in groups]
    # Round by round, so that few runs spread over all GPUs.
    return [
        group
        for turn in range(per_gpu)
        for group, share in zip(groups, shares, strict=True)
        if turn < share
    ]


def _free_memory() -> dict[str, float]:
    """GPU, by index and by UUID -> share of its memory that is free; empty if not known."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.free,memory.total"]
    query.append("--format=csv,noheader,nounits")
    try:
        done = subprocess.run(query, capture_output=True, encoding="utf-8", check=True, timeout=20)
        rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
        return {name: float(row[2]) / float(row[3]) for row in rows for name in row[:2]}
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, ZeroDivisionError):
        return {}


def default_workers(devices: int = 1) -> int:
    """One worker a usable core, or fewer if a run has several processes."""
    return max(1, usable_cores() // devices)
