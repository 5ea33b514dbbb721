"""Failures of runs in their records, also where the run could not write its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ablations.config.schema import RunConfig
from ablations.errors import FailureKind
from ablations.store import previous_results, records, run_state
from ablations.store.records import Record
from ablations.text.escape import redact_credentials

_LOG_TAIL_LINES = 20  # in the record


def write_failed_record(run: RunConfig, results: Path, kind: FailureKind, message: str) -> Record:
    """Write the record of a run whose process could not write one.

    Args:
        run: The run.
        results: The results folder.
        kind: The kind of failure.
        message: Details in one line.
    """
    folder = results / run.run_id
    state = run_state.find_run_state(results, run.run_id)
    record = Record(
        run_id=run.run_id,
        status="failed",
        config=run.to_json(),
        tracker=state.tracker if state else {},  # the next start continues the W&B run
        failure=describe_failure(kind, message, folder),
    )
    # If this fails too, the runner still reports the failure.
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        previous_results.write_or_restore(results, record)
        (folder / records.RUN_STATE_FILE).unlink(missing_ok=True)
    return record


def describe_failure(kind: FailureKind, message: str, folder: Path) -> dict[str, str]:
    """The failure of a record: kind, message, and the last lines of the run's log.

    Args:
        kind: The kind of failure.
        message: Details in one line.
        folder: The folder of the run.
    """
    try:
        with (folder / run_state.LOG_FILE).open(encoding="utf-8", errors="replace") as file:
            tail = "".join(file.readlines()[-_LOG_TAIL_LINES:])
    except OSError:
        tail = ""
    return {"kind": kind, "message": redact_credentials(message)} | ({"log": tail} if tail else {})


def keeps_failure(record: Record, retry: bool) -> bool:
    """Whether a failed run is not trained again.

    A killed one always is: the cause may be gone, and it continues from its checkpoint.

    Args:
        record: Its record, with status failed.
        retry: Whether the user asked to retry all failed runs.
    """
    assert record.failure is not None
    return not retry and record.failure["kind"] != "killed"
