"""Claim the lease of a run, and take it over from a holder that is gone.

A new lease gets the number after the highest one. After creating it, a process looks again, and
withdraws if any other lease of the run is active: of two processes that find a dead holder at the
same time, at most one takes over.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ablations.errors import BusyError
from ablations.store.leases.holder import Holder
from ablations.store.leases.lease_file import (
    LEASE_FOLDER,
    active_holder,
    draft_files,
    draft_lease,
    lease_files,
    lease_number,
    no_leases_here,
    read_holder,
    remove_lease_file,
)


def claim_lease(results: Path, run_id: str) -> Path:
    """Create a lease of a run; no other lease of the run is active then.

    Args:
        results: The results folder.
        run_id: The run.

    Returns:
        The file of the lease.

    Raises:
        BusyError: Another process holds the lease of the run.
        LeaseError: No lease can be acquired in this folder.
    """
    while True:
        try:
            with draft_lease(results, run_id) as (draft, now):
                existing = lease_files(results, run_id)
                _raise_if_active(existing, now)
                number = max(map(lease_number, existing), default=0) + 1
                path = results / LEASE_FOLDER / f"{run_id}.{number}.json"
                _link(draft, path)
            break
        except FileNotFoundError:
            continue  # another process has just released its lease and removed the folder
    others = [other for other in lease_files(results, run_id) if other != path]
    try:
        _raise_if_active(others, now)
    except BusyError:
        remove_lease_file(path)
        raise
    for expired in [*others, *draft_files(results, run_id)]:
        with contextlib.suppress(OSError):  # another user's, in a folder with the sticky bit
            expired.unlink(missing_ok=True)
    return path


def _raise_if_active(leases: list[Path], now: float) -> None:
    for path in leases:
        if holder := active_holder(path, now):
            raise _busy(holder)


def _busy(holder: Holder) -> BusyError:
    process = f"by process {holder.pid} on {holder.host} since {holder.since}"
    who = f"({holder.problem})" if holder.problem else process
    return BusyError(
        f"run {holder.run_id} is being trained {who}: wait for its record, or stop that process"
    )


def _link(draft: Path, path: Path) -> None:
    """Give a draft the name of a lease; raise BusyError where another process was faster."""
    try:
        os.link(draft, path)
    except FileExistsError:
        # A file server may repeat a request that succeeded; the draft then has two names.
        if os.stat(draft).st_nlink != 2:
            holder = read_holder(path, os.stat(draft).st_mtime)
            raise _busy(holder or Holder(path.name.split(".")[0], host="another machine")) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise no_leases_here(path.parent.parent, error, "hard links fail there: ") from error
