"""Reading and writing files of a results folder, and the errors of a disk or of permissions."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from ablations.errors import AccessError, MissingFileError, RecordError
from ablations.machine import files

NO_SPACE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP)


def read_file(path: str | Path) -> bytes:
    """The content of a file.

    Raises:
        MissingFileError: It does not exist.
        AccessError: It cannot be read.
    """
    try:
        return files.read_regular(path)
    except OSError as error:
        raise access_error(path, error) from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that readers see the old or the complete new content, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def check_writable(results: Path) -> None:
    """Create the results folder.

    Raises:
        RecordError: It cannot be created or written.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise RecordError(
            f"results folder {results} cannot be written ({error.strerror}): choose another with "
            "--results DIR"
        ) from error


def access_error(path: object, error: OSError) -> AccessError:
    """The error of a file that cannot be read or written."""
    missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
    kind = MissingFileError if missing else AccessError
    return kind(f"{path}: {(error.strerror or 'it cannot be read').lower()}")


def storage_error(error: BaseException | None, folder: Path) -> OSError | AccessError | None:
    """The full disk, or the file of the run without permission, that caused an error; else None.

    Such an error is not a result of the run: no record is written, and the next start continues.

    Args:
        error: The error.
        folder: The folder of the run. Files elsewhere, such as images, do not count.
    """
    folder = Path(os.path.abspath(folder))
    while error is not None:
        if isinstance(error, OSError):
            if error.errno in NO_SPACE_ERRORS:
                return OSError(error.errno, os.strerror(error.errno), str(folder))
            path = Path(os.path.abspath(os.fsdecode(error.filename or "")))
            if error.errno in _NO_ACCESS_ERRORS and path.is_relative_to(folder):
                return access_error(error.filename, error)
        error = error.__cause__ or error.__context__
    return None
