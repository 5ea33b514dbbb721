"""Every error that a user sees, one hierarchy.

All derive from `PoolformerError`, so that a caller catches them with one class::

    PoolformerError
        ConfigError                  a model or a run that cannot be built
            CheckpointError          weights that cannot be loaded
        DataError                    images that are missing or broken
            InsufficientMemoryError  images that do not fit into memory
        RecordError                  a record that cannot be read
            AccessError              a file of results that cannot be read or written
                MissingFileError     a file of results that does not exist
            LeaseError               no lease can be taken in a folder
                BusyError            another process trains the run
        SchemaError                  a value of a file with the wrong type
        TrackerError                 W&B cannot do what was asked
            ProjectNotFoundError     W&B has no such project or sweep
        StatisticsError              a value that no statistic can be computed from
        LeaseLostError               another process took the run over
        ProcessLostError             a process of a distributed run was ended
        RankError                    another process of a distributed run failed
"""

from __future__ import annotations

from typing import Literal

from ablations.text.escape import terminal
from poolformer.errors import CheckpointError, ConfigError, PoolformerError

__all__ = [
    "AccessError",
    "BusyError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "InsufficientMemoryError",
    "LeaseError",
    "LeaseLostError",
    "MissingFileError",
    "PoolformerError",
    "ProcessLostError",
    "ProjectNotFoundError",
    "RankError",
    "RecordError",
    "SchemaError",
    "StatisticsError",
    "TrackerError",
]


# Why a run failed, in its record: not enough memory of a GPU or the machine; missing or broken
# images; a process that crashed or was ended from outside; --cell-timeout; any other error.
FailureKind = Literal["oom", "data", "killed", "timeout", "error"]


class DataError(PoolformerError, ValueError):
    """Images that are missing or broken; the message names the file.

    File names may contain any bytes: the message is escaped for a terminal. A data loader process
    passes its whole traceback as the message: its last line is kept.
    """

    def __init__(self, message: str) -> None:
        if message.startswith(f"Caught {type(self).__name__} in DataLoader worker"):
            message = message.rstrip().rpartition("\n")[2].partition(f"{type(self).__name__}: ")[2]
        super().__init__(terminal(message))


class InsufficientMemoryError(DataError):
    """The images, or batches of them, do not fit into memory."""


class RecordError(PoolformerError, ValueError):
    """A record that cannot be read; the message names the file."""


class AccessError(RecordError):
    """A file of results that this user may not read or write. The run itself did not fail."""

    exit_code = 1


class MissingFileError(AccessError):
    """A file of results that does not exist."""


class LeaseError(RecordError):
    """A folder in which no lease can be taken; the message names it."""


class BusyError(LeaseError):
    """Another process trains the run."""


class SchemaError(PoolformerError, ValueError):
    """A value of a file that has the wrong type or is out of range."""


class TrackerError(PoolformerError, ValueError):
    """W&B cannot do what was asked."""


class ProjectNotFoundError(TrackerError):
    """W&B has no such project or sweep."""


class StatisticsError(PoolformerError, ValueError):
    """A value that no statistic can be computed from; the message names it."""


class LeaseLostError(PoolformerError):
    """The lease expired and another process took the run over."""

    exit_code = 1


class ProcessLostError(PoolformerError):
    """A process of a distributed run was ended from outside; the checkpoint is kept."""

    exit_code = 1


class RankError(PoolformerError):
    """Another process of a distributed run has failed.

    Args:
        kind: The kind of its failure.
        message: What happened, in one line.
    """

    exit_code = 1

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
