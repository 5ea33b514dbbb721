"""The holder of a lease: a process on a machine, and whether it is still alive."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ablations.store.records import SCHEMA_VERSION

# A network file system may hide a heartbeat for up to a minute: it caches file attributes.
EXPIRY_SECONDS = 120.0
_ZOMBIE = ""  # start of a process that has ended and was not reaped yet


@cache
def machine_id() -> str:
    """Identifies the processes that see each other's ids: one boot of a machine or container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


@dataclass(frozen=True)
class Holder:
    """A process that trains a run; by default this process.

    Args:
        run_id: The run.
        host: The name of its machine.
        machine: Identifies that machine since its last boot, see ``machine_id``.
        pid: The process id there.
        birth: When the process started, see ``process_start``; a later process with the same id
            has another one.
        since: When it acquired the lease, ISO 8601 in UTC.
        schema: The schema version of the records it writes.
        heartbeat: When it last touched the lease, in seconds by the clock of the file system.
        problem: Why the lease cannot be read; empty where it can.
    """

    run_id: str
    host: str = field(default_factory=platform.node)
    machine: str = field(default_factory=machine_id)
    pid: int = field(default_factory=os.getpid)
    birth: str | None = field(default_factory=lambda: process_start(os.getpid()))
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    schema: int = SCHEMA_VERSION
    heartbeat: float = 0.0
    problem: str = ""

    @property
    def on_this_machine(self) -> bool:
        """Whether the process runs on this machine."""
        return self.machine == machine_id()

    def is_active(self, now: float) -> bool:
        """Whether it still holds its lease.

        Args:
            now: The time by the clock of the file system.
        """
        alive = None
        if self.on_this_machine and not self.problem:
            alive = process_is_alive(self.pid, self.birth)
        return now - self.heartbeat <= EXPIRY_SECONDS if alive is None else alive

    def __str__(self) -> str:
        return self.problem or f"process {self.pid} on {self.host} trains it"


def process_start(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return _ZOMBIE if state == "Z" else rest[18]


def process_is_alive(pid: int, birth: str | None) -> bool | None:
    """Whether the process on this machine that started at ``birth`` still runs.

    None where the system hides other users' processes (mount option hidepid).
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process, alive
    start = process_start(pid)
    if start is None:
        return None
    return start != _ZOMBIE and birth in (None, start)
