"""SIGTERM and SIGINT end a run in an orderly way: what was trained is kept, and it is told."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; its checkpoint holds what was trained.

    Args:
        code: The exit code that goes with the signal: 130 for SIGINT, 143 for SIGTERM.
    """

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class Signals(pl.Callback):
    """Turns SIGTERM into Interrupted: at once, or at the end of a batch while Lightning trains."""

    def __init__(self) -> None:
        self.waits = self.came = False

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """SIGTERM raises Interrupted inside the block, as SIGINT raises KeyboardInterrupt anyway.

        Only a process's main thread may say so; in another one nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextlib.contextmanager
    def at_batch_ends(self) -> Iterator[None]:
        """Inside the block a SIGTERM waits for the end of a batch, or of the block."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False
        self._check()

    def _handle(self, *_: Any) -> None:
        self.came = True
        if not self.waits:
            raise Interrupted(143)

    def _check(self) -> None:
        if self.came:
            raise Interrupted(143)

    def on_train_batch_end(self, *_: Any) -> None:
        self._check()

    def on_validation_batch_end(self, *_: Any) -> None:
        self._check()
