"""Where a run was trained: commit, versions, device. Nothing here is secret or personal."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ["torch", "torchvision", "timm", "pytorch-lightning", "torchmetrics", "numpy"]


def describe(device: dict[str, Any], threads: int) -> dict[str, Any]:
    """The environment of a record; ``device`` adds what the run knows of its devices."""
    return {
        **_versions(),
        **_commit(),
        "platform": platform.machine(),
        "threads": threads,
        **device,
    }


@functools.cache
def cpu_model() -> str:
    """The model of this machine's CPU. Another model may round the last digits differently."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    name = next(named, "") or platform.processor() or platform.machine()
    return " ".join(re.sub(r"\((R|TM)\)", "", name).split())


def end_date() -> dict[str, str]:
    """The date of a record: when the run ended, ISO 8601 in UTC."""
    return {"date": datetime.now(UTC).isoformat(timespec="seconds")}


@functools.cache
def _versions() -> dict[str, Any]:
    versions = {name: version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "versions": versions}


@functools.cache
def _commit() -> dict[str, Any]:
    """The commit of the checkout that this package runs from; None if it is installed."""
    # Also read a checkout of another user: its code runs here already. Variables such as GIT_DIR,
    # which git sets for its hooks, may name another checkout.
    own = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words: str) -> str:
        done = subprocess.run(
            [*own, *words],
            cwd=Path(__file__).parent,
            env=env,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=True,
            timeout=10,
        )
        return done.stdout.strip()

    try:
        tracked = bool(git("ls-files", "--", Path(__file__).name))
        if not tracked:
            return {"commit": None, "dirty": None}
        dirty = git("status", "--porcelain", "--untracked-files=no", "--", "..")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(dirty)}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
