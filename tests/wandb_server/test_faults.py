"""The unmodified client with a server that is slow, unreachable or returns errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.factories.processes import Process, wait_until
from tests.wandb_server import WandbServer
from tests.wandb_server.client import QUICK, python, start

pytestmark = pytest.mark.slow

LOGGING = """
import os, time, wandb
run = wandb.init(id="one", settings=wandb.Settings(console="off", x_disable_stats=True))
run.log({"x": 0})
print("started", flush=True)
while not os.path.exists("go-on"):
    time.sleep(0.05)
run.log({"x": 1})
run.finish()
"""


@pytest.fixture
def logging_run(server: WandbServer, tmp_path: Path) -> Iterator[Process]:
    """A run that waits for ``go_on`` after its first line."""
    with start(server, tmp_path, "python", "-c", LOGGING, WANDB_SILENT="true") as process:
        process.wait_for_line("started")
        wait_until(lambda: server.runs["one"].history)
        yield process


@pytest.fixture
def go_on(tmp_path: Path) -> Callable[[], None]:
    """Let the run log its second line and finish."""
    return (tmp_path / "go-on").touch


def test_an_outage_loses_nothing(
    server: WandbServer, logging_run: Process, go_on: Callable[[], None]
) -> None:
    with server.outage():
        go_on()
        time.sleep(2)
        assert logging_run.process.poll() is None
    assert logging_run.finish(60).returncode == 0
    assert [row["x"] for row in server.runs["one"].history] == [0, 1]
    assert server.runs["one"].state == "finished"


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ("500", ([0, 1], "finished")),
        ("rubbish", ([0], "running")),
        ("401", ([0], "running")),
    ],
)
def test_which_rows_are_lost_by_errors_during_a_run(
    server: WandbServer, logging_run: Process, go_on: Callable[[], None], fault: str, left: Any
) -> None:
    """The client repeats requests answered with 500; after any other answer it drops the rows."""
    server.fault = fault
    go_on()
    wait_until(lambda: fault in server.requests)
    if fault == "500":
        server.fault = None
    assert logging_run.finish(60).returncode == 0
    rows = [row["x"] for row in server.runs["one"].history]
    assert (rows, server.runs["one"].state) == left


def test_a_run_without_heartbeats_is_crashed(
    server: WandbServer, logging_run: Process, go_on: Callable[[], None]
) -> None:
    assert server.runs["one"].state == "running"
    logging_run.process.kill()
    logging_run.process.wait()
    server.heartbeat_limit = 0.5
    wait_until(lambda: server.runs["one"].state == "crashed", 5)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("500", "giving up after 2 attempt"),
        ("rubbish", "invalid character '<'"),
        ("401", "user is not logged in"),
        ("outage", "connection refused"),
        ("slow", "did not respond in time"),
    ],
)
def test_the_client_prints_the_error(
    server: WandbServer, tmp_path: Path, fault: str, words: str
) -> None:
    if fault == "outage":
        server.stop_listening()
    elif fault == "slow":
        server.delay = 30
    else:
        server.fault = fault
    more = {"WANDB_HTTP_TIMEOUT": "2"} if fault == "slow" else {}
    # With an answer outstanding, the client does not let a fork of a warm Python end.
    warm = fault != "slow"
    printed = python(server, tmp_path, "import wandb\nwandb.Api()", warm, **QUICK, **more)
    assert words in printed


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("len(api.runs('lab/nothing'))", "Could not find project nothing"),
        ("api.run('lab/ablations/nothing')", "Could not find run"),
        ("api.sweep('lab/ablations/nothing')", "Could not find sweep"),
        ("wandb.init(entity='nobody')", "entity nobody not found"),
    ],
)
def test_unknown_projects_runs_sweeps_and_entities_are_errors(
    server: WandbServer, tmp_path: Path, code: str, words: str
) -> None:
    assert words in python(server, tmp_path, f"import wandb\napi = wandb.Api()\n{code}", **QUICK)
