"""Progress of long work: a bar on a terminal, occasional lines in a log."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from ablations.console import screen
from ablations.text.escape import rich_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

FIRST_SECONDS, LONGEST_SECONDS = 30.0, 600.0
POLL_SECONDS = 1.0  # how often to check whether a line is due
SHARE = 20  # the next line comes after a twentieth of the time so far
BAR = (10, 40)  # minimum and maximum width of a bar, in characters


class LogInterval:
    """Decides when a log gets its next line: each half minute at first, then less often."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.next = self.started + FIRST_SECONDS

    def due(self) -> bool:
        """Whether it is time for a line. If so, schedules the next one."""
        if time.monotonic() < self.next:
            return False
        self.reset()
        return True

    def reset(self) -> None:
        """Schedule the next line, because one was just printed."""
        now = time.monotonic()
        self.next = now + min(LONGEST_SECONDS, max(FIRST_SECONDS, (now - self.started) / SHARE))


def can_redraw(console: Console) -> bool:
    """Whether the console can be redrawn, unlike a file or a dumb terminal."""
    return console.is_terminal and not console.is_dumb_terminal


class ProgressBar:
    """Shows the progress of one piece of work: a bar on a terminal, occasional lines elsewhere.

    Use it as a context manager.

    Args:
        words: The text before the first update.
        line: Prints a line, where there is no terminal.
        silent: Turns the seconds since the last update into a remark, or "".
        console: Where to draw the bar; by default stderr.
    """

    def __init__(
        self,
        words: str = "starting",
        line: Callable[[str], None] = screen.note,
        silent: Callable[[float], str] = lambda _: "",
        console: Console | None = None,
    ) -> None:
        self.words, self.line, self.silent = words, line, silent
        self.console = console or screen.stderr_console()
        self.done, self.updated = 0.0, time.monotonic()
        self.lines = LogInterval()
        self.live: Live | None = None
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        from rich.live import Live

        if can_redraw(self.console):
            self.live = Live(
                get_renderable=self._render,
                console=self.console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # not if stdout goes to a file
            )
            self.live.start()
        else:
            threading.Thread(target=self._log, name="progress", daemon=True).start()
        return self

    def _log(self) -> None:
        """Print a line whenever one is due, even without updates."""
        while not self.ended.wait(POLL_SECONDS):
            if self.lines.due():
                self.line(self._text())

    def _text(self) -> str:
        silent = self.silent(time.monotonic() - self.updated)
        return f"{self.words}, {silent}" if silent else self.words

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        if self.live:
            self.live.stop()

    def say(self, words: str) -> None:
        """Print a line now, in place of the next one."""
        self.lines.reset()
        self.line(words)

    def update(self, done: float, words: str) -> None:
        """Update the progress.

        Args:
            done: The fraction that is done, 0 to 1.
            words: The progress in words.
        """
        self.done, self.words, self.updated = done, words, time.monotonic()

    def _render(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        words = rich_text(self._text())
        words.no_wrap, words.overflow = True, "ellipsis"
        least, most = BAR
        room = self.console.width - words.cell_len - 1
        if room < least:
            return words
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_row(ProgressBar(total=1, completed=self.done, width=min(room, most)), words)
        return row
