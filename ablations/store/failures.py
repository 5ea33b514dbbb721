"""Why runs fail: the kinds of failure, and the record of a run that could not write its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ablations.config.schema import RunConfig
from ablations.store import previous_results, run_state
from ablations.store.records import Record
from ablations.text.escape import redact_credentials

# What failure["kind"] may be.
FAILURE_KINDS = {
    "oom": "memory, of a GPU or of the machine, was not enough",
    "data": "images are missing or broken",
    "killed": "its process ended from outside, or crashed",
    "timeout": "it took longer than --cell-timeout",
    "error": "the code failed",
}
# A later `ablations run` trains these again by itself, others with --retry-failed only: whatever
# killed them may be over, and a cell continues from its checkpoint.
RETRIED_KINDS = ["killed"]
_LOG_TAIL_LINES = 20  # of a log, in the record


def write_failed_record(cell: RunConfig, results: Path, kind: str, message: str) -> Record:
    """Write the record of a cell that could not write one itself.

    Args:
        cell: The cell.
        results: The folder of all runs.
        kind: One of ``KINDS``.
        message: More of it, in a line.
    """
    folder = results / cell.run_id
    start = run_state.find_run_state(results, cell.run_id)
    record = Record(
        run_id=cell.run_id,
        status="failed",
        config=cell.to_json(),
        tracker=start.tracker if start else {},  # its next start continues the run in W&B
        failure=describe_failure(kind, message, folder),
    )
    # Where even this cannot be written, the runner still tells it at the end.
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        previous_results.write_or_restore(results, record)
        (folder / run_state.RUN_STATE_FILE).unlink(missing_ok=True)
    return record


def describe_failure(kind: str, message: str, folder: Path) -> dict[str, str]:
    """The failure of a record: kind, message, and the last lines of the run's log.

    Args:
        kind: One of ``KINDS``.
        message: More of it, in a line.
        folder: The run's.
    """
    try:
        with (folder / run_state.LOG_FILE).open(encoding="utf-8", errors="replace") as file:
            tail = "".join(file.readlines()[-_LOG_TAIL_LINES:])
    except OSError:
        tail = ""
    return {"kind": kind, "message": redact_credentials(message)} | ({"log": tail} if tail else {})


def keeps_failure(record: Record, retry: bool) -> bool:
    """Whether a cell that failed before is left as it is.

    Args:
        record: Its record, whose status is failed.
        retry: Whether the user asks for all of them again.
    """
    assert record.failure is not None
    return not retry and record.failure["kind"] not in RETRIED_KINDS
