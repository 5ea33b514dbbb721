"""What a launcher reports about runs and nodes: one dataclass per kind of event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations.store.records import Record
from ablations.store.run_progress import RunProgress


@dataclass(frozen=True)
class RunEvent:
    """Something happened to a run.

    Args:
        run_id: The run; empty for a worker that died without one.
        location: The device or node; the launcher fills it in.
    """

    run_id: str
    location: str = field(default="", kw_only=True)


class RunEnd(RunEvent):
    """The worker has stopped working on the run."""


class Started(RunEvent):
    """A process begins to train the run."""


@dataclass(frozen=True)
class BatchDone(RunEvent):
    """The run's position within an epoch; at most once a second."""

    progress: RunProgress


@dataclass(frozen=True)
class EpochDone(RunEvent):
    """The run has finished an epoch, with these metrics."""

    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Unsynced(RunEvent):
    """W&B did not receive all of the run: the rest is in this folder."""

    folder: Path


@dataclass(frozen=True)
class FilesChanged(RunEvent):
    """Files that the run wrote on a node that does not mount the results folder."""

    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Recorded(RunEnd):
    """The run has a record: finished, diverged or failed."""

    record: Record


@dataclass(frozen=True)
class _EndWithReason(RunEnd):
    reason: str


class Busy(_EndWithReason):
    """Another process trains the run."""


class Refused(_EndWithReason):
    """The run cannot be trained there, and nothing was written."""


class Failed(_EndWithReason):
    """The run failed and could not write a record."""


class OutOfMemory(_EndWithReason):
    """The run's process was killed because memory ran out."""


class WorkerDied(_EndWithReason):
    """The run's process, or one of its DDP processes, is gone."""


class NotStarted(_EndWithReason):
    """The run's node was gone before a process could begin the run; this is no lost process."""


class StudyAborted(_EndWithReason):
    """No run of the study can be trained."""


@dataclass(frozen=True)
class LocationUnusable:
    """A node or device cannot train runs."""

    location: str
    reason: str


Event = RunEvent | LocationUnusable
