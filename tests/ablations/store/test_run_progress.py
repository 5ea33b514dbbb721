"""Progress of a run: counted by batches, written, read and described."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.cli.main import main
from ablations.errors import LeaseLostError
from ablations.store import cleanup, leases, records, run_progress, run_state
from ablations.store.run_progress import RunProgress, describe_progress, describe_stall
from ablations.training import progress_callback
from ablations.training.train import train

HERE = RunProgress(2, 3, "training", 9, 20, 0.4512, 1024.4, 200.0)


def test_progress_survives_the_disk(tmp_path):
    run_progress.write_progress(tmp_path, HERE)
    found = run_progress.read_progress(tmp_path)
    assert found
    assert found[0] == HERE
    assert abs(found[1] - time.time()) < 600
    assert [path.name for path in tmp_path.iterdir()] == [records.PROGRESS_FILE]
    run_progress.remove_progress(tmp_path)
    run_progress.remove_progress(tmp_path)
    assert run_progress.read_progress(tmp_path) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("epoch", 0),
        ("epoch", 4),
        ("epoch", True),
        ("epoch", 10**400),
        ("epochs", "3"),
        ("phase", "\x1b[31m"),
        ("batch", -1),
        ("batches", [1]),
        ("fraction", 1.5),
        ("fraction", float("nan")),
        ("images_per_second", "fast"),
        ("images_per_second", float("inf")),
        ("seconds_left", -1),
        ("unknown", 1),
    ],
)
def test_invalid_progress_is_ignored(tmp_path, changed, value):
    (tmp_path / records.PROGRESS_FILE).write_text(json.dumps({**HERE.to_json(), changed: value}))
    assert run_progress.read_progress(tmp_path) is None


@given(st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b"null", b"[]", b'{"epoch": 1}']))
def test_any_file_content_is_handled(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    (folder / records.PROGRESS_FILE).write_bytes(content)
    assert run_progress.read_progress(folder) is None


def test_errors_of_writing_are_ignored(tmp_path):
    run_progress.write_progress(tmp_path / "gone", HERE)
    (tmp_path / records.PROGRESS_FILE).mkdir()
    run_progress.write_progress(tmp_path, HERE)
    run_progress.remove_progress(tmp_path)


def test_progress_is_described():
    assert describe_progress(HERE) == "epoch 2/3 45%, 1,024 images/s, 3.3 min left"
    assert str(replace(HERE, phase="validating")) == "2/3 validating"
    assert describe_progress(RunProgress(1, 3, "training", 1, 20, 0.05)) == "epoch 1/3 5%"
    assert HERE.done == pytest.approx((1 + 0.4512) / 3)
    assert describe_stall(59) == ""
    assert describe_stall(180) == "last batch 3 min ago"


@pytest.fixture
def reports(tiny, tmp_path, monkeypatch):
    """``reports(until)``: what a run reports of each batch, ended at a position or not at all."""
    monkeypatch.setattr(progress_callback, "REPORT_SECONDS", 0.0)
    monkeypatch.setattr(progress_callback, "WRITE_SECONDS", 0.0)
    config = tiny()

    def run(stop=lambda _: False, reuse=True):
        found: list[tuple[RunProgress, dict]] = []

        def report(here: RunProgress) -> None:
            text = (tmp_path / config.run_id / records.PROGRESS_FILE).read_text()
            found.append((here, json.loads(text)))
            if stop(here):
                raise KeyboardInterrupt

        try:
            record = train(config, tmp_path, reuse=reuse, on_progress=report)
        except KeyboardInterrupt:
            record = None
        assert not list((tmp_path / config.run_id).glob("*progress*"))
        return found, record

    return run


def test_a_run_reports_its_batches_also_after_resuming(reports, tiny, tmp_path):
    """8,000 images in batches of 250, 2,000 of validation: ended in epoch 2, and resumed there."""
    found, record = reports(stop=lambda here: here.epoch == 2 and here.batch == 5)
    assert record is None
    assert all(here.to_json() == written for here, written in found)
    first = [here for here, _ in found if here.epoch == 1]
    trained = [here for here in first if here.phase == "training"]
    validated = [here for here in first if here.phase == "validating"]
    assert [here.batch for here in trained] == list(range(1, 33))
    assert {here.batches for here in trained} == {32}
    assert [here.batch for here in validated] == list(range(1, validated[0].batches + 1))
    fractions = [here.fraction for here in first]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert 0.9 < trained[-1].fraction < 1  # validation is a part of the epoch
    assert first[0].seconds_left is None
    assert all(here.seconds_left > 0 and here.images_per_second > 0 for here in trained[1:])

    found, record = reports()
    assert (found[0][0].epoch, found[0][0].batch) == (2, 1)
    assert found[-1][0].done == 1
    assert record.status == "finished"
    # It observes only: the numbers are those of a run that nobody watches.
    (tmp_path / "alone").mkdir()
    assert record.metrics == train(tiny(), tmp_path / "alone").metrics


def test_reports_are_spaced_in_time(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(progress_callback, "REPORT_SECONDS", 1e9)
    found: list[RunProgress] = []
    train(tiny(**{"optim.epochs": 1}), tmp_path, on_progress=found.append)
    assert [(here.epoch, here.batch) for here in found] == [(1, 1)]


def test_the_progress_file_stays_when_another_process_took_the_run_over(tmp_path):
    made = progress_callback.ProgressCallback.__new__(progress_callback.ProgressCallback)
    made.folder = tmp_path
    run_progress.write_progress(tmp_path, HERE)
    with pytest.raises(LeaseLostError), made:
        raise LeaseLostError
    assert run_progress.read_progress(tmp_path)
    with pytest.raises(ZeroDivisionError), made:
        raise ZeroDivisionError
    assert run_progress.read_progress(tmp_path) is None


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    run_progress.write_progress(tmp_path, HERE)
    assert cleanup.find_leftovers(tmp_path) == [tmp_path / records.PROGRESS_FILE]
    cleanup.remove_leftovers(tmp_path)
    assert not os.listdir(tmp_path)


def test_status_shows_progress_and_its_age(tiny, tmp_path, capsys):
    config = tiny()
    run_state.RunState(config.run_id, config.to_json()).write(tmp_path)
    folder = tmp_path / config.run_id

    def status_output(*words: str) -> str:
        assert main(["status", "--results", str(tmp_path), *words]) == 0
        return capsys.readouterr().out

    run_progress.write_progress(folder, replace(HERE, epochs=2, epoch=1))
    assert "1/2" not in status_output()  # left by a process that was killed
    with leases.hold_lease(tmp_path, config.run_id):
        assert "1/2 45%" in status_output()
        assert "1024" in status_output()
        assert "3.3 min" in status_output()
        assert "last batch" not in status_output()
        (run,) = json.loads(status_output("--json"))["runs"]
        assert run["progress"] == {
            **replace(HERE, epochs=2, epoch=1).to_json(),
            "seconds_ago": run["progress"]["seconds_ago"],
        }
        assert run["epoch"] == 0
        old = time.time() - 180
        os.utime(folder / records.PROGRESS_FILE, (old, old))
        assert "last batch 3" in status_output()
        run_progress.write_progress(folder, HERE)  # of other epochs than the run has
        assert "0/2" in status_output()
        (folder / records.PROGRESS_FILE).write_text("[" * 50_000)
        assert "0/2" in status_output()
