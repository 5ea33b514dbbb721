"""Distributed runs: commands, the processes that they start, and what they leave."""

from __future__ import annotations

import contextlib
import csv
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch

from ablations.store import leases
from ablations.store.records import PREDICTIONS_FILE, WEIGHTS_FILE
from tests.factories.configs import TINY_FLAGS

TWO = {"system.devices": 2}
DIVERGES = {"model.norm": "none", "optim.optimizer": "sgd", "optim.lr": 1e30}
MARK = "ABLATIONS_TEST_MARK"  # a variable by which all processes of a test are found


def history(results: Path, run_id: str) -> list[dict[str, str]]:
    with (results / run_id / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


def weights(results: Path, run_id: str) -> dict[str, torch.Tensor]:
    return torch.load(results / run_id / WEIGHTS_FILE, weights_only=True)


def assert_same(first: Path, second: Path, run_id: str) -> None:
    """Bit for bit."""
    assert history(first, run_id) == history(second, run_id)
    predictions = [folder / run_id / PREDICTIONS_FILE for folder in (first, second)]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()
    one, other = weights(first, run_id), weights(second, run_id)
    assert all(torch.equal(one[name], other[name]) for name in one)


def flags(**overrides: object) -> list[str]:
    return [*TINY_FLAGS, *(f"--{name}={value}" for name, value in overrides.items())]


LONGER = {"optim.epochs": 6, "model.drop_path": 0.1}


class Started:
    """A command and all processes that it starts."""

    def __init__(self, mark: Path, *words: str, **variables: str) -> None:
        self.mark = f"{MARK}={mark}"
        self.process = subprocess.Popen(
            [sys.executable, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: str(mark), **variables},
        )

    def alive(self) -> list[int]:
        """The running processes, the command first."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if self.mark in path.read_text(errors="replace").split("\0"):
                    found.append(int(path.parent.name))
        return sorted(pid for pid in found if leases.process_start(pid))

    def workers(self) -> list[int]:
        """The DDP workers."""
        pids = []
        for pid in self.alive():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if "--multiprocessing-fork" in words and pid != self.process.pid:
                    pids.append(pid)
        return pids

    def until(self, line: str) -> None:
        """Read the output up to a line with this start."""
        for text in self.process.stdout:
            if text.startswith(line):
                return
        raise AssertionError(self.process.communicate())

    def ends(self, seconds: float = 300) -> tuple[int, str, str]:
        """The exit code, stdout and stderr; asserts that no process is left."""
        stdout, stderr = self.process.communicate(timeout=seconds)
        deadline = time.monotonic() + 15
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not self.alive()
        return self.process.returncode, stdout, stderr


def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
