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
        code: The exit code for the signal: 129 for SIGHUP, 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into Interrupted, at once or at the next ``check``.

    Python drops an exception that a handler raises inside a destructor; ``check`` raises it again.

    Attributes:
        received: The exit code for the last signal, 0 before the first.
    """

    def __init__(self) -> None:
        self.defers, self.received = False, 0

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Inside the block these signals raise Interrupted.

        Only the main thread of a process can handle signals; in another thread nothing changes. A
        SIGINT or SIGHUP that is ignored (as by nohup) or has another handler stays as it is.
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
    def deferred(self) -> Iterator[None]:
        """Inside the block the first signal waits for ``check``; a second one does not."""
        self.defers = True
        try:
            yield
        finally:
            self.defers = False

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.received:
            raise Interrupted(self.received)

    def _handle(self, number: int, _: Any) -> None:
        if self.received and number == signal.SIGHUP:
            return  # a closing terminal sends it twice
        repeated, self.received = bool(self.received), 128 + number
        if repeated or not self.defers:
            raise Interrupted(self.received)
