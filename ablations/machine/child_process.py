"""The first steps of every child process, and what it inherits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable
from multiprocessing.connection import wait

from ablations.console import screen

# Set before a child starts: the libraries read these when they load.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def set_up_child(log: str | os.PathLike[str], ignore: Iterable[signal.Signals]) -> None:
    """Prepare a process that ``multiprocessing`` started, before it does its work.

    Signals often reach a whole process group; the parent decides what they mean. The child never
    outlives its parent, even one that was killed.

    Args:
        log: The file to which all output of the child goes, its libraries' included.
        ignore: Signals that the child leaves to its parent.
    """
    for number in ignore:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_exit_with, args=(parent.sentinel,), daemon=True).start()
    screen.redirect_output(log)


def _exit_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
