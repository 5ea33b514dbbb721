"""Where commands write results: standard output or a file; and the notes beside them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from ablations.console import screen


def write_output(text: str, output: Path | None) -> None:
    """Write a result to a file, or print it without one."""
    if output is None:
        screen.out(text, end="")
        return
    if _is_stream(output):
        try:
            with output.open("a", encoding="utf-8") as stream:
                stream.write(text)
        except BrokenPipeError:
            pass  # the reader has closed it, as `| head` does
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(output)) from error
        return
    from ablations.store.storage import write_atomically

    write_atomically(output, text)


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe, a device or a name such as /dev/stdout, rather than a file.

    An atomic write would replace it, even /dev/stdout redirected to a file by the shell.
    """
    if path.exists() and not path.is_file():
        return True
    target = path.parent / os.readlink(path) if path.is_symlink() else path
    return any(os.path.realpath(each.parent).startswith("/proc/") for each in (path, target))


def report_problems(problems: Iterable[str]) -> None:
    """Print a line on stderr for each file or study that is left out."""
    for problem in problems:
        screen.note(f"left out: {problem}")


def report_unsynced(folders: Sequence[Path]) -> None:
    """Print the command that sends W&B what it has not received, where there is any."""
    if folders:
        runs = "1 run has" if len(folders) == 1 else f"{len(folders)} runs have"
        paths = " ".join(shlex.quote(str(folder)) for folder in folders)
        screen.note(
            f"{runs} not reached W&B whole, send what is missing: "
            f"wandb sync --include-online {paths}"
        )
