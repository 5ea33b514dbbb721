"""The tracker without a server: modes, errors in one line, offline runs and reading them back."""

from __future__ import annotations

import json
import os
import shutil
import sys

import pytest

from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.errors import TrackerError
from ablations.store import history_csv
from ablations.store.predictions import load_predictions
from ablations.store.records import Record
from ablations.tracking import client
from ablations.tracking.reading import read_offline
from ablations.tracking.tracker import GuardedTracker, Tracker
from ablations.training.train import train
from tests.factories.processes import run

pytestmark = pytest.mark.usefixtures("no_account")
KEY = "0123456789" * 4


# Online or offline


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "offline"),
        ({"WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_MODE": "online"}, "needs an API key"),
        ({"WANDB_MODE": "onlien"}, "none of online, offline, disabled"),
        ({"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r"}, "needs an API key"),
        ({"WANDB_API_KEY": KEY}, "online"),
        ({"WANDB_API_KEY": KEY, "WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "r"}, "online"),
        ({"WANDB_API_KEY": "short"}, "refuses the API key"),
    ],
)
def test_the_mode_is_online_with_an_api_key_and_offline_without(variables, mode):
    """In a process of its own: the client remembers a key that it has seen."""
    code = (
        "from ablations.tracking import client\n"
        "try:\n    print(client.mode())\nexcept ValueError as error:\n    print(error)"
    )
    done = run("python", "-c", code, variables=variables)
    assert done.returncode == 0, done.stderr
    assert mode in done.stdout
    assert done.stdout.count("\n") == 1
    assert not done.stderr


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("POST http://x/graphql giving up after 3 attempt(s)\nwhile retrying", "cannot be reached"),
        ("Timed out initializing run", "cannot be reached"),
        ("invalid character '<' looking for beginning of value", "does not answer as W&B does"),
        ("user is not logged in", "refuses the API key"),
        ("entity nobody not found", "entity nobody not found"),
        (f"key {KEY} is wrong", "key *** is wrong"),
    ],
)
def test_errors_of_the_client_are_reported_in_one_line_without_the_key(
    monkeypatch, message, expected
):
    import wandb

    monkeypatch.setenv("WANDB_API_KEY", KEY)
    line = client.describe_error(wandb.Error(message))
    assert expected in line
    assert "\n" not in line
    assert KEY not in line


class Broken(Tracker):
    def __init__(self, folder):
        super().__init__()
        self.folder, self.calls = folder, []

    def log(self, epoch, metrics):
        self.calls.append("log")
        raise RuntimeError("lost")

    def finish(self, record, files):
        self.calls.append("finish")


def test_a_failing_tracker_is_reported_once_and_still_finished(tmp_path, caplog):
    inner = Broken(tmp_path)
    tracker = GuardedTracker(inner)
    for epoch in (1, 2):
        tracker.log(epoch, {})
    tracker.finish(Record("a", "finished", {}), [])
    assert inner.calls == ["log", "finish"]
    assert tracker.unsent == tmp_path
    assert caplog.text.count("lost") == 1


def test_a_tracker_error_is_one_of_ours():
    assert issubclass(TrackerError, ValueError)


# Offline runs


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A run that was trained offline with a key in the environment, and its folder."""
    from tests.factories.configs import TINY

    results = tmp_path_factory.mktemp("offline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_API_KEY", KEY)
        config = resolve("mini", {**TINY, "system.tracker": "wandb", "system.log_model": True})
        record = train(config, results)
    return record, results


def test_an_offline_folder_contains_the_record(offline):
    record, results = offline
    found = read_offline(results / "wandb")
    assert [read for read, _ in found.records] == [record]
    (run_folder,) = (results / "wandb").glob("offline-run-*")
    assert [read for read, _ in read_offline(run_folder).records] == [record]
    rows = history_csv.read_history(run_folder / "files" / "history.csv")
    assert rows == history_csv.read_history(results / record.run_id / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert load_predictions(run_folder / "files", record)


def test_records_on_disk_and_in_an_offline_folder_are_merged(offline, tmp_path, capsys):
    _, results = offline
    (run_folder,) = (results / "wandb").glob("offline-run-*")
    shutil.copytree(run_folder, tmp_path / "wandb" / run_folder.name)
    (tmp_path / "wandb" / "offline-run-20260101_000000-foreign" / "files").mkdir(parents=True)
    assert main(["table", str(results), "--format", "csv"]) == 0
    alone = capsys.readouterr().out
    assert main(["table", str(results), "--offline", str(tmp_path / "wandb"), "--format=csv"]) == 0
    both = capsys.readouterr()
    assert both.out == alone
    assert both.err == "skipped: runs without a record of ours: 1\n"
    assert main(["table", "--offline", str(tmp_path / "wandb"), "--format", "csv"]) == 0
    assert capsys.readouterr().out == alone


def test_an_offline_record_with_other_numbers_is_reported(offline, tmp_path, capsys):
    _, results = offline
    (run_folder,) = (results / "wandb").glob("offline-run-*")
    shutil.copytree(run_folder, tmp_path / run_folder.name)
    file = tmp_path / run_folder.name / "files" / "record.json"
    tree = json.loads(file.read_text())
    tree["metrics"]["val/top1"]["last"] += 1
    file.write_text(json.dumps(tree))
    assert main(["table", str(results), "--offline", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert f"left out: {tmp_path / run_folder.name} differs" in printed.err
    file.write_text("{")
    assert main(["table", str(results), "--offline", str(tmp_path)]) == 1
    assert "is not a record" in capsys.readouterr().err


def test_the_log_has_the_epochs_and_no_file_has_the_key(offline):
    record, results = offline
    assert "epoch 2/2: top-1" in (results / record.run_id / "log.txt").read_text()
    for path in results.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--offline", "nowhere"], "no offline runs of W&B in nowhere"),
        (["--wandb", "a/b/c/d"], "is no W&B project"),
        (["--wandb", "lab//"], "is no W&B project"),
        (["--wandb", "lab/ablations/runs/x"], "is no W&B project"),
        (["--wandb", "lab/x", "--filter", "{x"], "is not JSON"),
        (["--wandb", "lab/x", "--filter", "[1]"], "must be a mapping"),
        (["--filter", "{}"], "give --wandb PATH"),
        (["--finished"], "give --wandb PATH"),
    ],
)
def test_wrong_sources_of_a_table(words, expected, capsys):
    assert main(["table", *words]) == 2
    line = capsys.readouterr().err
    assert expected in line
    assert line.count("\n") == 1


def test_a_disabled_tracker_writes_no_files(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    record = train(tiny(**{"system.tracker": "wandb", "optim.epochs": 1}), tmp_path)
    assert record.tracker == {}
    assert "tracker" not in (tmp_path / record.run_id / "log.txt").read_text()
    assert main(["table", str(tmp_path), "--publish"]) == 2


def test_arguments_that_are_not_utf_8_are_escaped_for_the_client(monkeypatch):
    words = ["ablations", "train", "--data.root", os.fsdecode(b"caf\xe9")]
    monkeypatch.setattr(sys, "argv", words)
    with client._utf8_arguments():
        assert sys.argv == [*words[:3], r"caf\udce9"]
    assert sys.argv == words
