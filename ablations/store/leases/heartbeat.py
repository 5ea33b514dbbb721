"""A lease of this process, and the heartbeat that keeps it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ablations.errors import BusyError, LeaseError, LeaseLostError
from ablations.store import records
from ablations.store.leases.lease_file import lease_files, remove_lease_file
from ablations.store.leases.takeover import claim_lease

HEARTBEAT_SECONDS = 10.0


class Lease:
    """A lease of this process, with a thread that touches its file every few seconds.

    Args:
        results: The results folder.
        run_id: The run.
        path: The file of the lease.

    Attributes:
        is_unchanged: Whether no other process has written to the folder of the run since.
    """

    def __init__(self, results: Path, run_id: str, path: Path) -> None:
        self.results, self.run_id, self.path = results, run_id, path
        before = records.record_stamp(results, run_id)
        self.is_unchanged: Callable[[], bool] = lambda: (
            records.record_stamp(results, run_id) == before
        )
        self.lost, self._released, self._lock = False, threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._beat, name=f"lease {path.name}", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            self._touch()

    def _touch(self) -> None:
        with self._lock:
            try:
                if not self.lost:
                    os.utime(self.path)
            except FileNotFoundError:
                self._claim_again()
            except OSError:  # the network is down: try again at the next heartbeat
                pass

    def _claim_again(self) -> None:
        """Claim the run again after the lease was removed, unless another process had it since."""
        try:
            self.lost = bool(lease_files(self.results, self.run_id)) or not self.is_unchanged()
            if not self.lost:
                self.path = claim_lease(self.results, self.run_id)
        except BusyError:
            self.lost = True
        except (OSError, LeaseError):  # try again at the next heartbeat
            pass

    def check(self, now: bool = False) -> None:
        """Raise LeaseLostError where another process has taken the run over.

        Args:
            now: Look at the file now, instead of relying on the last heartbeat.
        """
        if now and not self._released.is_set():
            self._touch()
        if self.lost:
            raise LeaseLostError(
                f"{self.path.name}: this process was suspended, and another one took its run over"
            )

    def release(self) -> None:
        """Stop the heartbeat and remove the lease."""
        self._released.set()
        self._thread.join()
        remove_lease_file(self.path)


def acquire_lease(results: Path, run_id: str) -> Lease:
    """Acquire the lease of a run.

    Args:
        results: The results folder; it exists.
        run_id: The run.

    Raises:
        BusyError: Another process holds it.
        LeaseError: No lease can be acquired in this folder.
    """
    return Lease(results, run_id, claim_lease(results, run_id))


@contextlib.contextmanager
def hold_lease(results: Path, run_id: str) -> Iterator[Lease]:
    """Hold the lease of a run inside the block; arguments and errors as ``acquire_lease``."""
    lease = acquire_lease(results, run_id)
    try:
        yield lease
    finally:
        lease.release()
