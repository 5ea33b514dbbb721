"""Environment variables and the paths that users type: an empty variable counts as unset."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ablations.errors import ConfigError

LONGEST_TMPDIR = 60
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def get(name: str) -> str | None:
    """The value of a variable; None where it is unset or empty."""
    return os.environ.get(name) or None


def get_bool(name: str) -> bool:
    """Whether a variable says yes.

    Raises:
        ConfigError: It says neither yes nor no.
    """
    value = (get(name) or "no").strip().lower()
    if value not in (*YES, *NO):
        raise ConfigError(f"{name} {value!r} must be one of {', '.join((*YES, *NO))}")
    return value in YES


def expand_path(text: str | os.PathLike[str]) -> Path:
    """A path as a shell reads it: ``~`` and ``~user`` are home folders.

    A shell leaves the one in ``--results=~/runs`` alone, and a YAML file has no shell. Where there
    is no such home, the path stays as it is.
    """
    return Path(os.path.expanduser(text))


def set_up_tmpdir() -> str | None:
    """Give the libraries a folder for temporary files; a line where TMPDIR cannot be used.

    The address of a socket is a path of 107 bytes at most, and W&B's, Ray's and those of loader
    processes lie there.

    Raises:
        ConfigError: There is no such folder.
    """
    given = get("TMPDIR")
    try:
        found = tempfile.gettempdir()
    except OSError as error:
        raise ConfigError(
            "no folder for temporary files can be written: set TMPDIR to one"
        ) from error
    if given and os.path.realpath(given) != os.path.realpath(found):
        why = "cannot be written"
    elif len(os.fsencode(found)) > LONGEST_TMPDIR and os.access("/tmp", os.W_OK | os.X_OK):
        why, found = (
            f"is longer than the {LONGEST_TMPDIR} bytes that leave room for sockets",
            "/tmp",
        )
    else:
        return None
    os.environ["TMPDIR"] = tempfile.tempdir = found
    return f"TMPDIR {given or ''} {why}: temporary files go to {found}"


@contextlib.contextmanager
def set_environ(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Variables of the block, seen by the processes that are started in it; None: without it."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
