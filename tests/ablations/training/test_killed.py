"""Studies whose processes are killed, that runners share, and whose disk is full."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablations.store import leases, records
from tests.factories.processes import (
    assert_tidy,
    count_epochs,
    kill,
    outcomes,
    record_stamps,
    run,
    study_command,
    study_configs,
    write_grid,
)

pytestmark = pytest.mark.slow
KILLS = 8


@pytest.fixture
def study(tmp_path) -> Path:
    """A study of four runs: two pool sizes, two seeds."""
    return write_grid(tmp_path / "study.yaml", pool_size=[3, 5], seed=[0, 1])


def test_a_study_killed_at_random_moments_ends_with_the_same_numbers(
    study, start, tmp_path, train_undisturbed
):
    """SIGKILL to the runner, a worker or all, after a random number of epochs."""
    results, choose = tmp_path / "runs", random.Random(6)
    command = study_command(study, results, "--optim.epochs=12")
    done = dict[Path, tuple[int, int]]()
    runner = start(*command)
    for _ in range(KILLS):
        if runner.process.poll() is not None:
            runner = start(*command)
        goal = count_epochs(results) + choose.choice([0, 1, 1, 2])
        runner.wait_until(lambda goal=goal: count_epochs(results) >= goal)
        time.sleep(choose.uniform(0, 0.5))
        workers = runner.children()
        target = choose.choice(["a worker", "the runner", "all"])
        if target == "a worker":
            kill(choose.sample(workers, min(1, len(workers))))
        else:
            kill([runner.pid, *(workers if target == "all" else [])])
            runner.process.wait()
        # No finished run is trained again, and no record written again.
        now = record_stamps(results)
        assert {path: now.get(path) for path in done} == done
        done = now
    kill(runner.descendants())
    assert len(done) < 4  # no machine trains 48 epochs between 8 kills
    again = run(*command)
    assert again.returncode == 0, again.stderr
    assert {path: record_stamps(results)[path] for path in done} == done
    assert outcomes(results) == train_undisturbed(study_configs(command))
    assert_tidy(results)


def test_two_runners_on_one_folder_train_each_run_once(study, start, tmp_path):
    results = tmp_path / "runs"
    command = study_command(study, results, "--optim.epochs=2", "--workers=1")
    ended = [runner.finish() for runner in [start(*command), start(*command)]]
    assert [each.returncode for each in ended] == [0, 0], ended
    assert ended[0].stdout == ended[1].stdout  # the same table
    summaries = [each.stderr.splitlines()[-1] for each in ended]
    trained = [int(line.split(" trained")[0].rsplit(" ", 1)[-1]) for line in summaries]
    assert sum(trained) == 4, summaries
    assert min(trained) > 0, summaries
    assert len(outcomes(results)) == 4
    for log in results.glob("*/log.txt"):
        assert log.read_text().count("epoch 1/2:") == 1
    assert_tidy(results)


def test_a_runner_takes_over_the_run_of_one_that_was_killed(start, tmp_path):
    """The second runner waits for the run of the first, and finishes it after the kill."""
    results, one = tmp_path / "runs", write_grid(tmp_path / "one.yaml", seed=[0])
    command = study_command(one, results, "--workers=1", "--optim.epochs=12")
    first = start(*command)
    first.wait_until(lambda: list(results.glob("*/last.ckpt")))
    (held,) = leases.active_leases(results)
    second = start(*command, "--json")
    event = second.wait_for_event(lambda event: event["event"] == "elsewhere")
    assert event["run_id"] == held
    assert "trains it" in event["who"]
    first.process.kill()
    first.process.wait()
    done = second.finish()
    assert done.returncode == 0, done.stderr
    *events, end = second.events
    assert {"again", "done"} <= {each["event"] for each in events if each.get("run_id") == held}
    assert end["event"] == "end"
    assert (end["trained"], end["elsewhere"]) == (1, 0)
    assert len(outcomes(results)) == 1
    assert_tidy(results)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


# No free space, space for a lease, space for one run.
@pytest.mark.parametrize("free", [0, 40_000, 150_000])
def test_a_full_disk_is_reported_and_the_study_ends_once_there_is_space(
    study, small_disk, tmp_path, train_undisturbed, free
):
    results, filler = small_disk / "runs", small_disk / "filler"
    command = study_command(study, results, "--seeds=0", "--workers=1", "--optim.epochs=1")
    filler.write_bytes(b"0" * (shutil.disk_usage(small_disk).free - free))
    full = run(*command)
    assert full.returncode in (1, 2), full
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr
    for path in results.glob("*/record.json"):
        assert records.Record.read(path).status == "finished"  # complete, or not written
    filler.unlink()
    again = run(*command)
    assert again.returncode == 0, again
    assert outcomes(results) == train_undisturbed(study_configs(command))
    assert_tidy(results)


def test_a_file_size_limit_is_reported_like_a_full_disk(study, tmp_path):
    """RLIMIT_FSIZE, like a quota, stops the checkpoint but not the small files."""
    results = tmp_path / "runs"
    command = study_command(study, results, "--seeds=0", "--workers=1", "--optim.epochs=1")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    full = run(*command, preexec=limit)
    assert full.returncode == 1, full
    assert (
        full.stderr.count("File too large") == 4
    )  # for each of the two runs, at once and at the end
    assert "0 failed, 2 refused" in full.stderr
    assert not list(results.glob("*/*.json.*"))
    assert not list(results.glob("*/record.json"))
    assert run(*command).returncode == 0
    assert len(outcomes(results)) == 2
    assert_tidy(results)
