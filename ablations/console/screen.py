"""All printing: results on stdout, messages on stderr. What happens to a screen never ends a run.

A terminal that is gone, a pipe that nobody reads, a full disk and a closed stream take what is
printed and give nothing back; a screen that cannot show a character shows another in its place.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Any, TextIO

from ablations.text.escape import redact_credentials, terminal

if TYPE_CHECKING:
    from rich.console import Console

# Nobody reads any more: no reason to say that something was lost.
GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET)
WIDTH = 200  # of a table that goes to a file or a program
# What a screen shows that has no such character; box and block elements are below.
ASCII = {
    **dict.fromkeys("–—−‐‑", "-"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    "±": "+-",
    "×": "x",
    "…": "...",
    "·": ".",
    "•": "*",
    "→": "->",
    "←": "<-",
    "µ": "u",
    "Δ": "diff",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "\xa0": " ",
    **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True)),
}
HANDLER = "ablations.console.screen"


def _ascii(character: str) -> str:
    """What stands for a character on a screen that lacks it."""
    if character in ASCII:
        return ASCII[character]
    if "─" <= character <= "╿":  # box drawing: lines, then corners and crossings
        return "-" if character in "─━═╌╍┄┅┈┉╴╶╸╺╼╾" else "|" if character in "│┃║┆┇┊┋╎╏" else "+"
    if "▀" <= character <= "▟":
        return "#"
    return character.encode("ascii", "backslashreplace").decode()


def _replace(error: UnicodeError) -> tuple[str, int]:
    """As codecs.register_error wants it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


codecs.register_error(HANDLER, _replace)


class _Patient(io.FileIO):
    """A file descriptor whose failures to write are kept, not raised.

    Attributes:
        lost: The first of them.
    """

    lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Write it, or what can be written; always said to be all."""
        rest = memoryview(data).cast("B")
        while rest:
            try:
                done = super().write(rest)
            except OSError as error:
                self.lost = self.lost or error
                break
            if done is None:  # a terminal that another program has set not to wait
                select.select([], [self.fileno()], [], 1.0)
            rest = rest[done or 0 :]
        return len(data)


def set_up_streams() -> None:
    """Make the streams of this process safe to print to; once, when a command starts."""
    reopen_closed_streams()
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        try:
            ours = stream is None or stream.fileno() == number
        except (OSError, ValueError):  # a test or a notebook has put its own there
            ours = False
        if ours and not (stream and _raw(stream)):
            setattr(sys, name, _stream(stream, number))
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def reopen_closed_streams() -> None:
    """Give the standard streams that are closed to /dev/null.

    The next file to be opened would get the number of one of them, and what is meant for the
    screen.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)


def redirect_output(log: str | os.PathLike[str]) -> None:
    """Send all that this process prints from now on to the end of a file, its libraries included.

    Where the file cannot be written (another user's, a full disk, a link) it is lost: no run fails
    for it.
    """
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        file = os.open(log, how, 0o666)
    except OSError:
        file = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(file, stream)
    if file > 2:
        os.close(file)
    set_up_streams()


def _stream(old: Any, number: int) -> TextIO:
    if old is not None:
        old.flush()
    return lenient_stream(
        number,
        encoding=old.encoding if old is not None else "utf-8",
        line_buffering=number == 2 or os.isatty(number),
        write_through=bool(old is not None and old.write_through),
    )


def lenient_stream(
    number: int, closefd: bool = False, encoding: str = "utf-8", **options: Any
) -> io.TextIOWrapper:
    """A text stream to a file descriptor; what cannot be written to it is lost without an error.

    Args:
        number: The file descriptor.
        closefd: Whether it is closed with the stream.
        encoding: Of the text; a character that it lacks is replaced.
        options: As TextIOWrapper takes them.
    """
    file = io.BufferedWriter(_Patient(number, "wb", closefd=closefd))
    return io.TextIOWrapper(file, encoding=encoding, errors=HANDLER, **options)


def _raw(stream: Any) -> _Patient | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Patient) else None


def write_error() -> str | None:
    """Why results have not arrived on stdout; None where they have, or nobody reads them."""
    _write(sys.stdout, "")
    raw = _raw(sys.stdout)
    if raw is None or raw.lost is None or raw.lost.errno in GONE:
        return None
    return raw.lost.strerror


def out(text: str, end: str = "\n", stream: TextIO | None = None) -> None:
    """Print a result on stdout, or on what it was when the caller began."""
    _write(stream or sys.stdout, terminal(redact_credentials(text), lines=True) + end)


def note(text: str) -> None:
    """Print a message of one line on stderr."""
    _write(sys.stderr, terminal(redact_credentials(text).strip("\n")) + "\n")


def print_table(made: Any, last: str) -> None:
    """Print a rich table on stdout and lines below it; in a file, lines keep their length."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    with console.capture() as printed:
        console.print(made)
    _write(sys.stdout, f"{printed.get()}{terminal(last, lines=True)}\n")


def stderr_console(**options: Any) -> Console:
    """A rich console on stderr, for progress and messages."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, **options)


def _write(stream: TextIO | None, text: str) -> None:
    """Also where ``prepare`` has not been called, as in a notebook: no failure is raised."""
    if stream is None:
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, HANDLER).decode(encoding))
        stream.flush()
    except (OSError, ValueError):  # ValueError: it is closed
        pass
