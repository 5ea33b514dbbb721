"""Environment variables and paths that users type. An empty variable counts as unset."""

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
    """The value of a variable; None if it is unset or empty."""
    return os.environ.get(name) or None


def get_bool(name: str) -> bool:
    """The value of a boolean variable; false if it is unset or empty.

    Raises:
        ConfigError: Neither true nor false.
    """
    value = (get(name) or "no").strip().lower()
    if value not in (*YES, *NO):
        raise ConfigError(f"{name} {value!r} must be one of {', '.join((*YES, *NO))}")
    return value in YES


def expand_path(text: str | os.PathLike[str]) -> Path:
    """A path with ``~`` and ``~user`` replaced by home folders, if they exist.

    A shell does not expand ``--results=~/runs``, and a YAML file has no shell.
    """
    return Path(os.path.expanduser(text))


def set_up_tmpdir() -> str | None:
    """Choose a folder for temporary files that all libraries can use.

    W&B, Ray and data loader processes create sockets there, whose paths have at most 107 bytes.

    Returns:
        A message if TMPDIR cannot be used, else None.

    Raises:
        ConfigError: No folder can be written.
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
        why = f"is longer than the {LONGEST_TMPDIR} bytes that leave room for sockets"
        found = "/tmp"
    else:
        return None
    os.environ["TMPDIR"] = tempfile.tempdir = found
    return f"TMPDIR {given or ''} {why}: temporary files go to {found}"


@contextlib.contextmanager
def set_environ(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables within a block, also for processes started in it; None unsets."""
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
