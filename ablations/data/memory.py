"""Whether images fit into memory and batches into shared memory, and what to do if not."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal

from ablations.errors import DataError, InsufficientMemoryError
from ablations.machine.cores import control_groups

log = logging.getLogger("ablations")
_warn_once = functools.lru_cache(maxsize=16)(log.warning)  # each message once per process
SHARED_MEMORY = Path("/dev/shm")  # where loader processes put batches, on Linux
_MARGIN_BYTES = 1_000_000  # semaphores and partly filled pages
_LIMIT_FILES = ("memory.max", "memory.limit_in_bytes")  # of control groups, versions 2 and 1
MEMINFO = Path("/proc/meminfo")
# Messages of torch and multiprocessing, which raise errors of several classes.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory"
    r"|unable to allocate"
    r"|storage size calculation overflowed",
    re.IGNORECASE,
)
_OUT_OF_SHARED_MEMORY = re.compile(
    r"allocate shared memory|unable to (write to|open) file </torch|signal: Bus error"
)
_LARGER_HINT = "a larger /dev/shm (docker run --shm-size=8g, or --ipc=host)"


def available_memory() -> int | None:
    """Bytes that this process can still allocate, with swap; None where the system does not say."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        text = MEMINFO.read_text(encoding="utf-8")
        fields = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE))
        if "MemAvailable" in fields:
            found.append(1024 * (int(fields["MemAvailable"]) + int(fields.get("SwapFree", 0))))
    for group in control_groups("memory"):
        for name in _LIMIT_FILES:
            with contextlib.suppress(OSError, ValueError):  # ValueError: "max"
                found.append(int((group / name).read_text(encoding="utf-8")))
    return min(found, default=None)


def check_memory(wanted: int, what: str) -> None:
    """Raise InsufficientMemoryError where fewer than ``wanted`` bytes are available.

    Linux allows larger allocations, and kills this or another process when they are used.
    """
    free = available_memory()
    if free is not None and wanted > free:
        raise InsufficientMemoryError(
            f"{what} take {decimal(wanted)} of memory, {decimal(free)} are available: "
            "use a smaller data.image_size, or data.pipeline timm, which keeps no copy of them"
        )


def workers_within_shared_memory(workers: int, batch: int, batches: int) -> int:
    """The number of loader processes that shared memory has room for; warns if that is fewer.

    Args:
        workers: The configured number of loader processes.
        batch: Bytes of a batch.
        batches: Batches per epoch. Each process prefetches two, and the training loop holds two.
    """
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return workers

    def kept(count: int) -> int:
        return min(2 * count + 2, batches) * batch + _MARGIN_BYTES if count else 0

    fit = next(count for count in range(workers, -1, -1) if kept(count) <= free)
    if fit < workers:
        _warn_once(
            "%s",
            f"{SHARED_MEMORY} has {decimal(free)} free, and {workers} loader processes may fill "
            f"{decimal(kept(workers))}: using {fit} of them, which may be slower; provide "
            f"{_LARGER_HINT}, or set --system.loader_workers {fit}",
        )
    return fit


def memory_shortage(error: BaseException) -> str | None:
    """The cause of an out-of-memory error in one line; None for any other error."""
    text = str(error).strip()
    if isinstance(error, InsufficientMemoryError):
        return text
    if isinstance(error, RuntimeError) and _OUT_OF_SHARED_MEMORY.search(
        loader_death(error) or text
    ):
        return (
            f"batches of loader processes fill {SHARED_MEMORY}: --system.loader_workers 0, or "
            f"{_LARGER_HINT}"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return os.strerror(errno.ENOMEM)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(text)
    ):
        # A loader process sends its whole traceback; the last line has the message.
        lines = text.splitlines() or ["not enough memory"]
        line = lines[-1] if lines[0].startswith("Caught ") else lines[0]
        return re.sub(r"^([\w.]*Error: )?(\[enforce fail at [^]]*\] err == 0\. )?", "", line)
    return None


def loader_death(error: BaseException) -> str | None:
    """How a loader process was ended from outside, in one line; None for any other error.

    The error of torch says that a process ended; an earlier error in the chain says how.
    """
    if not isinstance(error, RuntimeError) or not str(error).startswith("DataLoader worker (pid"):
        return None
    before: BaseException | None = error
    while before is not None:
        if found := re.search(r"killed by signal: ([\w ]+)", str(before)):
            return f"a loader process was killed by signal: {found[1]}"
        before = before.__cause__ or before.__context__
    return "a loader process ended unexpectedly"


@contextlib.contextmanager
def memory_guard(what: str) -> Iterator[None]:
    """Turn out-of-memory errors of the block into InsufficientMemoryError.

    Args:
        what: What the block allocates, for the message.

    Raises:
        InsufficientMemoryError: Memory or shared memory ran out.
        DataError: A loader process was killed from outside.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if short := memory_shortage(error):
            raise InsufficientMemoryError(f"{what}: {short}") from error
        if end := loader_death(error):
            raise DataError(f"{what}: {end}") from error
        raise
