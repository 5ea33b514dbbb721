"""Files that other programs and other users see: replaced whole, never through a planted link.

Modes follow the umask, and groups the folder (its setgid bit), so that a folder that several users
share works as its owner has set it up.
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

PARTIAL = ".partial"  # how the names of files end that are not whole yet
LARGEST = 2**26  # bytes of a file that is read whole


def created(path: Path) -> BinaryIO:
    """A new file; OSError where there is one, or a link, of that name."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return open(os.open(str(path), flags, 0o666), "wb")


@contextlib.contextmanager
def replacing(path: Path, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` once the block ends well.

    A reader sees the old file or the whole new one, also after a crash or a power cut. A link at
    ``path`` is replaced, not followed.

    Args:
        path: The file.
        sync: Whether to wait for the disk; without, a power cut may leave either of them or none.

    Raises:
        OSError: The folder does not exist, takes no file, or is full; it names ``path``.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with created(partial) as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            error.filename = str(path)  # which is what was asked for
        raise
    if sync:
        _sync(path.parent)


def _sync(folder: Path) -> None:
    """Put the names in a folder on the disk, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def appending(path: Path) -> int:
    """The descriptor of a regular file, made where there is none, to write at its end.

    Raises:
        OSError: It is a link, a folder or a pipe, or cannot be opened.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "is a symbolic link: remove it", str(path)) from None
        raise
    try:
        _regular(descriptor, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read(path: str | Path) -> bytes:
    """The content of a regular file; a pipe or a device is refused, not waited for.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger than ``LARGEST``.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = _regular(descriptor, path).st_size
        if size > LARGEST:
            raise OSError(errno.EFBIG, f"is larger than {LARGEST >> 20} MiB", str(path))
        return os.read(descriptor, size + 1)
    finally:
        os.close(descriptor)


def _regular(descriptor: int, path: str | Path) -> os.stat_result:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "is not a file", str(path))
    return found
