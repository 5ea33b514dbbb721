"""Where a run was trained: commit, versions, device. Nothing here is secret or personal."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ablations.config import plugins
from ablations.config.schema import RunConfig

PACKAGES = ["torch", "torchvision", "timm", "pytorch-lightning", "torchmetrics", "numpy"]


def describe(config: RunConfig) -> dict[str, Any]:
    """The environment of a record, without its devices and its date."""
    return {
        **_commit(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "platform": platform.machine(),
        "threads": config.system.threads,
        "processes": config.system.world_size,
        "plugins": plugins.mixer_versions(config.model.mixers),
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
        git("ls-files", "--error-unmatch", "--", Path(__file__).name)
        dirty = git("status", "--porcelain", "--untracked-files=no", "--", "..")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(dirty)}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
