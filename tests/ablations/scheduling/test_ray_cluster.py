"""Runs on a real Ray cluster: nodes that die, lack the results folder, or are too small."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ablations.cli.main import main
from ablations.cli.options import parse_size
from ablations.config.schema import SystemConfig
from ablations.errors import ConfigError
from ablations.scheduling.events import Failed, NotStarted, OutOfMemory, Refused, WorkerDied
from ablations.scheduling.ray import file_sync
from ablations.scheduling.ray.connection import end_of_failed_task
from ablations.scheduling.ray.resources import Resources, capacity, run_resources
from ablations.store import leases, records, storage
from tests.factories.configs import TINY_FLAGS
from tests.factories.processes import (
    assert_tidy,
    metrics,
    record_stamps,
    study_command,
    study_configs,
    write_grid,
)

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
# Ray's processes must end with the test, and keep their files where the test keeps its own.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}


@pytest.fixture
def study(tmp_path) -> Path:
    """A study of four short runs."""
    return write_grid(tmp_path / "four.yaml", pool_size=[3, 5], seed=[0, 1])


@pytest.fixture
def cluster() -> Iterator:
    """A cluster with a head that trains no runs; ``add_node`` adds nodes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        made = Cluster()
        try:
            made.add_node(num_cpus=0, object_store_memory=80_000_000, include_dashboard=False)
            yield made
        finally:
            made.shutdown()


def node(cluster, cpus: int = 1):
    return cluster.add_node(num_cpus=cpus, object_store_memory=80_000_000, memory=4_000_000_000)


def command(study: Path, results: Path, *words: str) -> list[str]:
    """A fresh process, not a fork of the test harness: it has to start Ray."""
    return [sys.executable, "-m", *study_command(study, results, *words)]


def start(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_events(runner: subprocess.Popen[str], wanted: Callable[[dict], bool]) -> list[dict]:
    """The events of a runner with --json, up to and including the first that is wanted."""
    assert runner.stdout
    events = []
    for line in runner.stdout:
        events.append(json.loads(line))
        if wanted(events[-1]):
            return events
    raise AssertionError(f"the runner ended first: {events}, {runner.communicate()}")


# Nodes that mount the results folder


@pytest.mark.slow
def test_a_removed_node_does_not_change_the_results(cluster, study, tmp_path, train_undisturbed):
    results = tmp_path / "runs"
    words = study_command(study, results, "--optim.epochs=6")
    nodes = [node(cluster), node(cluster)]
    runner = start(
        [sys.executable, "-m", *words, "--ray-address", cluster.address, "--json", "--workers=4"]
    )
    begun: dict[str, str] = {}

    def both_work(event: dict) -> bool:
        if event["event"] == "started":
            begun[event["run_id"]] = event["place"]
        return event["event"] == "epoch" and len(set(begun.values())) == 2

    read_events(runner, both_work)
    (location,) = {location for location in begun.values() if nodes[1].node_id[:6] in location}
    done = record_stamps(results)
    cluster.remove_node(nodes[1])
    events = read_events(runner, lambda event: event["event"] == "end")
    _, stderr = runner.communicate(timeout=100)
    assert runner.returncode == 0, (events, stderr)
    assert any(event["event"] == "again" and location in event["why"] for event in events), events
    assert not [event for event in events if event["event"] == "aside"], events  # no run failed
    assert events[-1]["trained"] == 4
    assert metrics(results) == train_undisturbed(study_configs(words))
    assert {path: record_stamps(results)[path] for path in done} == done  # none was written again
    assert_tidy(results)


@pytest.mark.slow
def test_a_killed_runner_takes_its_tasks_with_it_and_the_next_one_resumes(cluster, study, tmp_path):
    results = tmp_path / "runs"
    node(cluster)
    words = command(study, results, "--seeds=0", "--ray-address", cluster.address, "--json")
    words += ["--optim.epochs=6"]
    first = start(words)
    read_events(first, lambda event: event["event"] == "epoch" and event["epoch"] == 2)
    first.kill()
    first.communicate()
    again = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again
    events = [json.loads(line) for line in again.stdout.splitlines()]  # it has only JSON lines
    assert events[-1]["trained"] == 2
    assert 3 in [event["epoch"] for event in events if event["event"] == "epoch"][:2]
    assert len(metrics(results)) == 2
    assert_tidy(results)


@pytest.mark.slow
def test_a_cluster_on_this_machine_alone(study, tmp_path):
    results = tmp_path / "runs"
    words = command(study, results, "--launcher=ray", "--seeds=0", "--optim.epochs=1", "--json")
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["trained"] == 2
    (location,) = {event["place"] for event in events if event["event"] == "started"}
    assert location.startswith(f"node {platform.node()}")
    assert_tidy(results)


@pytest.mark.slow
def test_ctrl_c_stops_tasks_gracefully(cluster, study, tmp_path):
    results = tmp_path / "runs"
    node(cluster)
    words = command(study, results, "--ray-address", cluster.address, "--json")
    runner = start([*words, "--optim.epochs=50"])
    read_events(runner, lambda event: event["event"] == "epoch")
    runner.send_signal(signal.SIGINT)
    _, stderr = runner.communicate(timeout=100)
    assert runner.returncode == 130, stderr
    assert "interrupted with 0 of 4 runs done" in stderr
    (begun,) = results.glob("*/begun.json")
    assert json.loads(begun.read_text())["stopped"]
    assert (begun.parent / "last.ckpt").is_file()
    assert not leases.active_leases(results)


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_cancelled(cluster, study, tmp_path):
    results = tmp_path / "runs"
    node(cluster)
    words = command(study, results, "--ray-address", cluster.address, "--json", "--seeds=0")
    grid = yaml.safe_load(study.read_text())
    grid["parameters"]["model.pool_size"] = {"values": [3]}
    study.write_text(yaml.safe_dump(grid))
    done = subprocess.run(
        [*words, "--optim.epochs=4000", "--cell-timeout=20s"], capture_output=True, timeout=500
    )
    assert done.returncode == 1
    (record,) = records.read_records([results])[0]
    assert record.failure["kind"] == "timeout"
    assert list(results.glob("*/last.ckpt"))  # --retry-failed resumes from it


# A node that does not mount the results folder


@pytest.fixture
def blind_node(cluster, tmp_path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """``blind_node()`` adds a node that does not see the results folder of this machine."""
    started = []

    def add() -> subprocess.Popen[bytes]:
        (tmp_path / "runs").mkdir(exist_ok=True)
        join = [*RAY, "start", f"--address={cluster.address}", "--num-cpus=1", "--block"]
        join += ["--object-store-memory=80000000", "--memory=4000000000"]
        hide = 'mount -t tmpfs none "$0" && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", hide, str(tmp_path / "runs"), *join]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            words, stdout=quiet, stderr=quiet, env={**os.environ, **QUIET}, start_new_session=True
        )
        started.append(process)
        return process

    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield add
    for process in started:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a node and all its processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_node_without_the_results_folder_sends_its_files_back(
    cluster, blind_node, tmp_path, train_undisturbed
):
    """It dies in the middle; the next one resumes from the checkpoint that was sent back."""
    results = tmp_path / "runs"
    words = study_command(write_grid(tmp_path / "one.yaml", seed=[0]), results, "--optim.epochs=12")
    first = blind_node()
    while len(alive(cluster)) < 2:
        time.sleep(0.2)
    runner = start([sys.executable, "-m", *words, "--ray-address", cluster.address, "--json"])
    events = read_events(runner, lambda event: event["event"] == "epoch")
    run = events[-1]["run_id"]
    assert list(leases.active_leases(results)) == [run]  # the runner holds it for the node
    while not (results / run / "last.ckpt").is_file():
        assert runner.poll() is None
        time.sleep(0.05)
    blind_node()
    end(first)
    events = read_events(runner, lambda event: event["event"] == "end")
    _, stderr = runner.communicate(timeout=100)
    assert runner.returncode == 0, stderr
    epochs = [e["epoch"] for e in events if e["event"] == "epoch" and e["run_id"] == run]
    assert any(e["event"] == "again" and e["run_id"] == run for e in events), events
    assert epochs[-12:] != list(range(1, 13))  # it did not start again from the first epoch
    assert metrics(results) == train_undisturbed(study_configs(words))
    assert_tidy(results)


@pytest.mark.slow
def test_ctrl_c_fetches_the_files_of_a_node_without_the_results_folder(
    cluster, blind_node, study, tmp_path
):
    results = tmp_path / "runs"
    blind_node()
    while len(alive(cluster)) < 2:
        time.sleep(0.2)
    words = command(study, results, "--ray-address", cluster.address, "--json")
    runner = start([*words, "--optim.epochs=50"])
    events = read_events(runner, lambda event: event["event"] == "epoch" and event["epoch"] == 3)
    runner.send_signal(signal.SIGINT)
    _, stderr = runner.communicate(timeout=100)
    assert runner.returncode == 130, stderr
    folder = results / events[-1]["run_id"]
    assert json.loads((folder / "begun.json").read_text())["stopped"]
    assert len((folder / "history.csv").read_text().splitlines()) >= 4
    assert (folder / "last.ckpt").is_file()
    assert not leases.active_leases(results)


def alive(cluster) -> list[dict]:
    """The nodes that the head lists as alive."""
    from ray._raylet import GcsClient

    return [n for n in GcsClient(cluster.address).get_all_node_info().values() if n.state == 0]


# File sync


def test_only_complete_files_are_sent(tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    files = {"abc/history.csv": b"1", "abc/record.json": b"{}", "abc/last.ckpt": bytes(range(256))}
    file_sync.write_files(files, there)
    (there / "abc" / "x.partial").write_bytes(b"half")
    (there / ".leases").mkdir()
    (there / ".leases" / "abc.1.json").write_bytes(b"{}")
    (there / "wandb").mkdir()
    (there / "wandb" / "log").write_bytes(b"w")
    assert file_sync.all_files(there) == {**files, "wandb/log": b"w"}
    file_sync.write_files(file_sync.resume_files(there, "abc"), back)
    assert file_sync.all_files(back) == files


def test_file_sync_sends_changed_files(tmp_path, monkeypatch):
    monkeypatch.setattr(file_sync, "POLL_SECONDS", 0.01)
    folder, sent = tmp_path / "abc", list[file_sync.Files]()
    folder.mkdir()
    (folder / "log.txt").write_text("sent along")
    with file_sync.FileSync(tmp_path, "abc", sent.append):
        storage.write_atomically(folder / "last.ckpt", b"one")
        while not sent:
            time.sleep(0.01)
        storage.write_atomically(folder / "last.ckpt", b"two")  # within a minute: not sent
        storage.write_atomically(folder / "history.csv", "epoch")
        while len(sent) < 2:
            time.sleep(0.01)
    assert sent == [{"abc/last.ckpt": b"one"}, {"abc/history.csv": b"epoch"}]


def test_file_sync_sends_nothing_while_a_first_record_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(file_sync, "POLL_SECONDS", 0.01)
    sent = list[file_sync.Files]()
    (tmp_path / "abc" / "previous").mkdir(parents=True)
    sync = file_sync.FileSync(tmp_path, "abc", sent.append)
    with sync:
        (tmp_path / "abc" / "history.csv").write_text("of the second training")
        sync._thread.join()
    assert not sent


def test_files_that_a_node_removed_are_removed_here_too(tmp_path):
    """A run that was trained again: its new record replaces the first one."""
    before = {f"abc/{name}": b"old" for name in file_sync.RESUME_FILES}
    file_sync.write_files(before, tmp_path)
    after = {"abc/record.json": b"new", "abc/history.csv": b"new", "abc/weights.pt": b"new"}
    file_sync.replace_files(after, tmp_path, "abc")
    assert file_sync.all_files(tmp_path) == after
    assert not (tmp_path / "abc" / "previous").exists()


# Ray's errors


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("OutOfMemoryError", OutOfMemory, "node a ran out of memory"),
        ("WorkerCrashedError", WorkerDied, "its process on node a ended"),
        ("NodeDiedError", WorkerDied, "node a is gone"),
        ("TaskUnschedulableError", NotStarted, "node a is gone"),
        ("TaskCancelledError", WorkerDied, "it was cancelled"),
        ("OwnerDiedError", WorkerDied, "node a is gone"),
    ],
)
def test_each_error_of_ray_is_one_kind_of_event(name, kind, words):
    from ray import exceptions

    error = getattr(exceptions, name)
    end = end_of_failed_task(error.__new__(error), "abc", "node a")
    assert type(end) is kind
    assert end.run_id == "abc"
    assert words in end.reason


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (OSError(28, "No space left on device"), Refused, "No space left on device"),
        (ModuleNotFoundError("No module named 'timm'"), Failed, "ModuleNotFoundError: No module"),
    ],
)
def test_an_error_on_a_node_is_one_line_with_the_name_of_the_node(cause, kind, words):
    from ray.exceptions import RayTaskError

    error = RayTaskError("job", "Traceback\n many\n lines", cause).as_instanceof_cause()
    end = end_of_failed_task(error, "abc", "node a")
    assert type(end) is kind
    assert end.reason.startswith("on node a: ")
    assert words in end.reason
    assert "\n" not in end.reason


def test_a_full_disk_here_names_the_file():
    full = OSError(28, "No space left on device", "runs/abc/last.ckpt")
    end = end_of_failed_task(full, "abc", "node a")
    assert end == Refused("abc", "runs/abc/last.ckpt: No space left on device")


# Resources


def test_the_resources_of_a_run():
    on_cpu = SystemConfig(accelerator="cpu", threads=2)
    assert run_resources([on_cpu], gpus=True) == Resources(2, 0, 2e9)
    auto = SystemConfig(loader_workers=4)
    assert run_resources([auto], gpus=False) == Resources(4, 0, 6e9)
    assert run_resources([auto, on_cpu], gpus=True, per_gpu=2) == Resources(4, 0.5, 6e9)
    assert (
        run_resources([auto], gpus=True, per_gpu=6).gpus == 0.1666
    )  # six of which Ray puts on a GPU
    with pytest.raises(ConfigError, match="--workers-per-gpu 2: the runs are to be trained on"):
        run_resources([on_cpu], gpus=True, per_gpu=2)
    assert run_resources([SystemConfig(accelerator="gpu", devices=4)], gpus=False) == Resources(
        4, 4, 8e9
    )
    assert run_resources([on_cpu], gpus=False, memory=1e9) == Resources(2, 0, 1e9)


@given(
    cpus=st.integers(0, 64),
    gpus=st.integers(0, 8),
    per_gpu=st.integers(1, 7),
    threads=st.integers(1, 4),
    memory=st.integers(1, 200),
)
def test_capacity_never_exceeds_a_node(cpus, gpus, per_gpu, threads, memory):
    node = Resources(cpus, gpus, memory * 1e9)
    run = run_resources([SystemConfig(threads=threads)], gpus > 0, per_gpu if gpus else 1)
    count = capacity(node, run)
    takes = run.limited_to(node)
    assert count * takes.cpus <= cpus
    assert count * round(takes.gpus, 4) <= gpus  # as Ray rounds
    assert count * takes.memory <= node.memory
    more = count + 1
    full = more * takes.cpus > cpus or more * takes.memory > node.memory
    assert cpus < 1 or full or more * takes.gpus > gpus


# Bad input


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--launcher=slurm"], "unknown launcher 'slurm': valid are local, ray"),
        (["--ray-address=nowhere"], "--ray-address nowhere: that is no HOST:PORT"),
        (["--ray-address=127.0.0.1:1"], "127.0.0.1:1: nothing answers there (Connection refused)"),
        (["--ray-address=ray://127.0.0.1:1"], "nothing answers there (Connection refused)"),
        (["--launcher=local", "--ray-address=auto"], "--ray-address needs --launcher ray"),
        (["--memory-per-cell=8GB"], "--memory-per-cell needs --launcher ray"),
        (["--launcher=ray", "--memory-per-cell=8"], "'8' must be a size above 0, such as 800MB"),
        (["--launcher=ray", "--workers=0"], "--workers 0 must be 1 or more"),
    ],
)
def test_bad_flags_are_one_line_and_leave_no_folder(study, tmp_path, capsys, words, line):
    results = tmp_path / "runs"
    assert main(["run", str(study), *TINY_FLAGS, "--results", str(results), *words]) == 2
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
    assert not list(results.glob("*"))


def test_without_ray_the_message_names_the_extra(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["run", str(study), *TINY_FLAGS, "--results", str(tmp_path / "runs")]
    assert main([*words, "--launcher=ray"]) == 2
    assert "metaformer-ablations[cluster]" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_too_large_for_every_node_is_refused(cluster, study, tmp_path):
    node(cluster)
    words = command(study, tmp_path / "runs", "--ray-address", cluster.address)
    for more, line in (
        (["--memory-per-cell=100TB"], "has what a run takes, 1 CPU, 100.0 TB of memory"),
        (["--system.accelerator=gpu"], "has what a run takes, 1 CPU, 1 GPU"),
    ):
        done = subprocess.run([*words, *more], capture_output=True, text=True, timeout=300)
        assert done.returncode == 2, done
        assert line in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_node_with_other_code_gets_no_runs(cluster, study, tmp_path):
    """Its copy of the package differs, and there is no other node, so nothing is trained."""
    copy = tmp_path / "copy"
    for package in ("ablations", "poolformer"):
        shutil.copytree(package, copy / package)
    layers = copy / "poolformer" / "layers.py"
    layers.write_text(layers.read_text() + "\nOTHER = 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(copy))
        odd = node(cluster)
    results = tmp_path / "runs"
    words = command(study, results, "--ray-address", cluster.address)
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 2, done
    assert odd.node_id[:6] in done.stderr
    assert "other code of this package than this machine (layers)" in done.stderr


@pytest.mark.parametrize(("text", "bytes_"), [("800MB", 8e8), ("8GB", 8e9), ("1.5tb", 1.5e12)])
def test_sizes(text, bytes_):
    assert parse_size(text) == bytes_


@pytest.mark.parametrize("text", ["0GB", "GB", "8", "-1GB", "8GiB"])
def test_odd_sizes(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a size above 0"):
        parse_size(text)
