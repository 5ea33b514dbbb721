"""The files of leases: their names, how they are written and read, and the clock they use."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ablations.errors import LeaseError, SchemaError
from ablations.machine import files
from ablations.store.leases.holder import EXPIRY_SECONDS, Holder

LEASE_FOLDER = ".leases"
_FILE_NAME = re.compile(r"([^.]+)[.]([0-9]{1,18})[.]json")  # run id and number
_FIELDS = ["run_id", "host", "machine", "pid", "birth", "since", "schema"]  # of a Holder
_IS_LINK = "is a symbolic link: remove it"


def lease_files(results: Path, run_id: str = "") -> list[Path]:
    """The leases of one run, or of all runs.

    Raises:
        LeaseError: The folder of leases cannot be read.
    """
    folder = results / LEASE_FOLDER
    if folder.is_symlink():
        raise LeaseError(f"{folder} {_IS_LINK}")
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise LeaseError(
            f"{folder}: {(error.strerror or '').lower()}: cannot tell which runs are being trained"
        ) from error
    matches = ((name, _FILE_NAME.fullmatch(name)) for name in names)
    return [folder / name for name, match in matches if match and run_id in ("", match[1])]


def lease_number(path: Path) -> int:
    """The number in the name of a lease: a later lease of a run has a higher one."""
    return int(path.suffixes[0][1:])


def draft_files(results: Path, run_id: str = "*") -> list[Path]:
    """Drafts of leases of one run, or of all runs."""
    return list((results / LEASE_FOLDER).glob(f".{run_id}.*.draft"))


@contextlib.contextmanager
def draft_lease(results: Path, run_id: str) -> Iterator[tuple[Path, float]]:
    """Write a complete lease under a temporary name, and remove that name afterwards.

    Yields:
        The draft, and the time by the clock of the file system.

    Raises:
        LeaseError: The folder cannot be created or written.
        FileNotFoundError: Another process has just removed the empty folder of leases.
    """
    folder = results / LEASE_FOLDER
    draft = folder / f".{run_id}.{secrets.token_hex(4)}.draft"
    try:
        if folder.is_symlink():
            raise OSError(errno.ELOOP, f"{LEASE_FOLDER} {_IS_LINK}")
        # Not Path.mkdir: it fails where another process removes the folder at the same time.
        results.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
    except OSError as error:
        raise no_leases_here(results, error) from error
    values = asdict(Holder(run_id))
    content = json.dumps({name: values[name] for name in _FIELDS}, indent=2)
    try:
        with files.create_new(draft) as file:
            file.write(content.encode())
        yield draft, os.stat(draft).st_mtime
    except FileNotFoundError:
        raise
    except OSError as error:
        raise no_leases_here(results, error) from error
    finally:
        remove_lease_file(draft)


def remove_lease_file(path: Path) -> None:
    """Remove a lease or draft, and the folder of leases if it is empty then."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def no_leases_here(results: Path, error: OSError, why: str = "") -> LeaseError:
    """The error of a results folder in which no lease can be acquired."""
    return LeaseError(
        f"results folder {results} takes no leases ({why}{error.strerror}): choose another with "
        "--results DIR"
    )


def read_holder(path: Path, now: float) -> Holder | None:
    """The holder that a lease names; None where the lease has just been released.

    A lease that cannot be read gives a holder with a ``problem``. A heartbeat in the future, from
    before the clock was set back, counts as one from now.

    Args:
        path: The lease.
        now: The time by the clock of the file system.
    """
    from ablations.store.validation import mapping_of, read_json

    try:
        heartbeat = path.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError:
        heartbeat = now
    if heartbeat > now + EXPIRY_SECONDS:
        try:
            os.utime(path)
            heartbeat = now
        except OSError:
            heartbeat = 0.0
    run_id = path.name.lstrip(".").split(".")[0]
    try:
        values = read_json(
            files.read_regular(path), mapping_of(Holder, without=("heartbeat", "problem"))
        )
        if values["run_id"] == run_id and 0 < values["pid"] < 2**31:
            return Holder(**{name: values[name] for name in _FIELDS}, heartbeat=heartbeat)
        why = "it names another run or no process"
    except FileNotFoundError:
        return None
    except SchemaError as error:
        if path.suffix == ".draft":  # incomplete: its process was killed
            return None
        why = str(error)
    except OSError as error:
        why = error.strerror or "it cannot be read"
    problem = f"lease {path}: {why.lower()}"
    return Holder(
        run_id, "?", "?", pid=0, birth=None, since="?", heartbeat=heartbeat, problem=problem
    )


def active_holder(path: Path, now: float) -> Holder | None:
    """The holder that a lease names, if it still holds it; arguments as ``read_holder``."""
    holder = read_holder(path, now)
    return holder if holder and holder.is_active(now) else None


def file_system_time(results: Path) -> float:
    """The time by the clock that dates the files of a folder; this machine's if it is read-only."""
    try:
        with tempfile.TemporaryFile(dir=results / LEASE_FOLDER) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()
