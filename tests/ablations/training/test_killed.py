"""Studies whose processes are killed at random moments, and studies that runners share."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ablations.store import leases, records
from tests.factories.processes import (
    assert_tidy,
    command,
    epochs,
    metrics,
    processes,
    stamps,
)


@pytest.fixture
def twelve(tmp_path) -> Path:
    """A study of twelve short cells: four pool sizes, three seeds."""
    grid = {"model.pool_size": {"values": [3, 5, 7, 9]}, "seed": {"values": [0, 1, 2]}}
    path = tmp_path / "twelve.yaml"
    path.write_text(yaml.safe_dump({"method": "grid", "parameters": grid}))
    return path


class Victim:
    """A runner that is killed, alone, with all its workers, or but for one of them, and restarted.

    Args:
        words: The command.
        results: Its folder of results.
        generator: Chooses whom and when: so many epochs on, and a fraction of a second.
    """

    def __init__(self, words: list[str], results: Path, generator: random.Random) -> None:
        self.words, self.results, self.generator = words, results, generator
        self.runner: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        if self.runner is None or self.runner.poll() is not None:
            quiet = subprocess.DEVNULL
            self.runner = subprocess.Popen(self.words, stdout=quiet, stderr=quiet)
        goal = epochs(self.results) + self.generator.choice([0, 1, 1, 2, 3])
        while epochs(self.results) < goal and self.runner.poll() is None:
            time.sleep(0.01)
        time.sleep(self.generator.uniform(0, 1.5))
        workers = processes(self.runner.pid)
        whom = self.generator.choice(["a worker", "the runner", "all"])
        victims = [self.runner.pid, *(workers if whom == "all" else [])]
        if whom == "a worker":
            victims = self.generator.sample(workers, min(1, len(workers)))
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if whom != "a worker":
            self.runner.wait()

    def end(self) -> None:
        if self.runner:
            self.runner.kill()
            self.runner.wait()


@pytest.mark.slow
def test_a_study_killed_at_twenty_random_moments_ends_as_if_nothing_had_been(twelve, tmp_path):
    undisturbed, results = tmp_path / "undisturbed", tmp_path / "runs"
    longer = ["--optim.epochs=6"]
    subprocess.run(
        command(twelve, undisturbed, *longer), check=True, capture_output=True, timeout=900
    )
    victim = Victim(command(twelve, results, *longer), results, random.Random(6))
    done = dict[Path, tuple[int, int]]()
    try:
        for _ in range(20):
            victim.kill()
            now = stamps(results)
            # No cell that is done is trained, or written, once more.
            assert {path: now.get(path) for path in done} == done
            done = now
    finally:
        victim.end()
    assert len(done) < 12  # each of the twenty had something to kill
    again = subprocess.run(
        command(twelve, results, *longer), capture_output=True, text=True, timeout=900
    )
    assert again.returncode == 0, again.stderr
    assert {path: stamps(results)[path] for path in done} == done
    assert metrics(results) == metrics(undisturbed)
    assert len(metrics(results)) == 12
    assert_tidy(results)


@pytest.mark.slow
def test_two_runners_on_one_folder_train_each_cell_once(twelve, tmp_path):
    results = tmp_path / "runs"
    words = command(twelve, results, "--optim.epochs=1", "--workers=1")
    both = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [runner.communicate(timeout=500) for runner in both]
    assert [runner.returncode for runner in both] == [0, 0], said
    assert said[0][0] == said[1][0]  # the same table
    summaries = [stderr.splitlines()[-1] for _, stderr in said]
    trained = [int(line.split(" trained")[0].rsplit(" ", 1)[-1]) for line in summaries]
    assert sum(trained) == 12, summaries
    assert min(trained) > 0, summaries
    assert len(metrics(results)) == 12
    for folder in results.glob("*/log.txt"):
        assert folder.read_text().count("epoch 1/1:") == 1
    assert_tidy(results)


@pytest.mark.slow
def test_a_runner_takes_over_what_another_one_leaves(twelve, tmp_path):
    """The first is killed with a cell in its hands; the second, already waiting, finishes it."""
    results = tmp_path / "runs"
    words = command(twelve, results, "--workers=1", "--seeds=0", "--optim.epochs=6")
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(results.glob("*/last.ckpt")):
        assert first.poll() is None
        time.sleep(0.05)
    (held,) = leases.active_leases(results)
    second = subprocess.Popen(
        [*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert second.stdout
    for line in second.stdout:
        event = json.loads(line)
        if event["event"] == "elsewhere":
            assert event["run_id"] == held
            assert "trains it" in event["who"]
            break
    first.kill()
    first.wait()
    stdout, stderr = second.communicate(timeout=500)
    assert second.returncode == 0, stderr
    told = [json.loads(line) for line in stdout.splitlines()]
    assert {"again", "done"} <= {event["event"] for event in told if event.get("run_id") == held}
    assert told[-1]["event"] == "end"
    assert told[-1]["trained"] + told[-1]["elsewhere"] == 4
    assert len(metrics(results)) == 4
    assert_tidy(results)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system takes a machine's root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 40_000, 150_000])  # for nothing, a lease, some cells
def test_a_full_disk_is_told_and_the_study_ends_well_once_there_is_space(
    twelve, small_disk, tmp_path, room
):
    results, ballast = small_disk / "runs", small_disk / "ballast"
    few = ["--seeds=0", "--workers=1"]
    ballast.write_bytes(b"0" * (shutil.disk_usage(small_disk).free - room))
    full = subprocess.run(command(twelve, results, *few), capture_output=True, text=True)
    assert full.returncode in (1, 2), full
    assert "No space left on device" in full.stderr
    assert "Traceback" not in full.stderr
    for path in results.glob("*/record.json"):
        assert records.Record.read(path).status == "finished"  # whole, or not there
    ballast.unlink()
    again = subprocess.run(command(twelve, results, *few), capture_output=True, text=True)
    assert again.returncode == 0, again
    undisturbed = tmp_path / "undisturbed"
    subprocess.run(command(twelve, undisturbed, *few), check=True, capture_output=True)
    assert metrics(results) == metrics(undisturbed)
    assert_tidy(results)


@pytest.mark.slow
def test_files_that_may_not_grow_are_told_as_a_full_disk_is(twelve, tmp_path):
    """RLIMIT_FSIZE: what a quota does to the checkpoint, while small files can be written."""
    results = tmp_path / "runs"
    words = command(twelve, results, "--seeds=0", "--workers=1")

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    full = subprocess.run(words, capture_output=True, text=True, preexec_fn=limited)
    assert full.returncode == 1, full
    assert full.stderr.count("File too large") == 8  # as it happens, and at the end
    assert "0 failed, 4 refused" in full.stderr
    assert not list(results.glob("*/*.json.*"))
    assert not list(results.glob("*/record.json"))
    assert subprocess.run(words, capture_output=True).returncode == 0
    assert len(metrics(results)) == 4
    assert_tidy(results)
