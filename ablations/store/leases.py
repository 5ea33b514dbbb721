"""Who trains a cell: one lease a cell, ``<results>/.leases/<run_id>.<n>.json``.

A lease is taken atomically on any file system that machines share, by a hard link to a file that is
whole already; its holder touches it every few seconds. A cell is free once its lease is gone, or
once its holder is: on the holder's machine when that process has ended; elsewhere, or where another
user's lease or process cannot be looked at, when nobody has touched the lease for long. Ages are by
the file system's clock, never by those of two machines.

A new lease takes the number after the highest. Whoever has made one looks again and gives way to
any other that is alive: of two processes that find a dead holder at once, only one follows it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from ablations.errors import BusyError, LeaseError, LeaseLostError
from ablations.machine import files
from ablations.store import records
from ablations.store.records import SCHEMA_VERSION

LEASE_FOLDER = ".leases"
_LEASE_NAME = re.compile(r"([^.]+)[.]([0-9]{1,18})[.]json")  # of a run and its number
HEARTBEAT_SECONDS = 10.0
# What a network file system may hide of a heartbeat is a minute at most (its caches of attributes).
EXPIRY_SECONDS = 120.0
_IS_LINK = "is a symbolic link: remove it"
_ZOMBIE = ""  # the birth of a zombie


@cache
def machine_id() -> str:
    """What processes that see each other's ids share: a boot of a machine, or of a container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
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
        hidden: Why its lease tells nothing more; empty where it does.
    """

    run_id: str
    host: str = field(default_factory=platform.node)
    machine: str = field(default_factory=machine_id)
    pid: int = field(default_factory=os.getpid)
    birth: str | None = field(default_factory=lambda: process_start(os.getpid()))
    since: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    schema: int = SCHEMA_VERSION
    at: float = 0.0
    hidden: str = ""

    def alive(self, now: float) -> bool:
        """Whether it still has its cell.

        Args:
            now: The time by the file system's clock.
        """
        seen = process_is_alive(self.pid, self.birth) if self.here and not self.hidden else None
        return now - self.at <= EXPIRY_SECONDS if seen is None else seen

    @property
    def here(self) -> bool:
        """Whether it is on this machine."""
        return self.machine == machine_id()

    def __str__(self) -> str:
        return self.hidden or f"process {self.pid} on {self.host} trains it"


_LEASE_FIELDS = ["run_id", "host", "machine", "pid", "birth", "since", "schema"]  # in a lease


class Lease:
    """A cell that this process has, with a thread that says so every few seconds.

    Args:
        results: The folder of all runs.
        run_id: The cell.
        path: Its lease.

    Attributes:
        mine: Tells whether nobody has worked in the cell's folder since this process began to.
    """

    def __init__(self, results: Path, run_id: str, path: Path) -> None:
        self.results, self.run_id, self.path = results, run_id, path
        before = records.record_stamp(results, run_id)
        self.mine: Callable[[], bool] = lambda: records.record_stamp(results, run_id) == before
        self.lost, self._ended, self._lock = False, threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._beat, name=f"lease {path.name}", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            self._touch()

    def _touch(self) -> None:
        with self._lock:
            try:
                if not self.lost:
                    os.utime(self.path)
            except FileNotFoundError:
                self._take_again()
            except OSError:  # a network that is away: the next beat may come through
                pass

    def _take_again(self) -> None:
        """Take the cell once more where nobody has had it since: its lease was only removed."""
        try:
            self.lost = bool(_lease_files(self.results, self.run_id)) or not self.mine()
            if not self.lost:
                self.path = _acquire(self.results, self.run_id)
        except BusyError:
            self.lost = True
        except (OSError, LeaseError):  # the next beat may come through
            pass

    def check(self, now: bool = False) -> None:
        """Raise LeaseLostError where another process has taken the cell over.

        Args:
            now: Look, and do not trust the last heartbeat.
        """
        if now and not self._ended.is_set():
            self._touch()
        if self.lost:
            raise LeaseLostError(
                f"{self.path.name}: this process slept, and another one took its run over"
            )

    def release(self) -> None:
        """Give the cell back."""
        self._ended.set()
        self._thread.join()
        _remove(self.path)


def acquire_lease(results: Path, run_id: str) -> Lease:
    """Take a cell.

    Args:
        results: The folder of all runs; it exists.
        run_id: The cell.

    Raises:
        BusyError: Somebody has it.
        LeaseError: No lease can be taken in this folder.
    """
    return Lease(results, run_id, _acquire(results, run_id))


def _acquire(results: Path, run_id: str) -> Path:
    """A new lease, after which no other of the cell is alive; as ``take``."""
    while True:
        try:
            with _write_draft(results, run_id) as (draft, now):
                found = _lease_files(results, run_id)
                _raise_if_held(found, now)
                number = max(map(_lease_number, found), default=0) + 1
                path = results / LEASE_FOLDER / f"{run_id}.{number}.json"
                _link_draft(draft, path)
            break
        except FileNotFoundError:
            continue  # another process has just tidied up: its lease, or none, shows now
    others = [other for other in _lease_files(results, run_id) if other != path]
    try:
        _raise_if_held(others, now)
    except BusyError:
        _remove(path)
        raise
    for left in [*others, *_draft_files(results, run_id)]:
        with contextlib.suppress(OSError):  # another user's, in a folder where each keeps his own
            left.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def hold_lease(results: Path, run_id: str) -> Iterator[Lease]:
    """Have a cell for the block; as ``take``."""
    lease = acquire_lease(results, run_id)
    try:
        yield lease
    finally:
        lease.release()


def active_leases(results: Path) -> dict[str, Holder]:
    """Who is training what in a folder: run id -> holder; empty where nobody is."""
    found = _lease_files(results)
    if not found:
        return {}
    now = _file_system_time(results)
    holders = (_read_holder(path, now) for path in found)
    return {holder.run_id: holder for holder in holders if holder and holder.alive(now)}


def expired_leases(results: Path) -> list[Path]:
    """Leases and drafts of leases whose holders are gone."""
    now = _file_system_time(results)
    return [
        path
        for path in [*_lease_files(results), *_draft_files(results)]
        if not ((holder := _read_holder(path, now)) and holder.alive(now))
    ]


def check_leases_work(results: Path) -> None:
    """Raise LeaseError for a folder that takes no leases, or that another version works in.

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


def _lease_files(results: Path, run_id: str = "") -> list[Path]:
    """The leases of a cell, or of all; other files are nobody's leases."""
    if (results / LEASE_FOLDER).is_symlink():
        raise LeaseError(f"{results / LEASE_FOLDER} {_IS_LINK}")
    try:
        names = os.listdir(results / LEASE_FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        why = (error.strerror or "").lower()
        raise LeaseError(
            f"{results / LEASE_FOLDER}: {why}: who trains what is not known"
        ) from error
    found = ((name, _LEASE_NAME.fullmatch(name)) for name in names)
    return [results / LEASE_FOLDER / name for name, of in found if of and run_id in ("", of[1])]


def _lease_number(lease: Path) -> int:
    return int(lease.suffixes[0][1:])


def _draft_files(results: Path, run_id: str = "*") -> list[Path]:
    return list((results / LEASE_FOLDER).glob(f".{run_id}.*.draft"))


@contextlib.contextmanager
def _write_draft(results: Path, run_id: str) -> Iterator[tuple[Path, float]]:
    """A whole lease that holds nothing yet, and the time by the file system's clock."""
    folder = results / LEASE_FOLDER
    draft = folder / f".{run_id}.{secrets.token_hex(4)}.draft"
    try:
        if folder.is_symlink():
            raise OSError(errno.ELOOP, f"{LEASE_FOLDER} {_IS_LINK}")
        # Not Path.mkdir, which fails where whoever tidies up removes the folder meanwhile.
        results.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
    except OSError as error:
        raise _cannot_lease(results, error) from error
    try:
        try:
            with files.create_new(draft) as file:
                file.write(_lease_content(run_id))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _cannot_lease(results, error) from error
        yield draft, os.stat(draft).st_mtime
    finally:
        _remove(draft)


def _lease_content(run_id: str) -> bytes:
    told = {name: value for name, value in asdict(Holder(run_id)).items() if name in _LEASE_FIELDS}
    return json.dumps(told, indent=2).encode()


def _remove(path: Path) -> None:
    """Remove a file, and the folder with the last one."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _raise_if_held(leases: list[Path], now: float) -> None:
    for path in leases:
        holder = _read_holder(path, now)
        if holder and holder.alive(now):
            raise _busy(holder)


def _busy(holder: Holder) -> BusyError:
    who = f"by process {holder.pid} on {holder.host} since {holder.since}"
    told = f"({holder.hidden})" if holder.hidden else who
    return BusyError(
        f"run {holder.run_id} is being trained {told}: wait for its record, or stop that process"
    )


def _link_draft(draft: Path, path: Path) -> None:
    """Give a draft the name of a lease; raise BusyError where another draft has it."""
    try:
        os.link(draft, path)
    except FileExistsError:
        # A server that answers twice says so of our own link too; then the draft has two names.
        if os.stat(draft).st_nlink != 2:
            raise _busy(
                _read_holder(path, os.stat(draft).st_mtime)
                or Holder(path.name.split(".")[0], host="another machine")
            ) from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _cannot_lease(path.parent.parent, error, "hard links fail there: ") from error


def _cannot_lease(results: Path, error: OSError, why: str = "") -> LeaseError:
    return LeaseError(
        f"results folder {results} takes no leases ({why}{error.strerror}): choose another with "
        "--results DIR"
    )


def _read_holder(path: Path, now: float) -> Holder | None:
    """The holder of a lease, hidden where it says of none; None where it has just been given back.

    A heartbeat from the future, the clock having been set back since, counts from now on.
    """
    from ablations.errors import SchemaError
    from ablations.store.validation import mapping_of, read_json

    try:
        at = path.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError:
        at = now
    if at > now + EXPIRY_SECONDS:
        try:
            os.utime(path)
            at = now
        except OSError:
            at = 0.0
    run_id = path.name.lstrip(".").split(".")[0]
    try:
        tree = read_json(files.read_regular(path), mapping_of(Holder, without=("at", "hidden")))
        if tree["run_id"] == run_id and 0 < tree["pid"] < 2**31:
            return Holder(**{name: tree[name] for name in _LEASE_FIELDS}, at=at)
        why = "it is of another run or process"
    except FileNotFoundError:
        return None
    except SchemaError as error:
        why = str(error)
        if path.suffix == ".draft":  # half of one, which a killed process left
            return None
    except OSError as error:
        why = error.strerror or "it cannot be read"
    told = f"lease {path}: {why.lower()}"
    return Holder(run_id, host="?", machine="?", pid=0, birth=None, since="?", at=at, hidden=told)


def _file_system_time(results: Path) -> float:
    """The time by the clock that dates a folder's files; this machine's where it is read-only."""
    try:
        with tempfile.TemporaryFile(dir=results / LEASE_FOLDER) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def process_start(pid: int) -> str | None:
    """When a process began, in clock ticks since its machine did; None where that is not told."""
    try:
        state, *rest = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return None
    return _ZOMBIE if state == "Z" else rest[18]


def process_is_alive(pid: int, birth: str | None) -> bool | None:
    """Whether a process of this machine still runs and is the one that was born then.

    None where the system hides another user's process, as hidepid does.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but alive
    found = process_start(pid)
    if found is None:
        return None
    return found != _ZOMBIE and birth in (None, found)
