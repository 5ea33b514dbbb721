"""One lease per run: ``<results>/.leases/<run_id>.<n>.json`` names the process that trains it.

A lease is acquired atomically on any shared file system, by a hard link to a complete file. Its
holder touches it every few seconds (`heartbeat`). A run is free when it has no lease, or when the
holder of its lease is gone (`takeover`): on the holder's machine, when that process has ended;
elsewhere, or where the system hides the process, when the lease has not been touched for
``EXPIRY_SECONDS``. Ages are measured by the clock of the file system, never across two machines.
"""

from ablations.store.leases.heartbeat import Lease, acquire_lease, hold_lease
from ablations.store.leases.holder import EXPIRY_SECONDS, Holder, process_start
from ablations.store.leases.lease_file import LEASE_FOLDER
from ablations.store.leases.listing import active_leases, check_leases_work, expired_leases

__all__ = [
    "EXPIRY_SECONDS",
    "LEASE_FOLDER",
    "Holder",
    "Lease",
    "acquire_lease",
    "active_leases",
    "check_leases_work",
    "expired_leases",
    "hold_lease",
    "process_start",
]
