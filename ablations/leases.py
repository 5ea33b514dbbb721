"""Who trains a cell: one lease a cell, ``<results>/.leases/<run_id>.<n>.json``.

A lease is taken atomically on any file system that machines share, by a hard link to a file that is
whole already; its holder touches it every few seconds. A cell is free once its lease is gone, or
once its holder is: on the holder's machine when that process has ended, elsewhere when nobody has
touched the lease for long. Ages are by the file system's clock, never by those of two machines.

A new lease takes the number after the highest. Whoever has made one looks again and gives way to
any other that is alive: of two processes that find a dead holder at once, only one follows it.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from ablations.records import SCHEMA, RecordError

FOLDER = ".leases"
HEARTBEAT_SECONDS = 10.0
# What a network file system may hide of a heartbeat is a minute at most (its caches of attributes).
GONE_SECONDS = 120.0


class LeaseError(RecordError):
    """A folder in which no lease can be taken; the message is one line that names it."""


class BusyError(LeaseError):
    """Somebody else has the cell.

    Args:
        holder: Who.
    """

    def __init__(self, holder: Holder) -> None:
        super().__init__(
            f"run {holder.run_id} is being trained by process {holder.pid} on {holder.host} since "
            f"{holder.since}: wait for its record, or stop that process"
        )
        self.holder = holder


class LostError(Exception):
    """The lease was taken over while its holder slept: another process trains the cell now."""


@cache
def this_machine() -> str:
    """What processes that see each other's ids share: a boot of a machine, or of a container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


@dataclass(frozen=True)
class Holder:
    """A process that trains a cell.

    Args:
        run_id: The cell.
        host: The name of its machine.
        machine: What tells that machine from all others, and from its own last boot.
        pid: The process there.
        birth: When that process began, as its system counts; tells it from a later one of its pid.
        since: When it took the cell, ISO 8601 in UTC.
        schema: The version of the records that it writes.
        at: When it last touched its lease, by the file system's clock, in seconds.
    """

    run_id: str
    host: str = field(default_factory=platform.node)
    machine: str = field(default_factory=this_machine)
    pid: int = field(default_factory=os.getpid)
    birth: str | None = field(default_factory=lambda: process_birth(os.getpid()))
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    schema: int = SCHEMA
    at: float = 0.0

    def alive(self, now: float) -> bool:
        """Whether it still has its cell.

        Args:
            now: The time by the file system's clock.
        """
        if self.here:
            return alive(self.pid, self.birth)
        return now - self.at <= GONE_SECONDS

    @property
    def here(self) -> bool:
        """Whether it is on this machine."""
        return self.machine == this_machine()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} trains it"


class Lease:
    """A cell that this process has, with a thread that says so every few seconds."""

    def __init__(self, path: Path) -> None:
        self.path, self.lost, self._ended = path, False, threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {path.name}", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            self._touch()

    def _touch(self) -> None:
        try:
            os.utime(self.path)
        except FileNotFoundError:
            self.lost = True
        except OSError:  # a network that is away: the next beat may come through
            pass

    def check(self, now: bool = False) -> None:
        """Raise LostError where another process has taken the cell over.

        Args:
            now: Look, and do not trust the last heartbeat.
        """
        if now and not self._ended.is_set():
            self._touch()
        if self.lost:
            raise LostError(
                f"{self.path.name}: this process slept, and another one took its cell over"
            )

    def release(self) -> None:
        """Give the cell back."""
        self._ended.set()
        self._thread.join()
        _tidy(self.path)


def take(results: Path, run_id: str) -> Lease:
    """Take a cell.

    Args:
        results: The folder of all runs; it exists.
        run_id: The cell.

    Raises:
        BusyError: Somebody has it.
        LeaseError: No lease can be taken in this folder.
    """
    while True:
        try:
            with _draft(results, run_id) as (draft, now):
                files = _files(results, run_id)
                _refuse_living(files, now)
                number = max((int(path.suffixes[-2][1:]) for path in files), default=0) + 1
                path = results / FOLDER / f"{run_id}.{number}.json"
                _link(draft, path)
            break
        except FileNotFoundError:
            continue  # another process has just tidied up: its lease, or none, shows now
    others = [other for other in _files(results, run_id) if other != path]
    try:
        _refuse_living(others, now)
    except BusyError:
        _tidy(path)
        raise
    for left in [*others, *_drafts(results, run_id)]:
        left.unlink(missing_ok=True)
    return Lease(path)


@contextlib.contextmanager
def held(results: Path, run_id: str) -> Iterator[Lease]:
    """Have a cell for the block; as ``take``."""
    lease = take(results, run_id)
    try:
        yield lease
    finally:
        lease.release()


def living(results: Path) -> dict[str, Holder]:
    """Who is training what in a folder: run id -> holder; empty where nobody is."""
    files = _files(results)
    if not files:
        return {}
    now = _clock(results)
    found = (_read(path) for path in files)
    return {holder.run_id: holder for holder in found if holder and holder.alive(now)}


def gone(results: Path) -> list[Path]:
    """Leases and drafts of leases whose holders are gone."""
    now = _clock(results)
    return [
        path
        for path in [*_files(results), *_drafts(results)]
        if not ((holder := _read(path)) and holder.alive(now))
    ]


def check(results: Path) -> None:
    """Raise LeaseError for a folder that takes no leases, or that another version works in.

    Args:
        results: The folder; it exists.
    """
    with held(results, f"check-{secrets.token_hex(4)}"):
        pass
    for holder in living(results).values():
        if holder.schema != SCHEMA:
            raise LeaseError(
                f"results folder {results} is in use by process {holder.pid} on {holder.host}, "
                f"which writes records of version {holder.schema}; this program writes {SCHEMA}: "
                "choose another folder with --results DIR"
            )


def _files(results: Path, run_id: str = "*") -> list[Path]:
    return list((results / FOLDER).glob(f"{run_id}.*.json"))


def _drafts(results: Path, run_id: str = "*") -> list[Path]:
    return list((results / FOLDER).glob(f".{run_id}.*.draft"))


@contextlib.contextmanager
def _draft(results: Path, run_id: str) -> Iterator[tuple[Path, float]]:
    """A whole lease that holds nothing yet, and the time by the file system's clock."""
    folder = results / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{run_id}.", suffix=".draft")
    try:
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump({**asdict(Holder(run_id)), "at": None}, file, indent=2)
        except OSError as error:
            raise _no_lease(results, error) from error
        yield Path(name), os.stat(name).st_mtime
    finally:
        _tidy(Path(name))


def _tidy(path: Path) -> None:
    """Remove a file, and the folder with the last one."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _refuse_living(files: list[Path], now: float) -> None:
    for path in files:
        holder = _read(path)
        if holder and holder.alive(now):
            raise BusyError(holder)


def _link(draft: Path, path: Path) -> None:
    """Give a draft the name of a lease; raise BusyError where another draft has it."""
    try:
        os.link(draft, path)
    except FileExistsError:
        # A server that answers twice says so of our own link too; then the draft has two names.
        if os.stat(draft).st_nlink != 2:
            raise BusyError(_read(path) or Holder(path.stem, host="another machine")) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _no_lease(path.parent.parent, error, "hard links fail there: ") from error


def _no_lease(results: Path, error: OSError, why: str = "") -> LeaseError:
    return LeaseError(
        f"results folder {results} takes no leases ({why}{error.strerror}): choose another with "
        "--results DIR"
    )


def _read(path: Path) -> Holder | None:
    """The holder of a lease; None where it has just been given back."""
    try:
        tree: Mapping[str, Any] = json.loads(path.read_text())
        known = {item.name: tree[item.name] for item in fields(Holder) if item.name in tree}
        return Holder(**{**known, "at": path.stat().st_mtime})
    except (OSError, ValueError, TypeError):
        return None


def _clock(results: Path) -> float:
    """The time by the clock that dates a folder's files; this machine's where it is read-only."""
    try:
        with tempfile.TemporaryFile(dir=results / FOLDER) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def process_birth(pid: int) -> str | None:
    """When a process began, in clock ticks since its machine did; None where that is not told."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else rest[18]  # a zombie has ended


def alive(pid: int, birth: str | None) -> bool:
    """Whether a process of this machine still runs and is the one that was born then."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but alive
    return birth is None or process_birth(pid) == birth
