"""The files in slurm/, submitted to a real SLURM of two nodes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from ablations.store import records
from tests.factories.configs import TINY_FLAGS
from tests.factories.processes import (
    assert_tidy,
    count_epochs,
    outcomes,
    record_stamps,
    study_configs,
)
from tests.factories.slurm import ENDED, NO_SLURM, Job, SlurmCluster, slurm_is_missing

pytestmark = pytest.mark.slow
FILES = sorted(Path("slurm").glob("*.sbatch"))
PAGES = Path("README.md").read_text() + Path("docs/guide/cluster.md").read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[SlurmCluster]:
    if slurm_is_missing():
        pytest.skip(NO_SLURM)
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture(scope="module")
def six_runs(tmp_path_factory) -> Path:
    """A study of six short runs: three pool sizes, two seeds."""
    grid = {"model.pool_size": {"values": [3, 5, 7]}, "seed": {"values": [0, 1]}}
    path = tmp_path_factory.mktemp("six") / "six.yaml"
    path.write_text(yaml.safe_dump({"method": "grid", "parameters": grid}))
    return path


def run_arguments(sweep: Path, results: Path, count: int = 4) -> list[str]:
    """The arguments of ``ablations run``, with a number of epochs per run."""
    flags = ["--model.drop_path=0.1", f"--optim.epochs={count}", "--workers=1"]
    return [str(sweep), *TINY_FLAGS, *flags, f"--results={results}"]


@pytest.fixture(scope="module")
def undisturbed(six_runs, train_undisturbed) -> dict[str, dict]:
    """The metrics of the six runs without SLURM, by run."""
    return train_undisturbed(
        study_configs(["ablations", "run", *run_arguments(six_runs, Path("unused"))])
    )


def trained(output: str) -> dict[str, int]:
    """Task -> how many runs it trained, by the last line of each runner."""
    found = re.findall(r"^(\d+): 6 runs: (\d+) trained", output, re.MULTILINE)
    return {task: int(count) for task, count in found}


def first_epochs(results: Path) -> list[str]:
    """The log lines of all first epochs: one for each run that did not resume."""
    return re.findall(r"epoch 1/\d+:", "".join(p.read_text() for p in results.glob("*/log.txt")))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_slurm_accepts_each_file(cluster, path):
    done = cluster.run("sbatch", "--test-only", "--nodes=2", str(path), "sweep.yaml")
    assert done.returncode == 0, done.stderr
    assert re.search(r"to start at .* on nodes n\[1-2\]", done.stderr), done.stderr


def test_slurm_accepts_each_command_of_the_readme_and_the_guide(cluster):
    commands = sorted(set(re.findall(r"^sbatch .*", PAGES, re.MULTILINE)))
    assert {word for line in commands for word in line.split() if ".sbatch" in word} == set(
        map(str, FILES)
    )
    for line in commands:
        # The test cluster has two nodes with one core each, and no GPU.
        line = re.sub("--nodes 4", "--nodes 2", line.split("#")[0])
        line = re.sub("--(gpus|ntasks)-per-node 8", "", line)
        done = cluster.run(*line.replace("sbatch", "sbatch --test-only").split())
        assert done.returncode == 0, done.stderr


def test_two_nodes_share_a_study_and_a_second_job_reuses_it(
    cluster, six_runs, undisturbed, tmp_path
):
    results = tmp_path / "runs"
    job = cluster.submit("--nodes=2", "slurm/share.sbatch", *run_arguments(six_runs, results))
    assert job.wait() == "COMPLETED", job.output
    counts = trained(job.output)
    assert counts.keys() == {"0", "1"}, job.output
    assert min(counts.values()) > 0, job.output
    assert sum(counts.values()) == 6, job.output
    assert len(first_epochs(results)) == 6
    assert outcomes(results) == undisturbed
    assert_tidy(results)
    before = record_stamps(results)
    again = cluster.submit("--nodes=2", "slurm/share.sbatch", *run_arguments(six_runs, results))
    assert again.wait() == "COMPLETED", again.output
    assert again.output.count(": 6 runs: 0 trained, 6 reused, 0 failed") == 2
    assert record_stamps(results) == before


@pytest.mark.parametrize("how", ["asked to stop", "killed", "requeued"])
def test_a_stopped_job_resumes_with_the_same_results(cluster, six_runs, undisturbed, tmp_path, how):
    results = tmp_path / "runs"
    job = cluster.submit("--nodes=2", "slurm/share.sbatch", *run_arguments(six_runs, results))
    cluster.until(lambda: list(results.glob("*/last.ckpt")), "a run has finished an epoch")
    if how == "requeued":  # as SLURM does when another job preempts it
        assert cluster.run("scontrol", "requeue", job.number).returncode == 0
        again = job
    else:
        job.cancel(*(["--signal=TERM"] if how == "asked to stop" else []))
        assert job.wait() == {"asked to stop": "FAILED", "killed": "CANCELLED"}[how], job.output
        assert list(results.glob("*/last.ckpt"))
        assert len(list(results.glob("*/record.json"))) < 6
        if how == "asked to stop":
            assert_stopped_gracefully(job)
            assert not list(results.glob(".leases/*"))
        again = cluster.submit("--nodes=2", "slurm/share.sbatch", *run_arguments(six_runs, results))
    assert again.wait() == "COMPLETED", again.output
    assert outcomes(results) == undisturbed
    assert_tidy(results)


def assert_stopped_gracefully(job: Job) -> None:
    """Both runners stopped gracefully."""
    line = r"^[01]: interrupted with \d of 6 runs done; the same command goes on from here"
    assert len(re.findall(line, job.output, re.MULTILINE)) == 2, job.output
    assert job.fields()["ExitCode"] == "143:0"


def test_a_job_at_its_time_limit_keeps_the_last_epoch_of_each_run(cluster, six_runs, tmp_path):
    """The study is too long for either of two jobs."""
    results = tmp_path / "runs"
    submit = ["--nodes=2", "slurm/share.sbatch", *run_arguments(six_runs, results, count=5000)]
    job = cluster.submit(*submit)
    cluster.until(lambda: len(list(results.glob("*/last.ckpt"))) == 2, "both nodes train")
    # Set only now, so that both nodes train when the warning comes, however slow this machine is.
    hours, minutes, _ = job.fields()["RunTime"].rsplit("-")[-1].split(":")
    limit = f"TimeLimit={60 * int(hours) + int(minutes) + 2}"
    done = cluster.run("scontrol", "update", f"JobId={job.number}", limit)
    assert done.returncode == 0, done.stderr
    assert job.wait() == "FAILED", job.output
    assert_stopped_gracefully(job)
    assert not list(results.glob(".leases/*"))
    kept = count_epochs(results)
    again = cluster.submit(*submit)
    cluster.until(lambda: count_epochs(results) > kept + 2, "it goes on")
    again.cancel("--signal=TERM")
    again.wait()
    assert len(first_epochs(results)) == 2
    for path in results.glob("*/history.csv"):
        numbers = [int(line.split(",")[0]) for line in path.read_text().splitlines()[1:]]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_job_survives_the_loss_of_a_node(six_runs, undisturbed, tmp_path, tmp_path_factory):
    """The other node takes its run over once the lease had no heartbeat for two minutes."""
    if slurm_is_missing():
        pytest.skip(NO_SLURM)
    results = tmp_path / "runs"
    with SlurmCluster(tmp_path_factory.mktemp("slurm")) as own:
        job = own.submit("--nodes=2", "slurm/share.sbatch", *run_arguments(six_runs, results))
        own.until(lambda: len(list(results.glob("*/last.ckpt"))) == 2, "both nodes train")
        own.lose("n2")
        assert job.wait() == "COMPLETED", job.output
        assert job.fields()["NodeList"] == "n1"
        assert trained(job.output).keys() == {"0"}, job.output
    assert outcomes(results) == undisturbed
    assert_tidy(results)


NEEDS_RAY = pytest.mark.skipif(not find_spec("ray"), reason="Ray is an extra: uv pip install ray")


def ray_processes(cluster: SlurmCluster) -> list[str]:
    """Ray processes on the nodes."""
    command_lines = cluster.run("bash", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    return re.findall("raylet|gcs_server", command_lines)


@NEEDS_RAY
@pytest.mark.parametrize("nodes", [1, 2])
def test_ray_starts_on_all_nodes_and_ends_with_the_job(cluster, nodes):
    """Also when the command refuses its arguments, as here."""
    job = cluster.submit(f"--nodes={nodes}", "slurm/ray.sbatch", "nowhere.yaml", "--no-such-flag")
    assert job.wait() == "FAILED", job.output
    assert f"Ray is up on {nodes} nodes" in job.output
    assert job.fields()["ExitCode"] == "2:0", job.output
    assert not ray_processes(cluster)


# In place of `ablations`: a Ray program that is asked to stop.
STUB = """\
#!/usr/bin/env python
import signal, sys, time, ray

print("given", *sys.argv[1:-1], flush=True)
ray.init(sys.argv[-1], logging_level="error")
node = ray.remote(lambda: time.sleep(1) or __import__("platform").node()).options(
    num_cpus=1, scheduling_strategy="SPREAD"
)
print("worked on", *sorted(set(ray.get([node.remote() for _ in range(8)]))), flush=True)

def end(*_):
    time.sleep(3)
    print("at the end", sum(node["Alive"] for node in ray.nodes()), "nodes", flush=True)
    sys.exit(143)

signal.signal(signal.SIGTERM, end)
while True:
    time.sleep(1)
"""


@NEEDS_RAY
def test_a_stopped_job_on_ray_lets_its_runner_end_first(cluster, tmp_path):
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "ablations"
    stub.write_text(STUB)
    stub.chmod(0o755)
    (tmp_path / "bin" / "activate").write_text(f"PATH={tmp_path}/bin:{sys.prefix}/bin:$PATH")
    file = ["slurm/ray.sbatch", "a.yaml", "--seeds", "0,1"]
    job = cluster.submit("--nodes=2", *file, VIRTUAL_ENV=str(tmp_path))
    cluster.until(lambda: "worked on" in job.output or job.state in ENDED, "Ray has worked")
    assert "given run a.yaml --seeds 0,1 --launcher ray --ray-address\n" in job.output
    assert "worked on n1 n2\n" in job.output
    job.cancel("--batch", "--signal=TERM")
    assert job.wait() == "FAILED", job.output
    assert "at the end 2 nodes\n" in job.output
    assert job.fields()["ExitCode"] == "143:0"
    assert not ray_processes(cluster)


@NEEDS_RAY
def test_a_study_on_ray_has_the_same_records(cluster, six_runs, undisturbed, tmp_path):
    results = tmp_path / "runs"
    job = cluster.submit("--nodes=2", "slurm/ray.sbatch", *run_arguments(six_runs, results))
    assert job.wait() == "COMPLETED", job.output
    assert "6 runs: 6 trained, 0 reused, 0 failed" in job.output
    assert outcomes(results) == undisturbed
    assert not list(results.glob(".leases/*"))
    assert not ray_processes(cluster)


def test_one_run_on_two_nodes_resumes_after_it_was_stopped(cluster, tmp_path):
    flags = [*TINY_FLAGS, "--model.drop_path=0.1", "--optim.epochs=8"]

    def submit(results: Path) -> Job:
        return cluster.submit("--nodes=2", "slurm/ddp.sbatch", *flags, "--results", str(results))

    job = submit(tmp_path / "whole")
    assert job.wait() == "COMPLETED", job.output
    (whole,) = records.read_records([tmp_path / "whole"])[0]
    assert whole.status == "finished"
    assert whole.environment["processes"] == 2
    results = tmp_path / "parts"
    job = submit(results)
    cluster.until(lambda: count_epochs(results) > 1, "it has finished two epochs")
    job.cancel("--signal=TERM")
    assert job.wait() == "FAILED", job.output
    assert not list(results.glob("*/record.json")), job.output
    assert not list(results.glob(".leases/*"))
    again = submit(results)
    assert again.wait() == "COMPLETED", again.output
    assert outcomes(results) == outcomes(tmp_path / "whole")
    assert len(first_epochs(results)) == 1
