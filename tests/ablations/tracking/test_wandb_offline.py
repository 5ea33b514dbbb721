"""Runs without a server, or with one that fails meanwhile: `wandb sync` sends what is missing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from ablations.store import records
from tests.factories.processes import wait_until
from tests.factories.wandb_runs import LONG_ID, WORDS, axes, epochs, table
from tests.wandb_server import API_KEY, Run, WandbServer
from tests.wandb_server.client import cli, start, wandb


def comparable(run: Run) -> dict[str, Any]:
    """The data that an online run and a synced one share: all but times and machine."""
    rows = [
        {k: v for k, v in row.items() if k[0] != "_" and "seconds" not in k} for row in run.history
    ]
    summary = {
        name: value
        for name, value in run.summary.items()
        if name[0] != "_" and name != "timing" and "seconds" not in name
    }
    summary["environment"] = {k: v for k, v in summary["environment"].items() if k != "date"}
    return {
        "rows": rows,
        "summary": summary,
        "config": run.config,
        "name": run.name,
        "group": run.group,
        "tags": run.tags,
        "job": run.job_type,
        "state": run.state,
        "axes": axes(run),
    }


@pytest.mark.slow
def test_a_synced_offline_run_equals_the_online_run(server: WandbServer, tmp_path: Path) -> None:
    """The offline run was interrupted once: two folders, one run."""
    (tmp_path / "offline").mkdir()
    (tmp_path / "online").mkdir()
    longer = [*WORDS, "--optim.epochs=8"]
    process = start(
        server,
        tmp_path / "offline",
        *("python", "-m", "ablations", "train", *longer),
        WANDB_MODE="offline",
        merge_stderr=False,
    )
    process.wait_for_line("epoch 2/8")
    process.send_signal(signal.SIGTERM)
    assert process.finish(120).returncode == 143
    done = cli(server, tmp_path / "offline", "train", *longer, WANDB_MODE="offline")
    assert (done.returncode, done.stderr) == (0, "")
    assert not server.requests
    folders = sorted((tmp_path / "offline").glob("dir/wandb/offline-run-*"))
    assert len(folders) == 2
    wandb(server, tmp_path, "sync", *map(str, folders))
    done = cli(server, tmp_path / "online", "train", *longer, "--no-reuse")
    assert done.returncode == 0, done
    synced, direct = server.runs.values()
    record = records.find_record(tmp_path / "offline" / "runs", LONG_ID)
    assert record
    assert record.tracker["wandb"] == synced.id
    assert epochs(synced) == list(range(1, 9))
    assert comparable(synced) == comparable(direct)
    kept = [artifact for artifact in server.artifacts.values() if artifact.type == "record"]
    assert [set(artifact.files) for artifact in kept] == [
        {"record.json", "history.csv", "predictions.npz"}
    ] * 2


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["outage", "500", "rubbish", "401"])
def test_a_server_that_fails_during_training_costs_no_record(
    server: WandbServer, tmp_path: Path, undisturbed: dict[str, dict[str, float]], fault: str
) -> None:
    """It fails in the middle and stays away; the suggested `wandb sync` sends the rest."""
    words = ("python", "-m", "ablations", "train", *WORDS, "--optim.epochs=8")
    env = {"WANDB_FINISH_TIMEOUT": "3"}
    process = start(server, tmp_path, *words, merge_stderr=False, **env)
    wait_until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    (run,) = server.runs.values()
    if fault == "outage":
        server.stop_listening()
    else:
        server.fault = fault
    done = process.finish(120)
    assert done.returncode == 0, done
    assert "epoch 8/8" in done.stdout
    record = records.find_record(tmp_path / "runs", LONG_ID)
    assert record
    assert record.metrics == undisturbed
    assert len(epochs(run)) < 8
    (line,) = done.stderr.splitlines()
    message, _, command = line.partition("send what is missing: ")
    assert message == "1 run has not reached W&B whole, "
    assert API_KEY not in line
    server.fault = None
    if fault == "outage":
        server.listen()
    wandb(server, tmp_path, *command.split()[1:])
    assert (run.state, epochs(run)) == ("finished", list(range(1, 9)))
    assert table(server, tmp_path, "--wandb", "lab/ablations") == table(server, tmp_path, "runs")


@pytest.mark.slow
def test_the_client_recovers_from_a_short_outage(server: WandbServer, tmp_path: Path) -> None:
    words = ("python", "-m", "ablations", "train", *WORDS, "--optim.epochs=8")
    process = start(server, tmp_path, *words, merge_stderr=False)
    wait_until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    (run,) = server.runs.values()
    with server.outage():
        process.wait_for_line("epoch 6/8")
    done = process.finish(120)
    assert (done.returncode, done.stderr) == (0, "")
    assert (run.state, epochs(run)) == ("finished", list(range(1, 9)))


@pytest.mark.slow
def test_a_study_without_a_server_runs_offline(server: WandbServer, tmp_path: Path) -> None:
    server.stop_listening()
    sweep = tmp_path / "two.yaml"
    sweep.write_text("method: grid\nparameters:\n  seed: {values: [0, 1]}\n")
    env = {"WANDB_INIT_TIMEOUT": "5", "WANDB__GRAPHQL_RETRY_MAX": "1"}
    done = cli(server, tmp_path, "run", str(sweep), *WORDS, "--workers", "1", timeout=200, **env)
    assert done.returncode == 0, done
    assert "2 runs: 2 trained" in done.stderr
    message = next(line for line in done.stderr.splitlines() if "wandb sync" in line)
    assert message.startswith("2 runs have not reached W&B whole")
    server.listen()
    wandb(server, tmp_path, *message.split("wandb ")[1].split())
    assert [run.state for run in server.runs.values()] == ["finished"] * 2
    assert table(server, tmp_path, "--wandb", "lab/ablations") == table(server, tmp_path, "runs")
