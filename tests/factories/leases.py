"""Leases as other processes leave them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from ablations.store import leases
from ablations.store.leases import Holder

CELL = "0123456789ab"


def written(results: Path, holder: Holder, number: int = 1, age: float = 0.0) -> Path:
    """A lease as another process would have left it."""
    path = results / leases.LEASE_FOLDER / f"{holder.run_id}.{number}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({k: v for k, v in vars(holder).items() if k != "heartbeat"}))
    os.utime(path, (time.time() - age,) * 2)
    return path


def ended() -> Holder:
    """The holder that a process of this machine was that has ended."""
    with subprocess.Popen(["sleep", "9"]) as process:
        birth = leases.process_start(process.pid)
        process.kill()
    return Holder(CELL, pid=process.pid, birth=birth)
