"""Runs that have started and have no record yet, and done runs that are trained again."""

from __future__ import annotations

import json
import os
import re

import pytest

from ablations.cli.main import main
from ablations.errors import LeaseLostError
from ablations.store import cleanup, history_csv, leases, previous_results, records, run_state
from ablations.store.records import Record
from ablations.training.train import train

# Runs without a record


def test_the_state_is_removed_when_training_succeeds(tiny, tmp_path):
    config = tiny()
    (tmp_path / config.run_id).mkdir()

    def interrupted():
        with run_state.track_run_state(config, tmp_path, {"wandb": "x"}):
            assert not run_state.find_run_state(tmp_path, config.run_id).stopped
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert run_state.find_run_state(tmp_path, config.run_id).stopped
    assert run_state.find_tracker_ids(tmp_path, config.run_id, None) == {"wandb": "x"}
    with run_state.track_run_state(config, tmp_path, {}):
        pass
    assert run_state.find_run_state(tmp_path, config.run_id) is None


def test_a_lost_lease_leaves_the_state_of_the_new_holder(tiny, tmp_path):
    config = tiny()
    (tmp_path / config.run_id).mkdir()

    def lost():
        with run_state.track_run_state(config, tmp_path, {}):
            run_state.RunState(config.run_id, config.to_json(), {"wandb": "theirs"}).write(tmp_path)
            raise LeaseLostError

    with pytest.raises(LeaseLostError):
        lost()
    assert run_state.find_run_state(tmp_path, config.run_id).tracker == {"wandb": "theirs"}
    assert not run_state.find_run_state(tmp_path, config.run_id).stopped


def test_a_broken_state_file_is_ignored(tiny, tmp_path):
    config = tiny()
    folder = tmp_path / config.run_id
    folder.mkdir()
    for text in ("", "[]", "{}", '{"run_id": 1, "odd": 2}'):
        (folder / records.RUN_STATE_FILE).write_text(text)
        assert run_state.find_run_state(tmp_path, config.run_id) is None


def test_status_distinguishes_the_states(tiny, tmp_path, capsys):
    configs = {
        state: tiny(seed=seed)
        for seed, state in enumerate(["finished", "failed", "crashed", "interrupted", "running"])
    }
    for state in ("finished", "failed"):
        config = configs[state]
        failure = {"kind": "oom", "message": "too big"} if state == "failed" else None
        metrics = {"val/top1": {"last": 81.5, "best": 82}} if state == "finished" else {}
        Record(config.run_id, state, config.to_json(), metrics=metrics, failure=failure).write(
            tmp_path
        )
    for state in ("crashed", "interrupted", "running"):
        config = configs[state]
        stopped = state == "interrupted"
        run_state.RunState(config.run_id, config.to_json(), stopped=stopped).write(tmp_path)
    history_csv.write_history(
        tmp_path / config.run_id / "history.csv",
        [
            {
                "epoch": 1,
                "val/top1": 50.0,
                "pictures": 8000,
                "train_seconds": 4.0,
                "epoch_seconds": 5.0,
            }
        ],
    )
    with leases.hold_lease(tmp_path, config.run_id):
        assert main(["status", "--results", str(tmp_path)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert main(["status", "--results", str(tmp_path), "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
    assert shown["counts"] == dict.fromkeys(configs, 1)
    (running,) = [run for run in shown["runs"] if run["state"] == "running"]
    assert running["run_id"] == config.run_id
    assert running["holder"]["pid"] == os.getpid()
    assert running["pictures_per_second"] == 2000
    assert running["seconds_left"] == 5
    assert f"process {os.getpid()} on " in "".join(lines)
    assert lines[-1] == "5 runs: 1 running, 1 crashed, 1 interrupted, 1 failed, 1 finished"
    for state, config in configs.items():
        (line,) = [line for line in lines if config.run_id in line]
        assert f" {state} " in line
        (run,) = [run for run in shown["runs"] if run["run_id"] == config.run_id]
        assert f"seed {config.seed}" in run["cell"]
    assert "oom: too big" in "".join(lines)
    assert re.search(r"1/2 +50.00 +2000 +5 s", "".join(lines))
    # A failed run that was started again and crashed counts as crashed.
    config = configs["failed"]
    run_state.RunState(config.run_id, config.to_json()).write(tmp_path)
    assert main(["status", "--results", str(tmp_path)]) == 0
    assert "5 runs: 3 crashed, 1 interrupted, 1 finished" in capsys.readouterr().out
    assert main(["status", "--results", str(tmp_path / "none")]) == 2
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "record.json").write_text("{")
    assert main(["status", "--results", str(tmp_path)]) == 1


def test_a_record_takes_precedence_over_an_older_state(tiny, tmp_path, capsys):
    """A process that is killed between the two leaves both."""
    done, failed = tiny(seed=0), tiny(seed=1)
    failure = {"kind": "oom", "message": "too big"}
    for config, status in ((done, "finished"), (failed, "failed")):
        run_state.RunState(config.run_id, config.to_json()).write(tmp_path)
        why = failure if status == "failed" else None
        Record(config.run_id, status, config.to_json(), failure=why).write(tmp_path)
    assert main(["status", "--results", str(tmp_path)]) == 0
    assert "2 runs: 1 failed, 1 finished" in capsys.readouterr().out
    os.utime(tmp_path / failed.run_id / records.RUN_STATE_FILE)  # started again since
    os.utime(tmp_path / done.run_id / records.RUN_STATE_FILE)
    assert main(["status", "--results", str(tmp_path)]) == 0
    assert "2 runs: 1 crashed, 1 finished" in capsys.readouterr().out


def test_the_next_command_removes_leftovers_of_a_killed_process(tiny, tmp_path):
    configs = [tiny(seed=seed) for seed in range(3)]
    _, failed, busy = configs
    for config in configs:
        run_state.RunState(config.run_id, config.to_json()).write(tmp_path)
        status = "failed" if config is failed else "finished"
        why = {"kind": "killed", "message": "signal"} if config is failed else None
        Record(config.run_id, status, config.to_json(), failure=why).write(tmp_path)
        (tmp_path / config.run_id / records.CHECKPOINT_FILE).touch()
    with leases.hold_lease(tmp_path, busy.run_id):
        cleanup.remove_finished_leftovers(tmp_path, [config.run_id for config in configs])
    names = [sorted(path.name for path in (tmp_path / c.run_id).iterdir()) for c in configs]
    assert names == [["record.json"], *[["begun.json", "last.ckpt", "record.json"]] * 2]


# A second training of a done run


@pytest.fixture
def done_twice(tiny, tmp_path):
    """A done run, its files, and a second training that fails in its second epoch."""

    def again(error):
        config = tiny()
        record = train(config, tmp_path)
        names = ("record.json", "history.csv", "predictions.npz")
        before = {name: (tmp_path / config.run_id / name).read_bytes() for name in names}

        def stop(body):
            if body["epoch"] == 1:
                raise error

        return config, record, before, lambda: train(config, tmp_path, stop, reuse=False)

    return again


def test_a_failed_retraining_restores_the_previous_results(done_twice, tmp_path):
    config, record, before, again = done_twice(RuntimeError("lost"))
    assert again().status == "failed"
    folder = tmp_path / config.run_id
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert records.find_record(tmp_path, config.run_id) == record
    assert not (folder / previous_results.PREVIOUS_FOLDER).exists()


def test_an_interrupted_retraining_resumes_and_replaces_the_first(done_twice, tmp_path):
    config, record, before, again = done_twice(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        again()
    folder = tmp_path / config.run_id
    # The previous results are kept together until the new record is there.
    assert records.find_record(tmp_path, config.run_id) is None
    assert {
        name: (folder / previous_results.PREVIOUS_FOLDER / name).read_bytes() for name in before
    } == before
    assert run_state.find_run_state(tmp_path, config.run_id).stopped
    finished = train(config, tmp_path)
    assert finished.metrics == record.metrics
    assert not (folder / previous_results.PREVIOUS_FOLDER).exists()
    assert not (folder / records.RUN_STATE_FILE).exists()
