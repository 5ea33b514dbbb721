"""SIGINT, SIGTERM and SIGHUP end a run in an orderly way."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; its checkpoint holds what was trained.

    Args:
        code: The exit code that goes with the signal: 129 for SIGHUP, 130 for SIGINT, 143 for
            SIGTERM.

    Attributes:
        reported: Whether the tracker knows of the signal.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code, self.reported = code, False


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into Interrupted, at once or where it is asked for.

    An exception that a handler raises is lost where Python happens to be in a destructor; ``check``
    raises it again.
    """

    def __init__(self) -> None:
        self.waits, self.came = False, 0

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Inside the block these signals raise Interrupted.

        Only a process's main thread may say so; in another one nothing changes. A SIGINT or
        SIGHUP that somebody ignores (nohup does) or handles otherwise stays as it is.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            numbers.append(signal.SIGINT)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block a signal waits for ``check``; a second one does not."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False

    def check(self) -> None:
        """Raise Interrupted where a signal has come."""
        if self.came:
            raise Interrupted(self.came)

    def _handle(self, number: int, _: Any) -> None:
        if self.came and number == signal.SIGHUP:
            return  # a terminal that closes sends it twice
        again, self.came = bool(self.came), 128 + number
        if again or not self.waits:
            raise Interrupted(self.came)
