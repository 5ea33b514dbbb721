"""The runner with real workers: each run once, reuse, killed workers, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ablations.cli.main import main
from ablations.config.sweep import expand_sweeps
from ablations.scheduling import gpus
from ablations.scheduling.events import EpochDone
from ablations.scheduling.local import LocalLauncher, LocalWorker
from ablations.scheduling.runner import run_study
from ablations.store import records
from tests.factories.configs import TINY_FLAGS
from tests.factories.processes import children, is_alive, outcome, outcomes, wait_until, write_grid


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory) -> list[str]:
    """Two axes that share a baseline: three runs."""
    folder = tmp_path_factory.mktemp("sweeps")
    norm = write_grid(folder / "norm.yaml", norm=["group", "batch"], seed=[0])
    pool = write_grid(folder / "pool.yaml", pool_size=[3, 5], seed=[0])
    return [str(norm), str(pool)]


@pytest.fixture(scope="module")
def study(sweeps, tmp_path_factory):
    """The study, run once by two workers, undisturbed."""
    results = tmp_path_factory.mktemp("study")
    command = [sys.executable, "-m", "ablations", "run", *sweeps, *TINY_FLAGS, "--workers", "2"]
    command += ["--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return command, results, done


def test_a_study_trains_each_run_once_and_prints_the_table(study):
    _, results, done = study
    assert done.returncode == 0, done.stderr
    assert len(outcomes(results)) == 3
    assert "3 runs: 3 trained, 0 reused, 0 failed" in done.stderr
    assert sum(line.startswith("[") for line in done.stderr.splitlines()) == 3
    assert "[3/3]" in done.stderr
    assert "left" in done.stderr
    table = done.stdout.splitlines()
    assert table[0].startswith("### Ablation: recipe mini")
    rows = [line.split("|")[1].strip() for line in table if line.startswith("|")]
    assert [name for name in rows[2:] if not name.startswith("**")] == [
        "Baseline",
        "Pooling size 3 -> 5",
        "Modified LayerNorm -> BatchNorm",
    ]


def test_the_same_command_again_trains_nothing_and_prints_the_same_table(study, capsys):
    command, _, done = study
    assert main(command[3:]) == 0
    out, err = capsys.readouterr()
    assert out == done.stdout
    assert "3 runs: 0 trained, 3 reused, 0 failed" in err


def test_the_table_command_prints_the_same_table(study, capsys):
    _, results, done = study
    assert main(["table", str(results)]) == 0
    assert capsys.readouterr().out == done.stdout


def test_a_dry_run_lists_what_is_done_and_writes_nothing(study, sweeps, capsys, tmp_path):
    command, _, _ = study
    assert main([*command[3:], "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.count("finished") == 3
    assert "3 runs, 3 done, 0 to do" in out
    assert "norm, pool" in out  # the baseline belongs to both
    assert main(["run", *sweeps, "--dry-run", "--results", str(tmp_path / "new")]) == 0
    assert "3 runs, 0 done, 3 to do" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_a_worker_gives_the_same_numbers_as_train(study, tiny, tmp_path):
    from ablations.training.train import train

    alone = train(tiny(), tmp_path)
    assert outcomes(study[1])[alone.run_id] == outcome(tmp_path, alone)


def test_a_killed_worker_is_replaced_and_its_run_continues(study, sweeps, tmp_path, monkeypatch):
    """Kill the first worker that reports an epoch: the results do not change."""
    real_events, killed = LocalLauncher.events, []

    def events(self, timeout):
        for event in real_events(self, timeout):
            yield event
            if isinstance(event, EpochDone) and not killed:
                worker = next(w for w in self.workers if w.run and w.run.run_id == event.run_id)
                os.kill(worker.process.pid, signal.SIGKILL)
                killed.append(event.run_id)

    monkeypatch.setattr(LocalLauncher, "events", events)
    runs = expand_sweeps(
        [Path(path) for path in sweeps], "mini", dict(w[2:].split("=") for w in TINY_FLAGS)
    )
    outcome = run_study([run.config for run in runs], tmp_path, LocalLauncher(workers=2))
    assert len(killed) == 1
    assert not outcome.failed
    assert outcomes(tmp_path) == outcomes(study[1])


@pytest.mark.slow
def test_a_run_that_always_kills_its_worker_fails_alone(sweeps, tmp_path, monkeypatch):
    """The worker of one run is killed whenever it gets the run; the others finish."""
    real_events = LocalLauncher.events

    def events(self, timeout):
        for worker in self.workers:
            if worker.run is not None and worker.run.model.norm == "batch":
                os.kill(worker.process.pid, signal.SIGKILL)
        yield from real_events(self, timeout)

    monkeypatch.setattr(LocalLauncher, "events", events)
    arguments = ["run", *sweeps, *TINY_FLAGS, "--optim.epochs=1", "--results", str(tmp_path)]
    assert main(arguments) == 1
    found, _ = records.read_records([tmp_path])
    failed = [record for record in found if record.status == "failed"]
    assert [record.config["model"]["norm"] for record in failed] == ["batch"]
    assert failed[0].failure["kind"] == "killed"
    assert "SIGKILL" in failed[0].failure["message"]
    assert sum(record.done for record in found) == 2
    monkeypatch.setattr(LocalLauncher, "events", real_events)
    assert main(arguments) == 0  # killed runs are retried


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_runner_leaves_no_workers_and_the_same_command_resumes(study, tmp_path, how):
    command, results, _ = study
    command = [*command[:-1], str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: list(tmp_path.glob("*/last.ckpt")))
    workers = children(process.pid)
    assert workers
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # like a terminal, to the whole process group
    else:
        process.send_signal(how)
    _, err = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on from here" in err
        assert "Traceback" not in err
    wait_until(lambda: not any(map(is_alive, workers)), seconds=60)
    again = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert outcomes(tmp_path) == outcomes(results)


def test_an_unreadable_record_is_reported_and_kept(study, sweeps, tmp_path, capsys):
    command, results, _ = study
    shutil.copytree(results, tmp_path / "runs")
    record = next((tmp_path / "runs").glob("*/record.json"))
    record.write_text('{"schema": 99}')
    assert main([*command[3:-1], str(tmp_path / "runs")]) == 1
    out, err = capsys.readouterr()
    assert f"refused: {record.parent}: {record} has schema version 99" in err
    assert "0 trained" in err
    assert out
    assert record.read_text() == '{"schema": 99}'


def test_no_reuse_trains_finished_runs_again_with_the_same_result(study, sweeps, tmp_path, capsys):
    _, results, _ = study
    shutil.copytree(results, tmp_path / "runs")
    before = {path: path.stat().st_ino for path in (tmp_path / "runs").glob("*/record.json")}
    arguments = ["run", sweeps[0], *TINY_FLAGS, "--workers=1", "--results", str(tmp_path / "runs")]
    assert main([*arguments, "--no-reuse"]) == 0
    assert "2 runs: 2 trained, 0 reused, 0 failed" in capsys.readouterr().err
    assert outcomes(tmp_path / "runs") == outcomes(results)
    written = [path for path, inode in before.items() if path.stat().st_ino != inode]
    assert len(written) == 2


def test_records_of_other_images_are_refused(study, tmp_path, capsys):
    command, results, _ = study
    shutil.copytree(results, tmp_path / "runs")
    paths = sorted((tmp_path / "runs").glob("*/record.json"))
    tree = json.loads(paths[0].read_text())
    tree["data"]["fingerprint"] = "0" * 16
    paths[0].write_text(json.dumps(tree))
    paths[1].unlink()
    assert main([*command[3:-1], str(tmp_path / "runs")]) == 2
    assert "use another results folder" in capsys.readouterr().err


def test_no_more_workers_than_runs_are_started(sweeps, tmp_path, monkeypatch):
    counts = []
    start = LocalLauncher.start

    def counting(self, runs, results, reuse):
        start(self, runs, results, reuse)
        counts.append(len(self.workers))

    monkeypatch.setattr(LocalLauncher, "start", counting)
    arguments = ["run", sweeps[0], *TINY_FLAGS, "--optim.epochs=1", "--results", str(tmp_path)]
    assert main([*arguments, "--workers", "5"]) == 0
    assert counts == [2]


def test_a_worker_that_dies_before_it_receives_its_run_loses_nothing(
    study, sweeps, tmp_path, monkeypatch
):
    submit, killed = LocalWorker.submit, []

    def kill_then_submit(self, run):
        if not killed:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.join()
            killed.append(run.run_id)
        submit(self, run)

    monkeypatch.setattr(LocalWorker, "submit", kill_then_submit)
    arguments = ["run", *sweeps, *TINY_FLAGS, "--results", str(tmp_path)]
    assert main(arguments) == 0
    assert killed
    assert outcomes(tmp_path) == outcomes(study[1])


def test_one_bad_run_does_not_stop_the_others(sweeps, tiny, tmp_path, capsys):
    """A folder where the log of a run belongs: that run fails, the others finish."""
    bad = tiny(**{"optim.epochs": 1, "model.norm": "batch"}).run_id
    (tmp_path / bad / "log.txt").mkdir(parents=True)
    arguments = ["run", *sweeps, *TINY_FLAGS, "--optim.epochs=1", "--results", str(tmp_path)]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert "3 runs: 2 trained, 0 reused, 1 failed" in err
    assert "IsADirectoryError" in err
    (row,) = [line for line in out.splitlines() if line.startswith("|") and "failed" in line]
    assert "BatchNorm" in row
    assert "missing (1 failed: error)" in row
    assert f"--results {tmp_path}" in out  # the command that fills it
    assert out.count("###") == 1  # in the table of its study


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        *[("0,1", ["0", "1"]), ("", []), ("-1", []), ("GPU-5", ["GPU-5"]), (" 1, 0", ["1", "0"])],
        *[("0,-1,1", ["0"]), ("1,7,0", ["1"])],  # as CUDA reads it
    ],
)
def test_the_visible_gpus_are_those_of_cuda(monkeypatch, tmp_path, visible, found):
    for gpu in ("0000:01", "0000:02"):
        (tmp_path / gpu).mkdir()
    monkeypatch.setattr(gpus, "DRIVER", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.visible_gpus() == found
    assert gpus.gpu_groups(devices=1, per_gpu=1) == [[gpu] for gpu in found]


def test_cuda_visible_devices_needs_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "DRIVER", tmp_path)
    monkeypatch.setattr(gpus, "DEVICES", [tmp_path / "nvidiactl"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpus.visible_gpus() == []
    (tmp_path.parent / "nvidiactl").touch()
    monkeypatch.setattr(gpus, "DEVICES", [tmp_path.parent / "nvidiactl"])  # as in a sandbox
    assert gpus.visible_gpus() == ["0"]
