"""An exception of training as the failure of a record: its kind, and one line."""

from __future__ import annotations

import torch

from ablations.data.memory import loader_death, memory_shortage
from ablations.errors import DataError, FailureKind, RankError


def failure_kind(error: Exception) -> FailureKind:
    """The kind of failure that an exception is."""
    if isinstance(error, RankError):
        return error.kind
    if isinstance(error, torch.OutOfMemoryError) or memory_shortage(error):
        return "oom"
    if loader_death(error):
        return "killed"
    return "data" if isinstance(error, DataError) else "error"


def summarize_error(error: BaseException) -> str:
    """The class and message of an error, in one line."""
    if isinstance(error, RankError):
        return str(error)
    name = type(error).__name__
    if not isinstance(error, DataError) and (
        reason := memory_shortage(error) or loader_death(error)
    ):
        return f"{name}: {reason}"
    lines = str(error).strip().splitlines()
    if not lines:
        return name
    # A loader worker sends its whole traceback; the message is the last line.
    if lines[0].startswith("Caught "):
        name, _, message = lines[-1].partition(": ")
        return f"{name.rsplit('.', 1)[-1]}: {message}"
    return f"{name}: {lines[0]}"
