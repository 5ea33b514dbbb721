"""Runs that were preempted, killed or stopped: their state in W&B, and how they continue."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ablations.store import leases, records
from tests.factories.processes import wait_until
from tests.factories.wandb_runs import LONG_ID, WORDS, epochs, make_sweep
from tests.wandb_server import WandbServer
from tests.wandb_server.client import cli, start


def pid_of(folder: Path, run_id: str) -> int:
    return leases.active_leases(folder / "runs")[run_id].pid


@pytest.mark.slow
def test_a_preempted_run_is_requeued_and_continues(
    server: WandbServer, tmp_path: Path, undisturbed: dict[str, dict[str, float]]
) -> None:
    server.requeued_args_have_wandb_key = True
    path = make_sweep(server, tmp_path, **{"optim.epochs": [8], "seed": [0]})
    agent = start(server, tmp_path, "wandb", "agent", path)
    wait_until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    (run,) = server.runs.values()
    os.kill(pid_of(tmp_path, LONG_ID), signal.SIGTERM)
    wait_until(lambda: run.state in ("preempted", "pending"))
    assert run.exit_code in (143, None)  # None: it has been handed out again
    status = cli(server, tmp_path, "status").stdout
    assert "1 interrupted" in status or "1 running" in status
    stdout = agent.finish().stdout
    assert (run.state, run.exit_code, run.starts) == ("finished", 0, 2), stdout
    assert "--_wandb=" in stdout
    assert stdout.count("epoch 1/8") == 1
    assert epochs(run) == list(range(1, 9))
    record = records.find_record(tmp_path / "runs", LONG_ID)
    assert record
    assert record.metrics == undisturbed
    assert record.tracker["wandb"] == run.id


@pytest.mark.slow
def test_a_crashed_run_is_shown_as_crashed_and_finished_by_ablations_run(
    server: WandbServer, tmp_path: Path, undisturbed: dict[str, dict[str, float]]
) -> None:
    path = make_sweep(server, tmp_path, **{"optim.epochs": [8], "seed": [0]})
    agent = start(server, tmp_path, "wandb", "agent", path)
    wait_until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    (run,) = server.runs.values()
    os.kill(pid_of(tmp_path, LONG_ID), signal.SIGKILL)
    agent.finish()
    server.heartbeat_limit = 0.5
    wait_until(lambda: run.state == "crashed")
    assert "1 run: 1 crashed" in cli(server, tmp_path, "status").stdout
    server.heartbeat_limit = 300
    done = cli(server, tmp_path, "run", "sweep.yaml", "--workers", "1")
    assert done.returncode == 0, done
    assert len(server.runs) == 1
    assert (run.state, epochs(run)) == ("finished", list(range(1, 9)))
    record = records.find_record(tmp_path / "runs", LONG_ID)
    assert record
    assert record.metrics == undisturbed
    assert not (tmp_path / "runs" / LONG_ID / "begun.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_study_is_marked_in_wandb(
    server: WandbServer, tmp_path: Path, number: int, code: int
) -> None:
    """`ablations run` and its workers; Ctrl-C reaches the whole group, SIGTERM the runner."""
    sweep = tmp_path / "one.yaml"
    sweep.write_text("method: grid\nparameters:\n  seed: {values: [0]}\n")
    words = ("python", "-m", "ablations", "run", str(sweep), *WORDS, "--optim.epochs=8")
    process = start(server, tmp_path, *words, merge_stderr=False)
    wait_until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    process.send_signal(number)
    done = process.finish(120)
    assert done.returncode == code, done
    assert "interrupted with 0 of 1 run done" in done.stderr
    (run,) = server.runs.values()
    assert (run.state, run.exit_code) == ("preempted", 143)
    assert "1 run: 1 interrupted" in cli(server, tmp_path, "status").stdout


def catches_sigterm(pid: int) -> bool:
    """Whether a process handles a signal, by its status in /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(mask >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
@pytest.mark.parametrize("begun", [False, True], ids=["importing", "starting in W&B"])
def test_a_run_stopped_in_its_first_seconds_is_returned_to_the_sweep(
    server: WandbServer, tmp_path: Path, begun: bool
) -> None:
    """Started as an agent starts it: if W&B showed it as finished, the sweep would lose it."""
    make_sweep(server, tmp_path, seed=[0])
    agent = {"WANDB_SWEEP_ID": next(iter(server.sweeps)), "WANDB_RUN_ID": "abc"}
    words = ("python", "-m", "ablations.train", *WORDS)
    process = start(server, tmp_path, *words, merge_stderr=False, warm=False, **agent)
    if begun:
        wait_until(lambda: server.runs)
    else:
        wait_until(lambda: catches_sigterm(process.pid))
    process.send_signal(signal.SIGTERM)
    done = process.finish(120)
    assert done.returncode == 143, done
    assert "Traceback" not in done.stderr
    (run,) = server.runs.values()
    assert (run.state, run.exit_code) == ("preempted", 143)
