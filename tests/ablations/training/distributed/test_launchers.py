"""Ranks that torchrun or srun starts, and wrong input."""

from __future__ import annotations

import shutil

import pytest

from ablations.cli.main import main
from ablations.config.schema import SystemConfig
from ablations.errors import ConfigError
from ablations.store import leases, records
from ablations.store.records import Record
from ablations.training.distributed.ranks import RankInfo, rank_from_launcher
from ablations.training.train import train
from tests.factories.distributed import (
    TWO,
    assert_same,
    flags,
    port,
)


def torchrun(*words: object, **options: object) -> list[object]:
    own = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return ["-m", "torch.distributed.run", *own, "-m", "ablations", "train", *words]


@pytest.mark.slow
def test_torchrun_starts_the_ranks(start, tmp_path, two):
    config, expected, record = two
    results = tmp_path / "runs"
    words = torchrun(*flags(**TWO), "--results", results, standalone="1", nproc_per_node=2)
    words.remove("--standalone=1")
    words.insert(2, "--standalone")
    code, stdout, stderr = start(*words).ends()
    assert code == 0, stderr
    assert stdout.count("epoch 1/2") == 1
    assert_same(results, expected, config.run_id)
    assert records.find_record(results, config.run_id).metrics == record.metrics
    code, stdout, stderr = start(*words).ends()
    assert code == 0, stderr
    assert stdout.count("(done before)") == 1
    shutil.rmtree(results / config.run_id)
    with leases.hold_lease(results, config.run_id):
        code, stdout, stderr = start(*words).ends()
    assert code != 0
    assert stderr.count("is being trained by process") == 1
    assert not (results / config.run_id).exists()


@pytest.mark.slow
def test_a_failure_of_one_of_torchruns_ranks_is_in_the_record(start, tmp_path, image_folder, tiny):
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    broken = sorted((root / "val").rglob("*.jpg"))[-1]
    broken.write_bytes(b"not an image")
    change = {
        "data.name": "folder",
        "data.root": root,
        "data.pipeline": "timm",
        "data.fit": "pad",
        "data.batch_size": 16,
        "model.num_classes": 3,
        **TWO,
    }
    results = tmp_path / "runs"
    words = torchrun(*flags(**change), "--results", results, nproc_per_node=2, master_port=port())
    code, _, _ = start(*words).ends()
    assert code == 1
    (path,) = results.glob("*/record.json")
    failure = Record.read(path).failure
    assert failure["kind"] == "data"
    assert f"{broken.name} cannot be decoded" in failure["message"]


@pytest.mark.slow
def test_two_nodes_train_a_run(start, tmp_path, two):
    """Two agents on one machine, with a process each."""
    config, expected, _ = two
    results, at = tmp_path / "runs", f"127.0.0.1:{port()}"
    words = torchrun(
        *(*flags(**{"system.nodes": 2}), "--results", results),
        nnodes=2,
        nproc_per_node=1,
        rdzv_backend="c10d",
        rdzv_endpoint=at,
    )
    agents = [start(*words), start(*words)]
    said = [agent.ends() for agent in agents]
    assert [code for code, _, _ in said] == [0, 0], said
    assert_same(results, expected, config.run_id)


STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
    "SLURM_JOB_NAME": "x",
}


def test_variables_of_srun_do_not_change_a_run_of_one_process(start, tmp_path, tiny):
    flags_of = flags(**{"optim.epochs": 2})
    words = ["-m", "ablations", "train", *flags_of, "--results", tmp_path / "srun"]
    code, stdout, stderr = start(*words, **STEP).ends()
    assert code == 0, stderr
    assert stdout.count("epoch") == 2
    config = tiny()
    alone = train(config, tmp_path / "alone")
    assert records.find_record(tmp_path / "srun", config.run_id).metrics == alone.metrics
    assert_same(tmp_path / "srun", tmp_path / "alone", config.run_id)
    logs = [(tmp_path / name / config.run_id / "log.txt").read_text() for name in ("srun", "alone")]
    lines = [[line.split(" ", 3)[-1] for line in log.splitlines()] for log in logs]
    assert [line for line in lines[0] if "stopped" in line] == [
        line for line in lines[1] if "stopped" in line
    ]


def test_ranks_are_read_from_the_variables_of_srun(monkeypatch):
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    info = rank_from_launcher(SystemConfig(nodes=2))
    named = {"address": "node07", "port": 19711, "attempt": "4711.0.0"}
    assert info == RankInfo(rank=1, node_rank=1, world_size=2, **named)
    monkeypatch.setenv("SLURM_STEP_ID", "3")
    assert rank_from_launcher(SystemConfig(nodes=2)).port == 22711
    # Steps with the same port have different stores.
    assert rank_from_launcher(SystemConfig(nodes=2)).attempt == "4711.3.0"
    with pytest.raises(ConfigError, match="are 3 processes, 3 per node, but srun has started 2"):
        rank_from_launcher(SystemConfig(devices=3))
    assert rank_from_launcher(SystemConfig()) is None
    # With one task, or in a batch script without srun, the ranks are started here.
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert rank_from_launcher(SystemConfig(devices=2)) is None
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.delenv("SLURM_STEP_ID")
    assert rank_from_launcher(SystemConfig(devices=2)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system.devices": 3}, "data.batch_size 250 is the batch over all devices"),
        ({**TWO, "model.norm": "batch"}, "on CPUs torch has no batch norm over several processes"),
        ({"system.nodes": 2}, "`srun --nodes=2 --ntasks-per-node=1 --kill-on-bad-exit=1"),
        ({**TWO, "data.mixup": 0.2}, "use a multiple of 4"),
    ],
)
def test_wrong_input_is_reported_before_anything_is_written(change, message, tmp_path, capsys):
    assert main(["train", *flags(**change), "--results", str(tmp_path / "runs")]) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_ablations_run_refuses_runs_on_several_nodes(tmp_path, capsys):
    sweep = tmp_path / "one.yaml"
    sweep.write_text("method: grid\nparameters:\n  seed: {values: [0]}\n")
    words = ["run", str(sweep), *flags(**{"system.nodes": 2}), "--results", str(tmp_path / "runs")]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert "`ablations run` trains each run on one machine" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "runs").exists()
