"""The launcher protocol, which local workers and a Ray cluster implement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ablations.config.schema import RunConfig
from ablations.scheduling.events import Event

LOG = "workers.log"  # output of libraries and crash reports, in the results folder
GRACE_SECONDS = 15  # for a worker to finish its batch and close its W&B run before it is killed


class Slot(Protocol):
    """Room for one run.

    Attributes:
        location: The name of its device or node.
        device: Slots of the same device share its memory.
        run: The run that occupies it.
    """

    location: str
    device: str
    run: RunConfig | None


class Launcher(Protocol):
    """Starts runs in slots and reports what happens to them.

    Attributes:
        on_this_machine: Whether runs train here, so that precision ``auto`` can be resolved.
        max_runs: How many runs may train at once; known after ``start``.
        may_grow: Whether slots may appear later.
    """

    on_this_machine: bool
    max_runs: int
    may_grow: bool

    def check(self, runs: Sequence[RunConfig]) -> None:
        """Raise ConfigError for runs that it cannot train."""

    def start(self, runs: Sequence[RunConfig], results: Path, reuse: bool) -> None:
        """Start the processes.

        Args:
            runs: The runs to train.
            results: The folder of all runs.
            reuse: Whether a record that is already there is enough.

        Raises:
            ConfigError: It cannot be reached, or has no room for such runs.
        """

    def slots(self) -> Sequence[Slot]:
        """All current slots, occupied or not."""

    def submit(self, slot: Any, run: RunConfig, alone: bool = False) -> None:
        """Start a run; ``alone``: free the memory that idle workers hold on its device first."""

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for at most ``timeout`` seconds."""

    def cancel(self, run_id: str, kill: bool = False) -> None:
        """Ask a run to end, or ``kill`` it; ``WorkerDied`` follows."""

    def stop(self) -> None:
        """End all processes; checkpoints keep what was trained."""
