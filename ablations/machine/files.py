"""Files that other processes and users read: replaced atomically, never through a planted link.

Modes follow the umask and groups follow the folder (its setgid bit), so that a folder which several
users share works as its owner set it up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial"  # suffix of a file that is still being written
MAX_BYTES = 2**26  # largest file that `read_regular` reads


def create_new(path: Path) -> BinaryIO:
    """Create a file and open it for writing; FileExistsError if a file or link has that name."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return open(os.open(str(path), flags, 0o666), "wb")


@contextlib.contextmanager
def atomic_write(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that replaces ``path`` when the block ends without an error.

    Readers see the old file or the complete new one, also after a crash or a power cut. A link at
    ``path`` is replaced, not followed.

    Args:
        path: The file.
        sync: Whether to wait for the disk. Without it, a power cut may lose both versions.

    Raises:
        OSError: The folder does not exist, is not writable or is full; the error names ``path``.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with create_new(partial) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            error.filename = str(path)  # the name that the caller knows
        raise
    if sync:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the file system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_append(path: Path) -> int:
    """Open a regular file for appending, creating it if needed; its file descriptor.

    Raises:
        OSError: The path is a link, a folder or a pipe, or cannot be opened.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "is a symbolic link: remove it", str(path)) from None
        raise
    try:
        _check_regular(descriptor, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: str | Path) -> bytes:
    """The content of a regular file. A pipe or a device is refused, so that no read blocks.

    Raises:
        OSError: The file cannot be read, is not a regular file, or exceeds ``MAX_BYTES``.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = _check_regular(descriptor, path).st_size
        if size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"is larger than {MAX_BYTES >> 20} MiB", str(path))
        return os.read(descriptor, size + 1)
    finally:
        os.close(descriptor)


def _check_regular(descriptor: int, path: str | Path) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is not a file", str(path))
    return status
