"""A distributed run ends with all its processes, however it ends, and can be resumed."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest
import yaml

from ablations.store import records, run_state
from ablations.store.records import CHECKPOINT_FILE
from ablations.training.train import train
from tests.factories.distributed import (
    LONGER,
    TWO,
    assert_same,
    flags,
)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["rank 0", "rank 1"])
def test_a_run_resumes_exactly_after_a_rank_is_killed(killed, six, start, tmp_path, tiny):
    uninterrupted, record = six
    words = ["-m", "ablations", "train", *flags(**LONGER, **TWO), "--results", tmp_path / "runs"]
    run = start(*words)
    run.until("epoch 2")
    (other,) = run.workers()
    os.kill(run.process.pid if killed == "rank 0" else other, signal.SIGKILL)
    code, _, stderr = run.ends()
    if killed == "rank 0":
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
    assert_same(tmp_path / "runs", uninterrupted, record.run_id)


@pytest.mark.slow
def test_sigterm_ends_all_ranks_and_keeps_the_epochs(start, tmp_path, six):
    _, record = six
    words = ["-m", "ablations", "train", *flags(**LONGER, **TWO), "--results", tmp_path / "runs"]
    run = start(*words)
    run.until("epoch 1")
    for pid in run.alive():  # as at the end of a job
        os.kill(pid, signal.SIGTERM)
    code, _, stderr = run.ends()
    assert code == 143, stderr
    assert stderr == "interrupted; the same command goes on from the last epoch\n"
    folder = tmp_path / "runs" / record.run_id
    assert (folder / CHECKPOINT_FILE).exists()
    assert run_state.find_run_state(tmp_path / "runs", record.run_id).stopped


@pytest.mark.slow
def test_rank_0_does_not_wait_forever_for_a_lost_rank(start, tmp_path, tiny):
    """As with NCCL, where only the watcher notices: the process ends, and the run is retried."""
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
    (other,) = run.workers()
    os.kill(other, signal.SIGKILL)
    code, _, stderr = run.ends()
    assert code == 1
    assert stderr.startswith("ablations: process 1 of 2 ended with signal SIGKILL: ")
    assert stderr.count("\n") == 1
    assert "SIGKILL" in (tmp_path / "runs" / config.run_id / "log.txt").read_text()


@pytest.mark.slow
def test_three_processes_resume_exactly(tiny, tmp_path):
    """With three, the order of a sum over processes depends on how DDP packs gradients."""
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
    # An epoch that was stopped at its end has no checkpoint.
    assert epochs == [1, 2, 2, 3, 4, 4, 5, 6]
    alone = train(tiny(**change), tmp_path / "alone")
    assert record.metrics["val/loss"]["last"] == pytest.approx(
        alone.metrics["val/loss"]["last"], rel=1e-3
    )


@pytest.mark.slow
def test_local_workers_train_runs_of_two_processes(start, tmp_path, tiny):
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
    # Of the processes that spawn has made, the last is the DDP worker.
    os.kill(run.workers()[-1], signal.SIGKILL)
    code, _, stderr = run.ends(300)
    assert code == 0, stderr
    assert "process 1 of 2 ended with signal SIGKILL" in stderr
    assert "2 runs: 2 trained, 0 reused, 0 failed" in stderr
    found, problems = records.read_records([results])
    assert not problems
    assert [record.environment["processes"] for record in found] == [2, 2]
    whole = train(first, tmp_path / "whole")
    assert whole.metrics == records.find_record(results, first.run_id).metrics
