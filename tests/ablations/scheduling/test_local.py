"""Failures of real workers: memory, timeouts, other code, killed processes; refused folders."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from ablations.cli.main import main
from ablations.scheduling.local import LocalLauncher
from ablations.scheduling.scheduler import Scheduler
from ablations.store import leases, records
from tests.factories.configs import TINY_FLAGS
from tests.factories.launchers import time_out_after_epochs


@pytest.fixture
def sweep(tmp_path) -> str:
    """Two runs: seeds 0 and 1."""
    path = tmp_path / "seeds.yaml"
    path.write_text(yaml.safe_dump({"method": "grid", "parameters": {"seed": {"values": [0, 1]}}}))
    return str(path)


def run_command(sweep: str, results: Path, *arguments: str) -> int:
    return main(["run", sweep, *TINY_FLAGS, "--results", str(results), *arguments])


def test_a_model_too_large_for_memory_fails_as_oom(sweep, tmp_path, capsys):
    """A model of terabytes: torch cannot allocate it."""
    wide = ["--model.dims=[8,8,16,4000000]", "--workers=1", "--seeds=0"]
    assert run_command(sweep, tmp_path / "runs", *wide) == 1
    (record,) = records.read_records([tmp_path / "runs"])[0]
    assert record.failure["kind"] == "oom"
    assert "can't allocate memory" in record.failure["log"].splitlines()[-2]
    out, err = capsys.readouterr()
    assert "it is tried again" in err
    assert "failed: oom)" in out  # the table may wrap the rest
    assert "--retry-failed" in err


def test_a_timeout_keeps_the_checkpoint(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Scheduler, "_handle", time_out_after_epochs(2))
    results = tmp_path / "runs"
    arguments = ["--optim.epochs=400", "--workers=1", "--seeds=0", "--cell-timeout=1h"]
    assert run_command(sweep, results, *arguments) == 1
    (record,) = records.read_records([results])[0]
    assert record.failure["kind"] == "timeout"
    assert "epoch 1/400" in record.failure["log"]
    assert not list(results.glob("*/begun.json"))
    assert "timeout: longer than --cell-timeout, 3600 seconds" in capsys.readouterr().err
    assert list(results.glob("*/last.ckpt"))  # --retry-failed goes on from there


def test_events_as_json_lines(sweep, tmp_path, capsys):
    assert run_command(sweep, tmp_path / "runs", "--json", "--workers=1", "--optim.epochs=1") == 0
    out, _ = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    ids = {event["run_id"] for event in lines[:-1]}
    assert len(ids) == 2
    for run_id in ids:
        own = [event["event"] for event in lines[:-1] if event["run_id"] == run_id]
        assert [kind for kind in own if kind != "batch"] == ["started", "epoch", "done"]
        assert own[1] == "batch"
    assert lines[-1] == {
        "event": "end",
        "cells": 2,
        "trained": 2,
        "reused": 0,
        "elsewhere": 0,
        "failed": [],
        "refused": {},
        "aside": {},
        "unfit": {},
        "left": 0,
    }
    done = next(event for event in lines if event["event"] == "done")
    assert done["metrics"]["val/top1"]["last"] > 20


def test_a_run_with_a_checkpoint_of_other_code_is_refused(sweep, tiny, tmp_path, capsys):
    """The other run is trained, and nothing is overwritten."""
    import torch

    from ablations.training.train import train

    results = tmp_path / "runs"
    config = tiny()

    def stop(body):
        if body["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, results, stop)
    checkpoint = results / config.run_id / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"code": {**state["code"], "mixers": "0"}}, checkpoint)
    before = checkpoint.read_bytes()
    assert run_command(sweep, results, "--workers=1") == 1
    err = capsys.readouterr().err
    assert "2 runs: 1 trained, 0 reused, 0 failed, 1 refused" in err
    assert "was made by other code than this (mixers)" in err
    assert checkpoint.read_bytes() == before
    assert not (results / config.run_id / "record.json").exists()


def test_a_worker_killed_because_memory_ran_out_counts_as_oom(sweep, tmp_path, monkeypatch, capsys):
    """The system's counter of OOM kills rises while a worker dies of SIGKILL."""
    real_events, kills = LocalLauncher.events, list[int]()
    monkeypatch.setattr("ablations.scheduling.local.count_oom_kills", lambda: len(kills))

    def events(self, timeout):
        for worker in self.workers:
            if worker.run is not None and worker.run.seed == 1:
                kills.append(1)
                os.kill(worker.process.pid, signal.SIGKILL)
        yield from real_events(self, timeout)

    monkeypatch.setattr(LocalLauncher, "events", events)
    assert run_command(sweep, tmp_path / "runs", "--workers=1", "--optim.epochs=1") == 1
    found, _ = records.read_records([tmp_path / "runs"])
    failed = [record for record in found if record.failure]
    assert [(r.config["seed"], r.failure["kind"]) for r in failed] == [(1, "oom")]
    assert "killed a process because memory ran out" in failed[0].failure["message"]
    assert "it is tried again" in capsys.readouterr().err


def test_more_gpus_per_run_than_there_are_is_refused(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr("ablations.scheduling.gpus.DEVICES", [tmp_path])
    arguments = ["--system.devices=4", "--data.batch_size=252", "--system.accelerator=gpu"]
    assert run_command(sweep, tmp_path / "runs", *arguments) == 2
    assert "system.devices 4: this machine has 2 GPUs (0, 1)" in capsys.readouterr().err


def test_a_folder_that_another_version_uses_is_refused(sweep, tmp_path, capsys):
    results = tmp_path / "runs"
    with leases.hold_lease(results, "a run"):
        (lease,) = (results / leases.LEASE_FOLDER).iterdir()
        lease.write_text(lease.read_text().replace('"schema": 1', '"schema": 2'))
        assert run_command(sweep, results) == 2
    assert "which writes records of version 2; this program writes 1" in capsys.readouterr().err
    assert not list(results.iterdir())


def test_a_folder_without_leases_is_refused(sweep, tmp_path, monkeypatch, capsys):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert run_command(sweep, tmp_path / "runs") == 2
    assert "takes no leases (hard links fail there: Operation not" in capsys.readouterr().err
