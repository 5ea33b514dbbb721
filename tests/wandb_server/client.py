"""The real client in new processes, which use only the given server.

Each process works in ``folder``, where all its files stay. Keyword arguments are variables of its
environment.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.factories.processes import BIN, Process
from tests.wandb_server.server import WandbServer

ROOT = Path(__file__).parents[2]
# For a client that meets a fault: give up after one retry and print only errors.
QUICK = {"WANDB__GRAPHQL_RETRY_MAX": "1", "WANDB_SILENT": "true", "WANDB__DISABLE_STATS": "true"}


def start(
    server: WandbServer,
    folder: Path,
    *command: str,
    merge_stderr: bool = True,
    warm: bool = True,
    **env: str,
) -> Process:
    """Start ``python``, ``ablations`` or ``wandb`` with arguments."""
    words = ("python", "-m", *command) if command[0] == "wandb" else command
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    variables = server.env(folder, PYTHONPATH=str(ROOT), PATH=path, **env)
    return Process(*words, cwd=folder, env=variables, merge_stderr=merge_stderr, warm=warm)


def cli(
    server: WandbServer, folder: Path, *words: str, timeout: float = 120, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run ``ablations ...``; its exit code, stdout and stderr."""
    with start(server, folder, "ablations", *words, merge_stderr=False, **env) as process:
        return process.finish(timeout)


def wandb(server: WandbServer, folder: Path, *words: str, timeout: float = 120, **env: str) -> str:
    """Run ``wandb ...`` and return its output."""
    with start(server, folder, "wandb", *words, **env) as process:
        return process.finish(timeout).stdout


def python(server: WandbServer, folder: Path, code: str, warm: bool = True, **env: str) -> str:
    """Run a program and return its output."""
    variables = {"WANDB_SILENT": "true", **env}
    with start(server, folder, "python", "-c", code, warm=warm, **variables) as process:
        return process.finish(120).stdout


def ask(server: WandbServer, folder: Path, code: str) -> Any:
    """The value that ``code`` assigns to ``answer``, in a new process with a new ``api``."""
    code = f"import json, wandb\napi = wandb.Api()\n{code}\nprint('>>>' + json.dumps(answer))"
    printed = python(server, folder, code)
    assert ">>>" in printed, printed
    return json.loads(printed.split(">>>")[1])
