"""Runs on a real Ray cluster: lost nodes, nodes without the results folder, unsuitable nodes."""

from __future__ import annotations

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

from ablations.store import leases, records
from tests.factories.processes import (
    assert_tidy,
    outcomes,
    record_stamps,
    study_command,
    study_configs,
    write_grid,
)

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
# Ray's processes must end with the test, and keep their files where the test keeps its own.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}

# Runs the command in its arguments.
TIME_OUT = """
import sys
from ablations.cli.main import main
from ablations.scheduling.scheduler import Scheduler
from tests.factories.launchers import time_out_after_epochs

if __name__ == "__main__":
    Scheduler._handle = time_out_after_epochs(2)
    sys.exit(main(sys.argv[1:]))
"""


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


def command(study: Path, results: Path, *arguments: str) -> list[str]:
    """A fresh process, not a fork of the test harness: it has to start Ray."""
    return [sys.executable, "-m", *study_command(study, results, *arguments)]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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
    arguments = study_command(study, results, "--optim.epochs=6")
    nodes = [node(cluster), node(cluster)]
    runner = start(
        [
            sys.executable,
            "-m",
            *arguments,
            "--ray-address",
            cluster.address,
            "--json",
            "--workers=4",
        ]
    )
    locations: dict[str, str] = {}

    def both_nodes_train(event: dict) -> bool:
        if event["event"] == "started":
            locations[event["run_id"]] = event["place"]
        return event["event"] == "epoch" and len(set(locations.values())) == 2

    read_events(runner, both_nodes_train)
    (removed,) = {name for name in locations.values() if nodes[1].node_id[:6] in name}
    done = record_stamps(results)
    cluster.remove_node(nodes[1])
    events = read_events(runner, lambda event: event["event"] == "end")
    _, stderr = runner.communicate(timeout=100)
    assert runner.returncode == 0, (events, stderr)
    assert any(event["event"] == "again" and removed in event["why"] for event in events), events
    assert not [event for event in events if event["event"] == "aside"], events  # no run failed
    assert events[-1]["trained"] == 4
    assert outcomes(results) == train_undisturbed(study_configs(arguments))
    assert {path: record_stamps(results)[path] for path in done} == done  # none was written again
    assert_tidy(results)


@pytest.mark.slow
def test_tasks_end_with_a_killed_runner_and_the_next_one_resumes(cluster, study, tmp_path):
    results = tmp_path / "runs"
    node(cluster)
    arguments = command(study, results, "--seeds=0", "--ray-address", cluster.address, "--json")
    arguments += ["--optim.epochs=6"]
    first = start(arguments)
    read_events(first, lambda event: event["event"] == "epoch" and event["epoch"] == 2)
    first.kill()
    first.communicate()
    again = subprocess.run(arguments, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again
    events = [json.loads(line) for line in again.stdout.splitlines()]  # it has only JSON lines
    assert events[-1]["trained"] == 2
    assert 3 in [event["epoch"] for event in events if event["event"] == "epoch"][:2]
    assert len(outcomes(results)) == 2
    assert_tidy(results)


@pytest.mark.slow
def test_a_cluster_on_this_machine_alone(study, tmp_path):
    results = tmp_path / "runs"
    arguments = command(study, results, "--launcher=ray", "--seeds=0", "--optim.epochs=1", "--json")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=500)
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
    arguments = command(study, results, "--ray-address", cluster.address, "--json")
    runner = start([*arguments, "--optim.epochs=50"])
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
def test_a_run_that_takes_too_long_is_cancelled(cluster, tmp_path):
    """The time is over after two epochs, however long they take."""
    results = tmp_path / "runs"
    node(cluster)
    one_run = write_grid(tmp_path / "one.yaml", seed=[0])
    arguments = study_command(one_run, results, "--ray-address", cluster.address)[1:]
    arguments += ["--optim.epochs=4000", "--cell-timeout=1h"]
    done = subprocess.run(
        [sys.executable, "-c", TIME_OUT, *arguments], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 1, done.stderr
    (record,) = records.read_records([results])[0]
    assert record.failure["kind"] == "timeout"
    assert list(results.glob("*/last.ckpt"))  # --retry-failed resumes from it


# A node that does not mount the results folder


@pytest.fixture
def unmounted_node(cluster, tmp_path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """``unmounted_node()`` adds a node that does not mount the results folder."""
    started = []

    def add() -> subprocess.Popen[bytes]:
        (tmp_path / "runs").mkdir(exist_ok=True)
        join = [*RAY, "start", f"--address={cluster.address}", "--num-cpus=1", "--block"]
        join += ["--object-store-memory=80000000", "--memory=4000000000"]
        hide = 'mount -t tmpfs none "$0" && exec "$@"'
        arguments = ["unshare", "--mount", "sh", "-c", hide, str(tmp_path / "runs"), *join]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            arguments,
            stdout=quiet,
            stderr=quiet,
            env={**os.environ, **QUIET},
            start_new_session=True,
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
def test_a_node_that_does_not_mount_the_results_folder_sends_its_files(
    cluster, unmounted_node, tmp_path, train_undisturbed
):
    """It dies in the middle; the next one resumes from the checkpoint that was sent back."""
    results = tmp_path / "runs"
    arguments = study_command(
        write_grid(tmp_path / "one.yaml", seed=[0]), results, "--optim.epochs=12"
    )
    first = unmounted_node()
    while len(alive(cluster)) < 2:
        time.sleep(0.2)
    runner = start([sys.executable, "-m", *arguments, "--ray-address", cluster.address, "--json"])
    events = read_events(runner, lambda event: event["event"] == "epoch")
    run = events[-1]["run_id"]
    assert list(leases.active_leases(results)) == [run]  # the runner holds it for the node
    while not (results / run / "last.ckpt").is_file():
        assert runner.poll() is None
        time.sleep(0.05)
    unmounted_node()
    end(first)
    events = read_events(runner, lambda event: event["event"] == "end")
    _, stderr = runner.communicate(timeout=100)
    assert runner.returncode == 0, stderr
    epochs = [e["epoch"] for e in events if e["event"] == "epoch" and e["run_id"] == run]
    assert any(e["event"] == "again" and e["run_id"] == run for e in events), events
    assert epochs[-12:] != list(range(1, 13))  # it did not start again from the first epoch
    assert outcomes(results) == train_undisturbed(study_configs(arguments))
    assert_tidy(results)


@pytest.mark.slow
def test_ctrl_c_fetches_the_files_of_a_node_that_does_not_mount_the_folder(
    cluster, unmounted_node, study, tmp_path
):
    results = tmp_path / "runs"
    unmounted_node()
    while len(alive(cluster)) < 2:
        time.sleep(0.2)
    arguments = command(study, results, "--ray-address", cluster.address, "--json")
    runner = start([*arguments, "--optim.epochs=50"])
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


# Nodes that cannot train the runs


@pytest.mark.slow
def test_a_run_too_large_for_every_node_is_refused(cluster, study, tmp_path):
    node(cluster)
    arguments = command(study, tmp_path / "runs", "--ray-address", cluster.address)
    for flags, message in (
        (["--memory-per-cell=100TB"], "has what a run takes, 1 CPU, 100.0 TB of memory"),
        (["--system.accelerator=gpu"], "has what a run takes, 1 CPU, 1 GPU"),
    ):
        done = subprocess.run([*arguments, *flags], capture_output=True, text=True, timeout=300)
        assert done.returncode == 2, done
        assert message in done.stderr
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
        other = node(cluster)
    results = tmp_path / "runs"
    arguments = command(study, results, "--ray-address", cluster.address)
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 2, done
    assert other.node_id[:6] in done.stderr
    assert "other code of this package than this machine (layers)" in done.stderr
