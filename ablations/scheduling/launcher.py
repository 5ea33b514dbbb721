"""Where cells run: this machine's warm workers or a Ray cluster, and what both tell the runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ablations.config.schema import RunConfig

LOG = "workers.log"  # what the libraries print, and what a crash leaves
# How long a worker may take to end its batch and to tell W&B before it is killed.
GRACE_SECONDS = 15
# What an event says of its cell, or of a place.
KINDS = {
    "unfit": "a place can have no cells: why",
    "began": "its training begins, now that a process is there for it",
    "batch": "how far it is within an epoch, once a second at most: a Position",
    "epoch": "it has finished one: its metrics",
    "unsent": "the folder of its tracker, of which not all has arrived",
    "files": "what it has written where the runner does not see it",
    "done": "it has a record: that",
    "busy": "another process trains it: who, in a line",
    "refused": "it cannot be trained here, and nothing was written: why",
    "stop": "no run can be trained: why",
    "failed": "it could write no record itself: why",
    "oom": "its process was killed for want of memory: how that is known",
    "died": "its process, or one of several, is gone: how",
    "unstarted": "its node was gone before a process there could begin it: how",
}
# After the others a run has ended.
ON_THE_WAY = ("unfit", "began", "batch", "epoch", "unsent", "files")


@dataclass(frozen=True)
class Event:
    """What a worker tells of its cell.

    Args:
        kind: One of ``KINDS``, which says what the body is.
        run_id: The cell; empty where there is none.
        body: More of it.
        place: Where that was.
    """

    kind: str
    run_id: str
    body: Any = None
    place: str = ""


class Slot(Protocol):
    """Room for one cell.

    Attributes:
        place: The device or the node that it is on, by name.
        device: Whose memory it shares with other slots of the same device.
        cell: The cell that it has.
    """

    place: str
    device: str
    cell: RunConfig | None


class Launcher(Protocol):
    """What the runner asks of either.

    Attributes:
        count: How many cells at once, at most.
    """

    count: int

    def start(self) -> None:
        """Start the processes."""

    def slots(self) -> Sequence[Slot]:
        """All room that there is now, taken or not."""

    def may_grow(self) -> bool:
        """Whether room may come where there is none now."""

    def give(self, slot: Any, cell: RunConfig, alone: bool = False) -> None:
        """Start a cell; alone: what others on that device keep in memory is freed first."""

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for at most ``timeout`` seconds."""

    def end(self, run_id: str) -> None:
        """End a cell; ``died`` follows."""

    def stop(self) -> None:
        """End all; what was trained so far lies in checkpoints."""
