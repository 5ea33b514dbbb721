"""All printing: results on stdout, messages on stderr. A failure to print never ends a run.

Output to a closed terminal, a broken pipe, a full disk or a closed stream is dropped without an
error. A character that the encoding lacks is replaced.
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

# Errors that mean that nobody reads the output any more, so that its loss is not reported.
GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET)
WIDTH = 200  # of a table that is not printed on a terminal
# Replacements for characters that the encoding lacks; `_ascii` has those of boxes and blocks.
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
    """The ASCII replacement of a character."""
    if character in ASCII:
        return ASCII[character]
    if "─" <= character <= "╿":  # box drawing: lines, then corners and crossings
        return "-" if character in "─━═╌╍┄┅┈┉╴╶╸╺╼╾" else "|" if character in "│┃║┆┇┊┋╎╏" else "+"
    if "▀" <= character <= "▟":
        return "#"
    return character.encode("ascii", "backslashreplace").decode()


def _replace(error: UnicodeError) -> tuple[str, int]:
    """An error handler for `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


codecs.register_error(HANDLER, _replace)


class _LenientFile(io.FileIO):
    """A file descriptor that stores write errors instead of raising them.

    Attributes:
        lost: The first error.
    """

    lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Write as much as possible; always returns the length of the data."""
        rest = memoryview(data).cast("B")
        while rest:
            try:
                done = super().write(rest)
            except OSError as error:
                self.lost = self.lost or error
                break
            if done is None:  # another program has made the terminal non-blocking
                select.select([], [self.fileno()], [], 1.0)
            rest = rest[done or 0 :]
        return len(data)


def set_up_streams() -> None:
    """Make stdout and stderr safe to print to. Call it once, when a command starts."""
    reopen_closed_streams()
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        try:
            is_own = stream is None or stream.fileno() == number
        except (OSError, ValueError):  # a test or a notebook has replaced it
            is_own = False
        if is_own and not (stream and _raw(stream)):
            setattr(sys, name, _stream(stream, number))
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def reopen_closed_streams() -> None:
    """Open /dev/null for standard streams that are closed.

    Otherwise the next file to be opened would get the number of one of them, and receive its
    output.
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
    """Append all further output of this process, its libraries included, to a file.

    If the file cannot be opened (for lack of permission, or because it is a link), output is
    dropped: no run fails for it.
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
    """A text stream to a file descriptor that drops what cannot be written.

    Args:
        number: The file descriptor.
        closefd: Whether to close it with the stream.
        encoding: The encoding of the text; characters that it lacks are replaced.
        options: Further arguments of TextIOWrapper.
    """
    file = io.BufferedWriter(_LenientFile(number, "wb", closefd=closefd))
    return io.TextIOWrapper(file, encoding=encoding, errors=HANDLER, **options)


def _raw(stream: Any) -> _LenientFile | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw if isinstance(raw, _LenientFile) else None


def write_error() -> str | None:
    """Why results could not be written to stdout; None if they were, or if nobody reads them."""
    _write(sys.stdout, "")
    raw = _raw(sys.stdout)
    if raw is None or raw.lost is None or raw.lost.errno in GONE:
        return None
    return raw.lost.strerror


def out(text: str, end: str = "\n", stream: TextIO | None = None) -> None:
    """Print a result on stdout, or on another stream."""
    _write(stream or sys.stdout, terminal(redact_credentials(text), lines=True) + end)


def note(text: str) -> None:
    """Print a one-line message on stderr."""
    _write(sys.stderr, terminal(redact_credentials(text).strip("\n")) + "\n")


def print_table(made: Any, last: str) -> None:
    """Print a rich table and the lines below it on stdout; lines are not wrapped in a file."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    with console.capture() as printed:
        console.print(made)
    _write(sys.stdout, f"{printed.get()}{terminal(last, lines=True)}\n")


def stderr_console() -> Console:
    """A rich console on stderr, for progress and messages."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _write(stream: TextIO | None, text: str) -> None:
    """Write and ignore errors, even if ``set_up_streams`` was not called, as in a notebook."""
    if stream is None:
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, HANDLER).decode(encoding))
        stream.flush()
    except (OSError, ValueError):  # ValueError: the stream is closed
        pass
