"""What a run needs of a Ray node, and how many runs fit on one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rich.filesize import decimal

from ablations.config.schema import SystemConfig
from ablations.errors import ConfigError

GB = 1_000_000_000
# Memory of a process with torch and the libraries, and of a loader process. What a model adds on a
# CPU has to be given as --memory-per-cell.
PROCESS_BYTES, LOADER_BYTES = 2 * GB, GB


class Resources(NamedTuple):
    """Resources of a node, or of one run; they sort by size, GPUs first.

    Args:
        gpus: GPUs; below 1 if runs share one.
        cpus: Cores.
        memory: Main memory in bytes.
    """

    gpus: float
    cpus: float
    memory: float

    @staticmethod
    def of_node(resources: Mapping[str, float]) -> Resources:
        """From what Ray reports about a node."""
        return Resources(*(resources.get(name, 0.0) for name in ("GPU", "CPU", "memory")))

    def limited_to(self, node: Resources) -> Resources:
        """The same with no more cores than a node has: its loaders then share cores."""
        return self._replace(cpus=min(self.cpus, node.cpus))

    def options(self) -> dict[str, Any]:
        """As options of a Ray task."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": int(self.memory)}

    def __str__(self) -> str:
        counts = [(self.cpus, "CPU"), *([(self.gpus, "GPU")] if self.gpus else [])]
        parts = [f"{count:g} {name}{'' if count == 1 else 's'}" for count, name in counts]
        return f"{', '.join(parts)}, {decimal(int(self.memory))} of memory"


def run_resources(
    systems: Iterable[SystemConfig], gpus: bool, per_gpu: int = 1, memory: float | None = None
) -> Resources:
    """What the largest of some runs needs.

    Args:
        systems: The system settings of the runs.
        gpus: Whether the cluster has GPUs, for runs with accelerator ``auto``.
        per_gpu: Runs on a GPU.
        memory: Bytes a run, if the user sets them.

    Raises:
        ConfigError: Several runs shall share a GPU where none is used.
    """
    needed = [_resources(system, gpus, per_gpu) for system in systems]
    largest = Resources(*map(max, zip(*needed, strict=True)))
    if per_gpu > 1 and not largest.gpus:
        raise ConfigError(f"--workers-per-gpu {per_gpu}: the runs are to be trained on CPUs")
    return largest._replace(memory=memory or largest.memory)


def _resources(system: SystemConfig, gpus: bool, per_gpu: int) -> Resources:
    use_gpus = system.accelerator == "gpu" or (system.accelerator == "auto" and gpus)
    # Ray counts ten thousandths of a GPU; rounded down, so that as many runs fit.
    gpus_of_run = system.devices if per_gpu == 1 else math.floor(10_000 / per_gpu) / 10_000
    return Resources(
        gpus=gpus_of_run if use_gpus else 0.0,
        cpus=system.devices * max(system.threads, system.loader_workers),
        memory=system.devices * (PROCESS_BYTES + system.loader_workers * LOADER_BYTES),
    )


def capacity(node: Resources, run: Resources) -> int:
    """How many runs fit on a node at once.

    Args:
        node: What it has.
        run: What a run needs.
    """
    if node.cpus < 1:
        return 0
    pairs = zip(node, run.limited_to(node), strict=True)
    return min(math.floor(available / need) for available, need in pairs if need)
