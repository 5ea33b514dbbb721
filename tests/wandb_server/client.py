"""The real client in processes of its own, which know no other server than the given one.

Each works in ``folder``, where all its files stay. Words that look like ``NAME="value"`` are
variables of its environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.wandb_server.server import WandbServer

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# For a client that is to meet a fault: give up after one retry, say nothing but what went wrong.
QUICK = {"WANDB__GRAPHQL_RETRY_MAX": "1", "WANDB_SILENT": "true", "WANDB__DISABLE_STATS": "true"}


def start(
    server: WandbServer, folder: Path, *command: str, stderr: int = subprocess.STDOUT, **env: str
) -> subprocess.Popen[str]:
    """A program of this environment, such as ``wandb`` or ``python``; its streams are pipes."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        (str(BIN / command[0]), *command[1:]),
        cwd=folder,
        env=server.env(folder, PYTHONPATH=str(ROOT), PATH=path, **env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def outcome(
    process: subprocess.Popen[str], timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """What it came to; killed if it takes longer than ``timeout`` seconds."""
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    finally:
        process.kill()
        process.wait()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def end(process: subprocess.Popen[str], timeout: float = 120) -> str:
    """All that it says until it ends."""
    return outcome(process, timeout).stdout


def cli(
    server: WandbServer, folder: Path, *words: str, timeout: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    """``python -m ablations ...``; its return code, stdout and stderr."""
    command = ("python", "-m", "ablations", *words)
    return outcome(start(server, folder, *command, stderr=subprocess.PIPE, **env), timeout)


def wandb(server: WandbServer, folder: Path, *words: str, **env: str) -> str:
    """What ``wandb ...`` says."""
    return end(start(server, folder, "wandb", *words, **env))


def python(server: WandbServer, folder: Path, code: str, **env: str) -> str:
    """What a program says."""
    return end(start(server, folder, "python", "-c", code, **{"WANDB_SILENT": "true", **env}))


def ask(server: WandbServer, folder: Path, code: str) -> Any:
    """What ``code`` puts into ``answer``, in a fresh process with a fresh ``api``."""
    code = f"import json, wandb\napi = wandb.Api()\n{code}\nprint('>>>' + json.dumps(answer))"
    said = python(server, folder, code)
    assert ">>>" in said, said
    return json.loads(said.split(">>>")[1])


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something that another process or thread brings about."""
    stop = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop, "it did not happen in time"
        time.sleep(0.05)
