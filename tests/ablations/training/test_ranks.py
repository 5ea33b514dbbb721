"""One run on several processes: the numbers of one, and none of them left however it ends.

On the CPU, by gloo; what GPUs do otherwise (NCCL, batch norm over all) takes a machine with two.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ablations.cli.main import main
from ablations.config.schema import SystemConfig
from ablations.data.batches import EpochOrder, InOrder
from ablations.errors import ConfigError
from ablations.store import leases, records, run_state
from ablations.store.records import CHECKPOINT_FILE, WEIGHTS_FILE, Record
from ablations.training.distributed.ranks import RankInfo, rank_from_launcher
from ablations.training.train import train
from poolformer.mixers import MIXERS
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


def assert_same(ours: Path, theirs: Path, run_id: str) -> None:
    """Bit for bit."""
    assert history(ours, run_id) == history(theirs, run_id)
    one, other = weights(ours, run_id), weights(theirs, run_id)
    assert all(torch.equal(one[name], other[name]) for name in one)


def flags(**overrides: object) -> list[str]:
    return [*TINY_FLAGS, *(f"--{name}={value}" for name, value in overrides.items())]


class Started:
    """A command, and all processes that came of it."""

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
        """Those that run, the command first."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if self.mark in path.read_text(errors="replace").split("\0"):
                    found.append(int(path.parent.name))
        return sorted(pid for pid in found if leases.process_start(pid))

    def followers(self) -> list[int]:
        """The processes that train along."""
        pids = []
        for pid in self.alive():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                if "--multiprocessing-fork" in words and pid != self.process.pid:
                    pids.append(pid)
        return pids

    def until(self, line: str) -> None:
        """Read what it prints up to a line that begins so."""
        for told in self.process.stdout:
            if told.startswith(line):
                return
        raise AssertionError(self.process.communicate())

    def ends(self, seconds: float = 300) -> tuple[int, str, str]:
        """Its exit code and what it printed; nothing of it is left then."""
        stdout, stderr = self.process.communicate(timeout=seconds)
        deadline = time.monotonic() + 15
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not self.alive()
        return self.process.returncode, stdout, stderr


@pytest.fixture
def start(tmp_path) -> Iterator[object]:
    """``start("-m", "ablations", ...)``; what the test leaves is killed."""
    begun_here = []

    def starts(*words: str, **variables: str) -> Started:
        mark = tmp_path / f"mark-{len(begun_here)}"
        begun_here.append(Started(mark, *map(str, words), **variables))
        return begun_here[-1]

    yield starts
    for each in begun_here:
        for pid in each.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        each.process.communicate()


# Shares


@given(
    size=st.integers(1, 300),
    share=st.integers(1, 20),
    world=st.integers(1, 6),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 400),
)
def test_the_shares_of_all_ranks_are_the_batches_of_one_process(size, share, world, seed, epoch):
    batch = share * world
    alone = list(EpochOrder(size, batch, seed, epoch))
    parts = [EpochOrder(size, batch, seed, epoch, rank, world) for rank in range(world)]
    assert len(alone) == size // batch * batch == sum(len(part) for part in parts)
    keys = [list(part) for part in parts]
    assert [len(each) for each in keys] == [len(part) for part in parts]
    together = [
        key
        for begin in range(0, len(alone) // world, share)
        for each in keys
        for key in each[begin : begin + share]
    ]
    assert together == alone
    assert len(set(alone)) == len(alone)


@given(size=st.integers(0, 300), world=st.integers(1, 9))
def test_each_validation_picture_is_seen_by_one_rank(size, world):
    parts = [InOrder(size, rank, world) for rank in range(world)]
    assert [key for part in parts for key in part] == list(InOrder(size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


# Numbers


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """One tiny run on two processes, and its folder."""
    from ablations.config.resolve import resolve
    from tests.factories.configs import TINY

    results = tmp_path_factory.mktemp("two")
    config = resolve("mini", {**TINY, **TWO})
    return config, results, train(config, results)


def test_two_processes_give_the_numbers_of_one(two, tiny, tmp_path):
    config, results, record = two
    alone = tiny()
    assert config.run_id == alone.run_id
    assert config.optim.lr == alone.optim.lr  # the effective batch decides it
    assert record.status == "finished", record.failure
    assert record.environment["processes"] == 2
    whole = train(alone, tmp_path)
    assert whole.environment["processes"] == 1
    for ours, theirs in zip(
        history(results, config.run_id), history(tmp_path, config.run_id), strict=True
    ):
        assert ours.keys() == theirs.keys()
        for name in ("epoch", "lr", "pictures"):
            assert ours[name] == theirs[name]
        for name in ("train/loss", "val/loss"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), rel=1e-5)
        for name in ("val/top1", "val/top5"):
            assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=0.1)


def test_a_record_of_two_processes_is_a_record(two):
    config, results, record = two
    assert record == Record.read(results / config.run_id / "record.json")
    assert {path.name for path in (results / config.run_id).iterdir()} == {
        *("record.json", "history.csv", WEIGHTS_FILE, "log.txt")
    }
    assert train(config, results, lambda body: pytest.fail("trained")) == record


@pytest.mark.slow
def test_the_ranks_draw_their_own_mixing_and_drop_path(tiny, tmp_path):
    drawn = {"model.drop_path": 0.3, "data.mixup": 0.2, "data.batch_size": 200}
    records_of = [
        train(tiny(**drawn, **TWO), tmp_path / name).metrics for name in ("once", "again")
    ]
    assert records_of[0] == records_of[1]
    assert records_of[0] != train(tiny(**drawn), tmp_path / "alone").metrics


def test_a_loss_that_explodes_ends_both(tiny, tmp_path):
    config = tiny(**DIVERGES, **TWO)
    record = train(config, tmp_path)
    assert record.status == "diverged", record.failure
    alone = train(tiny(**DIVERGES), tmp_path / "alone")
    assert len(history(tmp_path, config.run_id)) == 1
    assert record.metrics["val/top1"] == alone.metrics["val/top1"]


@pytest.mark.slow
@pytest.mark.parametrize("mixer", MIXERS)
def test_every_mixer_trains_on_two_processes(mixer, tiny, picture_folder, tmp_path):
    few = {
        "data.name": "folder",
        "data.root": str(picture_folder),
        "data.pipeline": "timm",
        "data.fit": "pad",
        "data.batch_size": 16,
        "optim.epochs": 1,
        "model.token_mixers": mixer,
        "model.num_classes": 3,
    }
    ours = train(tiny(**few, **TWO), tmp_path / "two")
    alone = train(tiny(**few), tmp_path / "one")
    assert ours.status == "finished", ours.failure
    for name in ("train/loss", "val/loss"):
        assert ours.metrics[name]["last"] == pytest.approx(alone.metrics[name]["last"], rel=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"optim.grad_clip": 0.1, "optim.schedule_unit": "epoch"},
        {"model.residual": False},
        {"system.precision": "bf16-mixed", "optim.grad_clip": 1.0},
    ],
)
@pytest.mark.slow
def test_clipping_schedules_and_precisions_are_those_of_one_process(tiny, tmp_path, change):
    change = {**change, "optim.epochs": 3}
    ours, alone = (
        train(tiny(**change, **more), tmp_path / name) for name, more in (("2", TWO), ("1", {}))
    )
    rel = 1e-2 if "system.precision" in change else 1e-4
    rows = [history(tmp_path / name, alone.run_id) for name in ("2", "1")]
    assert [row["lr"] for row in rows[0]] == [row["lr"] for row in rows[1]]
    for name in ("train/loss", "val/loss"):
        assert ours.metrics[name]["last"] == pytest.approx(alone.metrics[name]["last"], rel=rel)


def test_files_that_break_in_another_process_fail_the_run_by_their_name(
    picture_folder, tiny, tmp_path
):
    """The last validation pictures are the second process's."""
    root = tmp_path / "pictures"
    shutil.copytree(picture_folder, root)
    broken = sorted((root / "val").rglob("*.jpg"))[-1]
    broken.write_bytes(b"no picture")
    config = tiny(
        **{
            "data.name": "folder",
            "data.root": str(root),
            "data.pipeline": "timm",
            "data.fit": "pad",
            "data.batch_size": 16,
            "model.num_classes": 3,
            "system.loader_workers": 1,
        },
        **TWO,
    )
    record = train(config, tmp_path / "runs")
    assert record.status == "failed"
    assert record.failure["kind"] == "data"
    assert broken.name in record.failure["message"]
    assert "in process 1 of 2" in record.failure["message"]


# Ends


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """Six epochs on two processes, undisturbed."""
    from ablations.config.resolve import resolve
    from tests.factories.configs import TINY

    results = tmp_path_factory.mktemp("six")
    record = train(resolve("mini", {**TINY, **TWO, **LONGER}), results)
    return results, record


LONGER = {"optim.epochs": 6, "model.drop_path": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["rank 0", "another"])
def test_a_run_of_which_a_process_is_killed_ends_as_if_nothing_had_been(
    whom, six, start, tmp_path, tiny
):
    undisturbed, record = six
    words = ["-m", "ablations", "train", *flags(**LONGER, **TWO), "--results", tmp_path / "runs"]
    run = start(*words)
    run.until("epoch 2")
    (other,) = run.followers()
    os.kill(run.process.pid if whom == "rank 0" else other, signal.SIGKILL)
    code, _, stderr = run.ends()
    if whom == "rank 0":
        assert code == -signal.SIGKILL
    else:
        assert code == 1
        (line,) = stderr.splitlines()
        assert line == "ablations: process 1 of 2 ended with signal SIGKILL"
    folder = tmp_path / "runs" / record.run_id
    assert (folder / CHECKPOINT_FILE).exists()
    assert not (folder / "record.json").exists()
    again = start(*words)
    code, stdout, stderr = again.ends()
    assert code == 0, stderr
    assert "epoch 1/" not in stdout
    assert_same(tmp_path / "runs", undisturbed, record.run_id)


@pytest.mark.slow
def test_a_run_that_gets_sigterm_ends_at_once_and_keeps_its_epochs(start, tmp_path, six):
    _, record = six
    words = ["-m", "ablations", "train", *flags(**LONGER, **TWO), "--results", tmp_path / "runs"]
    run = start(*words)
    run.until("epoch 1")
    for pid in run.alive():  # as a job's end does
        os.kill(pid, signal.SIGTERM)
    code, _, stderr = run.ends()
    assert code == 143, stderr
    assert stderr == "interrupted; the same command goes on from the last epoch\n"
    folder = tmp_path / "runs" / record.run_id
    assert (folder / CHECKPOINT_FILE).exists()
    assert run_state.find_run_state(tmp_path / "runs", record.run_id).stopped


@pytest.mark.slow
def test_rank_0_does_not_wait_for_ever_for_a_process_that_is_gone(start, tmp_path, tiny):
    """As with NCCL, where nothing tells it but the watch: its process ends, to be tried again."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, time\n"
        "import pytorch_lightning as pl\n"
        "from ablations.training.distributed import rank_zero\n"
        "rank_zero.GRACE_SECONDS = 1.0\n"
        "fit = pl.Trainer.fit\n"
        "def stuck(*given, **named):\n"
        "    try:\n"
        "        return fit(*given, **named)\n"
        "    except RuntimeError:\n"
        "        time.sleep(3600)\n"
        "pl.Trainer.fit = stuck\n"
        "from ablations.cli.main import main\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main())\n"
    )
    config = tiny(**LONGER)
    words = [program, "train", *flags(**LONGER, **TWO), "--results", tmp_path / "runs"]
    run = start(*words, TORCH_CPP_LOG_LEVEL="ERROR")
    run.until("epoch 1")
    (other,) = run.followers()
    os.kill(other, signal.SIGKILL)
    code, _, stderr = run.ends()
    assert code == 1
    assert stderr.startswith("ablations: process 1 of 2 ended with signal SIGKILL: ")
    assert stderr.count("\n") == 1
    assert "SIGKILL" in (tmp_path / "runs" / config.run_id / "log.txt").read_text()


@pytest.mark.slow
def test_three_processes_resume_to_the_last_digit(tiny, tmp_path):
    """From three on, the order of a sum over processes depends on how DDP packs the gradients."""
    wide = {"model.dims": [32, 32, 64, 64], "data.batch_size": 480, "optim.epochs": 4}
    config = tiny(**wide, **{"system.devices": 3})

    def stop(body):
        if body["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", stop)
    train(config, tmp_path / "cut")
    train(config, tmp_path / "whole")
    assert_same(tmp_path / "cut", tmp_path / "whole", config.run_id)


@pytest.mark.slow
def test_a_run_continues_on_another_number_of_devices(tiny, tmp_path):
    def until(last):
        def progress(body):
            epochs.append(body["epoch"])
            if body["epoch"] == last:
                raise KeyboardInterrupt

        return progress

    change, epochs = {"optim.epochs": 6}, []
    for devices, last in ((1, 2), (2, 4), (1, 7)):
        config = tiny(**change, **{"system.devices": devices})
        with contextlib.suppress(KeyboardInterrupt):
            record = train(config, tmp_path, until(last))
    # An epoch in whose end it was stopped has no checkpoint.
    assert epochs == [1, 2, 2, 3, 4, 4, 5, 6]
    alone = train(tiny(**change), tmp_path / "alone")
    assert record.metrics["val/loss"]["last"] == pytest.approx(
        alone.metrics["val/loss"]["last"], rel=1e-3
    )


@pytest.mark.slow
def test_the_workers_of_a_runner_train_cells_of_two_processes(start, tmp_path, tiny):
    sweep = tmp_path / "two.yaml"
    grid = {"seed": {"values": [0, 1]}}
    sweep.write_text(yaml.safe_dump({"method": "grid", "parameters": grid}))
    results = tmp_path / "runs"
    words = ["-m", "ablations", "run", sweep, *flags(**LONGER, **TWO), "--results", results]
    run = start(*words)
    first = tiny(**LONGER, **TWO)
    while not (results / first.run_id / CHECKPOINT_FILE).exists():
        assert run.process.poll() is None
        time.sleep(0.02)
    # Of the processes that spawn has made, the last one is the follower.
    os.kill(run.followers()[-1], signal.SIGKILL)
    code, _, stderr = run.ends(300)
    assert code == 0, stderr
    assert "process 1 of 2 ended with signal SIGKILL" in stderr
    assert "2 runs: 2 trained, 0 reused, 0 failed" in stderr
    found, problems = records.read_records([results])
    assert not problems
    assert [record.environment["processes"] for record in found] == [2, 2]
    whole = train(first, tmp_path / "whole")
    assert whole.metrics == records.find_record(results, first.run_id).metrics


# Started by somebody else


def torchrun(*words: object, **options: object) -> list[object]:
    own = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return ["-m", "torch.distributed.run", *own, "-m", "ablations", "train", *words]


@pytest.mark.slow
def test_torchrun_starts_the_processes_of_a_run(start, tmp_path, two):
    config, ours, record = two
    results = tmp_path / "runs"
    words = torchrun(*flags(**TWO), "--results", results, standalone="1", nproc_per_node=2)
    words.remove("--standalone=1")
    words.insert(2, "--standalone")
    code, stdout, stderr = start(*words).ends()
    assert code == 0, stderr
    assert stdout.count("epoch 1/2") == 1
    assert_same(results, ours, config.run_id)
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
def test_what_fails_in_one_of_torchruns_processes_is_in_the_record(
    start, tmp_path, picture_folder, tiny
):
    root = tmp_path / "pictures"
    shutil.copytree(picture_folder, root)
    broken = sorted((root / "val").rglob("*.jpg"))[-1]
    broken.write_bytes(b"no picture")
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
def test_two_machines_train_a_run(start, tmp_path, two):
    """Two agents on one machine, a process each."""
    config, ours, _ = two
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
    assert_same(results, ours, config.run_id)


def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# What srun leaves in the environment, and what it means

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


def test_what_srun_leaves_in_the_environment_changes_nothing(start, tmp_path, tiny):
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


def test_a_step_of_srun_gives_its_tasks_their_seats(monkeypatch):
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    info = rank_from_launcher(SystemConfig(nodes=2))
    named = {"address": "node07", "port": 19711, "attempt": "4711.0.0"}
    assert info == RankInfo(rank=1, node_rank=1, world_size=2, **named)
    monkeypatch.setenv("SLURM_STEP_ID", "3")
    assert rank_from_launcher(SystemConfig(nodes=2)).port == 22711
    # Whose port is the same has another store none the less.
    assert rank_from_launcher(SystemConfig(nodes=2)).attempt == "4711.3.0"
    with pytest.raises(ConfigError, match="are 3 processes, 3 per node, but srun has started 2"):
        rank_from_launcher(SystemConfig(devices=3))
    assert rank_from_launcher(SystemConfig()) is None
    # One task, or a batch script without srun: the run's processes are started here.
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert rank_from_launcher(SystemConfig(devices=2)) is None
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.delenv("SLURM_STEP_ID")
    assert rank_from_launcher(SystemConfig(devices=2)) is None


# Wrong input


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"system.devices": 3}, "data.batch_size 250 is the batch over all devices"),
        ({**TWO, "model.norm": "batch"}, "on CPUs torch has no batch norm over several processes"),
        ({"system.nodes": 2}, "`srun --nodes=2 --ntasks-per-node=1 --kill-on-bad-exit=1"),
        ({**TWO, "data.mixup": 0.2}, "take a multiple of 4"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(change, told, tmp_path, capsys):
    assert main(["train", *flags(**change), "--results", str(tmp_path / "runs")]) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_runner_starts_no_cells_over_several_machines(tmp_path, capsys):
    sweep = tmp_path / "one.yaml"
    sweep.write_text("method: grid\nparameters:\n  seed: {values: [0]}\n")
    words = ["run", str(sweep), *flags(**{"system.nodes": 2}), "--results", str(tmp_path / "runs")]
    assert main(words) == 2
    line = capsys.readouterr().err
    assert "`ablations run` trains each run on one machine" in line
    assert line.count("\n") == 1
    assert not (tmp_path / "runs").exists()
