"""The leases in a results folder: which runs are being trained, and which holders are gone."""

from __future__ import annotations

import secrets
from pathlib import Path

from ablations.errors import LeaseError
from ablations.store.leases.heartbeat import hold_lease
from ablations.store.leases.holder import Holder
from ablations.store.leases.lease_file import (
    active_holder,
    draft_files,
    file_system_time,
    lease_files,
)
from ablations.store.records import SCHEMA_VERSION


def active_leases(results: Path) -> dict[str, Holder]:
    """The runs that are being trained in a folder: run id -> holder of its lease."""
    paths = lease_files(results)
    now = file_system_time(results) if paths else 0.0
    holders = (active_holder(path, now) for path in paths)
    return {holder.run_id: holder for holder in holders if holder}


def expired_leases(results: Path) -> list[Path]:
    """Leases and drafts of leases whose holders are gone."""
    now = file_system_time(results)
    paths = [*lease_files(results), *draft_files(results)]
    return [path for path in paths if not active_holder(path, now)]


def check_leases_work(results: Path) -> None:
    """Raise LeaseError where no lease can be acquired, or where another version writes records.

    Args:
        results: The folder; it exists.
    """
    with hold_lease(results, f"check-{secrets.token_hex(4)}"):
        pass
    for holder in active_leases(results).values():
        if holder.schema != SCHEMA_VERSION:
            raise LeaseError(
                f"results folder {results} is in use by process {holder.pid} on {holder.host}, "
                f"which writes records of version {holder.schema}; this program writes "
                f"{SCHEMA_VERSION}: choose another folder with --results DIR"
            )
