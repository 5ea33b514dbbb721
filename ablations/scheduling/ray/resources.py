"""What a cell takes of a node, and how many cells there is room for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.filesize import decimal

from ablations.config.schema import SystemConfig
from ablations.errors import ConfigError

GB = 1_000_000_000
# What a process of torch with the libraries takes, and one that loads pictures for it. What the
# model adds on a CPU is for --memory-per-cell to say.
PROCESS_BYTES, LOADER_BYTES = 2 * GB, GB


@dataclass(frozen=True)
class Needs:
    """Resources of a node, in all or for one cell.

    Args:
        cpus: Cores.
        gpus: GPUs; below 1 where cells share one.
        memory: Bytes of the machine's own.
    """

    cpus: float
    gpus: float
    memory: float

    @staticmethod
    def of(resources: Mapping[str, float]) -> Needs:
        """What Ray says that a node has."""
        return Needs(*(resources.get(name, 0.0) for name in ("CPU", "GPU", "memory")))

    def within(self, node: Needs) -> Needs:
        """The same with as many cores as there are: loaders wait for each other then."""
        return Needs(min(self.cpus, node.cpus), self.gpus, self.memory)

    def options(self) -> dict[str, Any]:
        """As Ray is told of them."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": int(self.memory)}

    def size(self) -> tuple[float, float, float]:
        """What makes a node larger than another: GPUs first."""
        return self.gpus, self.cpus, self.memory

    def __str__(self) -> str:
        counts = [(self.cpus, "CPU"), *([(self.gpus, "GPU")] if self.gpus else [])]
        told = [f"{count:g} {name}{'' if count == 1 else 's'}" for count, name in counts]
        return f"{', '.join(told)}, {decimal(int(self.memory))} of memory"


def needs(
    systems: Iterable[SystemConfig], gpus: bool, per_gpu: int = 1, memory: float | None = None
) -> Needs:
    """What the largest of some cells takes.

    Args:
        systems: Of the cells.
        gpus: Whether there are GPUs for cells that take what there is.
        per_gpu: Cells on a GPU.
        memory: Bytes a cell, where the user says so.

    Raises:
        ConfigError: Several cells a GPU where none is used.
    """
    found = [_one(system, gpus, per_gpu) for system in systems]
    if per_gpu > 1 and not any(each.gpus for each in found):
        raise ConfigError(f"--workers-per-gpu {per_gpu}: the runs are to be trained on CPUs")
    return Needs(
        max(each.cpus for each in found),
        max(each.gpus for each in found),
        memory or max(each.memory for each in found),
    )


def _one(system: SystemConfig, gpus: bool, per_gpu: int) -> Needs:
    on_gpu = system.accelerator == "gpu" or (system.accelerator == "auto" and gpus)
    each = max(system.threads, system.loader_workers)
    return Needs(
        system.devices * each,
        (system.devices if per_gpu == 1 else _share(per_gpu)) if on_gpu else 0.0,
        system.devices * (PROCESS_BYTES + system.loader_workers * LOADER_BYTES),
    )


def _share(cells: int) -> float:
    """Of a GPU, so that as many fit: Ray counts ten thousandths."""
    return math.floor(10_000 / cells) / 10_000


def room(node: Needs, cell: Needs) -> int:
    """How many cells a node has room for at once.

    Args:
        node: What it has.
        cell: What one takes.
    """
    if node.cpus < 1:
        return 0
    takes = cell.within(node)
    pairs = ((node.cpus, takes.cpus), (node.gpus, takes.gpus), (node.memory, takes.memory))
    return min(math.floor(there / taken) for there, taken in pairs if taken)
