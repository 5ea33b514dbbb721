"""The tracker without a server: names, config, modes, offline runs and reading them back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wandb.sdk.launch.sweeps import utils as wandb_sweeps

from ablations import begun, records
from ablations.__main__ import main
from ablations.config import id_of, with_floats
from ablations.flags import separate
from ablations.records import Record
from ablations.resolve import recipe_names, resolve
from ablations.tracking import TrackerError, client, read_offline
from ablations.tracking.mirror import mirrored_config, named
from ablations.tracking.tracker import Guarded, Tracker
from ablations.train import train
from poolformer.config import ConfigError

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def no_account(tmp_path_factory, monkeypatch):
    """Neither variables nor a home of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.delenv("NETRC", raising=False)


# What the agent sends


def sent(**values):
    """The words that the client's own function makes of a cell."""
    args = {name: {"value": value} for name, value in values.items()}
    return wandb_sweeps.create_sweep_command_args({"args": args})["args"]


NUMBERS = st.floats(1e-12, 1e3)
VALUES = {
    "optim.lr": st.one_of(st.none(), NUMBERS),
    "optim.grad_clip": st.one_of(st.none(), NUMBERS),
    "optim.weight_decay": NUMBERS,
    "optim.betas": st.lists(st.floats(0, 0.999), min_size=2, max_size=2),
    "model.residual": st.booleans(),
    "model.depths": st.lists(st.integers(1, 9), min_size=4, max_size=4),
    "model.token_mixers": st.lists(
        st.sampled_from(["pool", "identity", "attention"]), min_size=4, max_size=4
    ),
    "model.layer_scale_init": st.one_of(st.none(), NUMBERS),
    "seed": st.integers(0, 2**31 - 1),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_values_arrive_as_they_were_however_the_agent_spells_them(values):
    _, fields = separate(["train", *sent(**values)])
    assert resolve("mini", fields) == resolve("mini", values)


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_nested_parameters_arrive_as_one_python_dict(values):
    groups = {}
    for name, value in values.items():
        group, _, field = name.partition(".")
        if field:
            groups.setdefault(group, {})[field] = value
        else:
            groups[group] = value
    _, fields = separate(["train", *sent(**groups)])
    assert resolve("mini", fields) == resolve("mini", values)


def test_what_wandb_adds_to_a_requeued_run_is_left_out():
    words = sent(**{"_wandb": {"t": {"1": [5.0, "a"]}}, "model.norm": "batch"})
    assert separate(["train", *words]) == (["train"], {"model.norm": "batch"})


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("--model={'pool_sise': 3}", "did you mean 'model.pool_size'"),
        ("--model={'norm'", "not a mapping"),
        ("--optim=[1]", "not a mapping"),
        ("--modle.norm=batch", "did you mean 'model.norm'"),
    ],
)
def test_a_wrong_parameter_is_named(word, told):
    with pytest.raises(ConfigError, match=told):
        separate(["train", word])


@pytest.fixture
def under_an_agent(tmp_path, monkeypatch):
    """As if an agent had started this process for a run with these parameters."""

    def start(**values):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({k: {"value": v} for k, v in values.items()}))
        monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(path))
        monkeypatch.setenv("WANDB_SWEEP_ID", "s")
        monkeypatch.setenv("WANDB_RUN_ID", "r")

    return start


def test_the_config_leaves_swept_keys_to_the_agent(tiny, under_an_agent):
    run = tiny(seed=1)
    assert mirrored_config(run) == {"run_id": run.run_id, **run.to_json()}
    under_an_agent(**{"seed": 1, "model.pool_size": 3, "wandb_version": 1})
    whole = mirrored_config(run)
    assert "seed" not in whole
    assert "resolved" not in whole
    assert {**whole, "seed": 1} == {"run_id": run.run_id, **run.to_json()}
    under_an_agent(model={"pool_size": 3}, seed="1")
    assert mirrored_config(run)["resolved"] == run.to_json()


@pytest.mark.parametrize("recipe", recipe_names())
def test_a_config_that_lost_its_points_is_found_again(recipe):
    config = resolve(recipe)

    def whole(value):
        if isinstance(value, dict):
            return {name: whole(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [whole(inner) for inner in value]
        return int(value) if isinstance(value, float) and value == int(value) else value

    lost = whole(config.to_json())
    assert json.dumps(with_floats(lost)) == json.dumps(config.to_json())
    assert id_of(with_floats(lost)) == config.run_id


# What a run is called


def test_a_run_is_named_after_its_row_and_grouped_by_its_cell(monkeypatch):
    small = {"model.pool_size": 5, "optim.epochs": 1, "optim.warmup_epochs": 0}
    first, second = (named(resolve("mini", {**small, "seed": seed})) for seed in (0, 1))
    assert first["name"] == "Pooling size 3 -> 5, seed 0"
    assert second["name"] == "Pooling size 3 -> 5, seed 1"
    assert first["group"] == second["group"]
    assert first["group"].startswith("mini: pool_size=5, epochs=1")
    assert (first["job_type"], first["tags"]) == ("train", ["Token mixers", "mini"])
    assert named(resolve("mini", {"optim.epochs": 1, "optim.warmup_epochs": 0}))["name"] == (
        "Baseline, seed 0"
    )
    groups = {named(resolve(recipe))["group"] for recipe in recipe_names()}
    assert len(groups) == len(recipe_names())
    many = {"optim.lr": 0.123456789012, "model.dims": [10, 20, 30, 41], "optim.eps": 1e-9}
    long = named(resolve("mini", {**many, "model.depths": [1, 1, 1, 2], "data.hflip": 0.25}))
    assert len(long["group"]) <= 128
    assert long["group"] != named(resolve("mini", {**many, "data.hflip": 0.25}))["group"]


def test_the_size_is_named_as_in_the_paper():
    assert named(resolve("imagenet", preset="s24"))["name"] == "S12 -> S24, seed 0"


def test_the_project_is_the_configs_or_the_environments(monkeypatch):
    assert client.home(resolve("mini").system) == (None, "metaformer-ablations")
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_ENTITY", "lab")
    assert client.home(resolve("mini").system) == ("lab", "theirs")
    assert client.home(resolve("mini", {"system.project": "mine"}).system) == ("lab", "mine")


# Where it goes


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
def test_online_with_an_account_offline_without(variables, mode):
    """In a process of its own: the client remembers a key that it has seen."""
    code = (
        "from ablations.tracking import client\n"
        "try:\n    print(client.mode())\nexcept ValueError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert mode in done.stdout
    assert done.stdout.count("\n") == 1
    assert not done.stderr


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("POST http://x/graphql giving up after 3 attempt(s)\nwhile retrying", "cannot be reached"),
        ("Timed out initializing run", "cannot be reached"),
        ("invalid character '<' looking for beginning of value", "does not answer as W&B does"),
        ("user is not logged in", "refuses the API key"),
        ("entity nobody not found", "entity nobody not found"),
        (f"key {KEY} is wrong", "key *** is wrong"),
    ],
)
def test_errors_of_the_client_are_one_line_without_the_key(monkeypatch, message, told):
    import wandb

    monkeypatch.setenv("WANDB_API_KEY", KEY)
    line = client.plain(wandb.Error(message))
    assert told in line
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


def test_a_tracker_that_fails_is_told_once_and_still_ended(tmp_path, caplog):
    inner = Broken(tmp_path)
    tracker = Guarded(inner)
    for epoch in (1, 2):
        tracker.log(epoch, {})
    tracker.finish(Record("a", "finished", {}), [])
    assert inner.calls == ["log", "finish"]
    assert tracker.unsent == tmp_path
    assert caplog.text.count("lost") == 1


# Offline runs


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """A run that was trained offline with a key in the environment, and its folder."""
    from tests.conftest import TINY

    results = tmp_path_factory.mktemp("offline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_API_KEY", KEY)
        config = resolve("mini", {**TINY, "system.tracker": "wandb", "system.log_model": True})
        record = train(config, results)
    return record, results


def test_an_offline_folder_gives_the_record_back(offline):
    record, results = offline
    found = read_offline(results / "wandb")
    assert [read for read, _ in found.records] == [record]
    (place,) = (results / "wandb").glob("offline-run-*")
    assert [read for read, _ in read_offline(place).records] == [record]
    rows = records.read_history(place / "files" / "history.csv")
    assert rows == records.read_history(results / record.run_id / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2]


def test_disk_and_offline_folder_are_one_study(offline, tmp_path, capsys):
    _, results = offline
    (place,) = (results / "wandb").glob("offline-run-*")
    shutil.copytree(place, tmp_path / "wandb" / place.name)
    (tmp_path / "wandb" / "offline-run-20260101_000000-foreign" / "files").mkdir(parents=True)
    assert main(["table", str(results), "--format", "csv"]) == 0
    alone = capsys.readouterr().out
    assert main(["table", str(results), "--offline", str(tmp_path / "wandb"), "--format=csv"]) == 0
    both = capsys.readouterr()
    assert both.out == alone
    assert both.err == "skipped: runs without a record of ours: 1\n"
    assert main(["table", "--offline", str(tmp_path / "wandb"), "--format", "csv"]) == 0
    assert capsys.readouterr().out == alone


def test_an_offline_record_with_other_numbers_is_told(offline, tmp_path, capsys):
    _, results = offline
    (place,) = (results / "wandb").glob("offline-run-*")
    shutil.copytree(place, tmp_path / place.name)
    file = tmp_path / place.name / "files" / "record.json"
    tree = json.loads(file.read_text())
    tree["metrics"]["val/top1"]["last"] += 1
    file.write_text(json.dumps(tree))
    assert main(["table", str(results), "--offline", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert f"left out: {tmp_path / place.name} differs" in told.err
    file.write_text("{")
    assert main(["table", str(results), "--offline", str(tmp_path)]) == 1
    assert "is not a record" in capsys.readouterr().err


def test_the_log_has_the_epochs_and_nothing_has_the_key(offline):
    record, results = offline
    assert "epoch 2/2: top-1" in (results / record.run_id / "log.txt").read_text()
    for path in results.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("words", "told"),
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
def test_wrong_sources_of_a_table(words, told, capsys):
    assert main(["table", *words]) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


def test_a_disabled_tracker_leaves_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    record = train(tiny(**{"system.tracker": "wandb", "optim.epochs": 1}), tmp_path)
    assert record.tracker == {}
    assert "tracker" not in (tmp_path / record.run_id / "log.txt").read_text()
    assert main(["table", str(tmp_path), "--publish"]) == 2


# Runs without a record


def test_a_start_tells_a_run_that_goes_on_from_one_that_crashed(tiny, tmp_path):
    config = tiny()
    (tmp_path / config.run_id).mkdir()

    def interrupted():
        with begun.marked(config, tmp_path, {"wandb": "x"}):
            assert begun.read(tmp_path, config.run_id).state == "running"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    start = begun.read(tmp_path, config.run_id)
    assert start.state == "interrupted"
    assert begun.tracker_ids(tmp_path, config.run_id, None) == {"wandb": "x"}
    with begun.marked(config, tmp_path, {}):
        pass
    assert begun.read(tmp_path, config.run_id) is None

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as sleeper:
        birth = begun.process_birth(sleeper.pid)
        other = begun.Begun(config.run_id, config.to_json(), pid=sleeper.pid, birth=birth)
        assert other.state == "running"
        sleeper.send_signal(signal.SIGKILL)
        while begun.process_birth(sleeper.pid):  # until it is a zombie
            pass
        assert other.state == "crashed"
    assert other.state == "crashed"
    far = begun.Begun(config.run_id, config.to_json(), host="elsewhere", pid=1, birth="0")
    assert far.state == "running"


def test_a_broken_note_of_a_start_is_no_obstacle(tiny, tmp_path):
    config = tiny()
    folder = tmp_path / config.run_id
    folder.mkdir()
    for text in ("", "[]", "{}", '{"run_id": 1, "odd": 2}'):
        (folder / begun.FILE).write_text(text)
        assert begun.read(tmp_path, config.run_id) is None


def test_status_tells_the_states_apart(tiny, tmp_path, capsys):
    cells = {
        state: tiny(seed=seed)
        for seed, state in enumerate(["finished", "failed", "crashed", "interrupted", "running"])
    }
    for state in ("finished", "failed"):
        config = cells[state]
        failure = {"kind": "oom", "message": "too big"} if state == "failed" else None
        metrics = {"val/top1": {"last": 81.5, "best": 82}} if state == "finished" else {}
        Record(config.run_id, state, config.to_json(), metrics=metrics, failure=failure).write(
            tmp_path
        )
    for state, more in (("crashed", {"birth": "0"}), ("interrupted", {"stopped": True})):
        config = cells[state]
        begun.Begun(config.run_id, config.to_json(), **more).write(tmp_path)
    config = cells["running"]
    begun.Begun(config.run_id, config.to_json()).write(tmp_path)
    records.write_history(
        tmp_path / config.run_id / "history.csv", [{"epoch": 1, "val/top1": 50.0}]
    )
    assert main(["status", "--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "5 runs: 1 running, 1 crashed, 1 interrupted, 1 failed, 1 finished"
    for state, config in cells.items():
        (line,) = [line for line in lines if config.run_id in line]
        assert f" {state} " in line
        assert f"seed {config.seed}" in line
    assert "oom: too big" in "".join(lines)
    assert "1/2      50.00" in "".join(lines)
    # A failed cell that was begun again and crashed has crashed.
    config = cells["failed"]
    begun.Begun(config.run_id, config.to_json(), birth="0").write(tmp_path)
    assert main(["status", "--results", str(tmp_path)]) == 0
    assert "5 runs: 1 running, 2 crashed, 1 interrupted, 1 finished" in capsys.readouterr().out
    assert main(["status", "--results", str(tmp_path / "none")]) == 2
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "record.json").write_text("{")
    assert main(["status", "--results", str(tmp_path)]) == 1


# A second training of a done cell


@pytest.fixture
def done_twice(tiny, tmp_path):
    """A done cell, what its folder had, and the same cell begun again until its second epoch."""

    def again(error):
        config = tiny()
        record = train(config, tmp_path)
        names = ("record.json", "history.csv")
        before = {name: (tmp_path / config.run_id / name).read_text() for name in names}

        def stop(body):
            if body["epoch"] == 1:
                raise error

        return config, record, before, lambda: train(config, tmp_path, stop, reuse=False)

    return again


def test_a_second_training_that_fails_leaves_what_there_was(done_twice, tmp_path):
    config, record, before, again = done_twice(RuntimeError("lost"))
    assert again().status == "failed"
    folder = tmp_path / config.run_id
    assert {name: (folder / name).read_text() for name in before} == before
    assert records.find(tmp_path, config.run_id) == record
    assert not (folder / records.PREVIOUS).exists()


def test_a_second_training_that_is_interrupted_goes_on_and_replaces_the_first(done_twice, tmp_path):
    config, record, before, again = done_twice(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        again()
    folder = tmp_path / config.run_id
    # No record beside half of another history; what there was is kept until the end.
    assert records.find(tmp_path, config.run_id) is None
    assert {name: (folder / records.PREVIOUS / name).read_text() for name in before} == before
    assert begun.read(tmp_path, config.run_id).state == "interrupted"
    finished = train(config, tmp_path)
    assert finished.metrics == record.metrics
    assert not (folder / records.PREVIOUS).exists()
    assert not (folder / begun.FILE).exists()


# Merging


def test_a_done_record_wins_over_a_failed_one_and_two_that_differ_are_told(tiny):
    config = tiny().to_json()
    good = Record("a", "finished", config, metrics={"val/top1": {"last": 1.0}})
    bad = Record("a", "failed", config)
    other = Record("a", "finished", config, metrics={"val/top1": {"last": 2.0}})
    assert records.merge([(bad, "x"), (good, "y"), (good, "z")]) == ([(good, "y")], [])
    assert records.merge([(good, "x"), (bad, "y")]) == ([(good, "x")], [])
    found, (problem,) = records.merge([(good, "x"), (other, "y")])
    assert found == [(good, "x")]
    assert problem.startswith("y differs from x in its metrics")


@pytest.mark.parametrize(
    ("name", "value"),
    [("metrics", "x"), ("metrics", {"val/top1": 3}), ("cost", []), ("failure", {"kind": "oom"})],
)
def test_a_record_with_a_field_of_another_kind_is_none(tiny, name, value):
    tree = {"schema": 1, "run_id": "a", "status": "finished", "config": tiny().to_json()}
    assert Record.of(tree, "here").run_id == "a"
    with pytest.raises(records.RecordError, match="here has a field that is no mapping"):
        Record.of({**tree, name: value}, "here")


# Variables of the environment


def test_results_and_data_come_from_the_environment(tiny, tmp_path, monkeypatch, capsys):
    sweep = tmp_path / "s.yaml"
    sweep.write_text("method: grid\nparameters:\n  model.pool_size: {values: [3]}\n")
    monkeypatch.setenv("ABLATIONS_RESULTS", str(tmp_path / "there"))
    monkeypatch.setenv("ABLATIONS_DATA_ROOT", str(tmp_path / "pictures"))
    monkeypatch.setenv("ABLATIONS_RECIPE", "imagenet")
    words = ["run", str(sweep), "--tracker=none", "--model.num_classes=3", "--workers=1"]
    assert main(words) == 2
    assert f"{tmp_path / 'pictures'}" in capsys.readouterr().err
    assert main([*words, "--data.root", "elsewhere"]) == 2
    assert "elsewhere" in capsys.readouterr().err
    assert main(["status"]) == 2
    assert f"no folder {tmp_path / 'there'}" in capsys.readouterr().err


def test_a_tracker_error_is_one_of_ours():
    assert issubclass(TrackerError, ValueError)
