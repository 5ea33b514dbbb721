"""Leases of other processes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from ablations.store import leases
from ablations.store.leases import Holder

RUN_ID = "0123456789ab"


def write_lease(results: Path, holder: Holder, number: int = 1, age: float = 0.0) -> Path:
    """Write a lease as another process would."""
    path = results / leases.LEASE_FOLDER / f"{holder.run_id}.{number}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({k: v for k, v in vars(holder).items() if k != "heartbeat"}))
    os.utime(path, (time.time() - age,) * 2)
    return path


def dead_holder() -> Holder:
    """A holder on this machine whose process has ended."""
    with subprocess.Popen(["sleep", "9"]) as process:
        birth = leases.process_start(process.pid)
        process.kill()
    return Holder(RUN_ID, pid=process.pid, birth=birth)
