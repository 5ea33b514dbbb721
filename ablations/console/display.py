"""How long work shows itself: a live display on a terminal, a line now and then in a log."""

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
LOOK_SECONDS = 1.0  # how often it is seen whether a line is due
SHARE = 20  # a line each twentieth of the time so far
BAR = (10, 40)  # characters of a bar, at least and at most


class LogInterval:
    """Says when a log gets its next line: after half a minute, each half minute, then rarer."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.next = self.begun + FIRST_SECONDS

    def due(self) -> bool:
        """Whether it is time for a line; then the next one is due later."""
        if time.monotonic() < self.next:
            return False
        self.said()
        return True

    def said(self) -> None:
        """The log has got a line."""
        now = time.monotonic()
        self.next = now + min(LONGEST_SECONDS, max(FIRST_SECONDS, (now - self.begun) / SHARE))


def can_redraw(console: Console) -> bool:
    """Whether a screen can be drawn on again and again: not a file, nor a dumb terminal."""
    return console.is_terminal and not console.is_dumb_terminal


class ProgressBar:
    """One piece of work: a bar on a terminal while the block lasts, elsewhere a line now and then.

    Args:
        words: What is shown before the first update.
        line: Prints a line where there is no terminal.
        silent: Given the seconds since the last update, what is to be said of them.
        console: Where the bar is drawn; by default stderr.
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
        self.done, self.at = 0.0, time.monotonic()
        self.lines = LogInterval()
        self.live: Live | None = None
        self.ended = threading.Event()

    def __enter__(self) -> Self:
        from rich.live import Live

        if can_redraw(self.console):
            self.live = Live(
                get_renderable=self._drawn,
                console=self.console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # what goes to a file is not the screen's
            )
            self.live.start()
        else:
            threading.Thread(target=self._log, name="progress", daemon=True).start()
        return self

    def _log(self) -> None:
        """Print a line whenever one is due, also while nothing happens."""
        while not self.ended.wait(LOOK_SECONDS):
            if self.lines.due():
                self.line(self._told())

    def _told(self) -> str:
        silent = self.silent(time.monotonic() - self.at)
        return f"{self.words}, {silent}" if silent else self.words

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        if self.live:
            self.live.stop()

    def say(self, words: str) -> None:
        """Print a line of its own, in place of the next one that is due."""
        self.lines.said()
        self.line(words)

    def update(self, done: float, words: str) -> None:
        """The work has gone on.

        Args:
            done: How much of it is done, 0 to 1.
            words: Where it is, in words.
        """
        self.done, self.words, self.at = done, words, time.monotonic()

    def _drawn(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        words = rich_text(self._told())
        words.no_wrap, words.overflow = True, "ellipsis"
        least, most = BAR
        room = self.console.width - words.cell_len - 1
        if room < least:
            return words
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_row(ProgressBar(total=1, completed=self.done, width=min(room, most)), words)
        return row
