"""The real client and its agent against a W&B server of these tests: runs, sweeps, tables."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ablations import records
from ablations.resolve import resolve
from tests.conftest import TINY
from tests.wandb_server import API_KEY, Run, WandbServer
from tests.wandb_server.client import ROOT, ask, cli, outcome, start, until, wandb
from tests.wandb_server.runs import new_run

SMALL = {name: value for name, value in TINY.items() if name != "system.tracker"}
WORDS = [f"--{name}={value}" for name, value in SMALL.items()]
BASE = resolve("mini", SMALL)


def make_sweep(server: WandbServer, folder: Path, **grid: list[Any]) -> str:
    """The shipped pool_size.yaml with other parameters; the path that ``wandb agent`` takes."""
    config = yaml.safe_load((ROOT / "sweeps" / "pool_size.yaml").read_text())
    config["parameters"] = {name: {"value": value} for name, value in SMALL.items()}
    config["parameters"] |= {name: {"values": values} for name, values in grid.items()}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(config))
    wandb(server, folder, "sweep", "sweep.yaml")
    return f"{server.entity}/{server.project}/{next(reversed(server.sweeps))}"


def table(server: WandbServer, folder: Path, *words: str) -> str:
    """The table as CSV, from sources that give no reason to complain."""
    done = cli(server, folder, "table", *words, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.count("\n") > 1
    return done.stdout


def epochs(run: Run) -> list[int]:
    return [row["epoch"] for row in run.history]


def assert_no_key(server: WandbServer, folder: Path) -> None:
    key = API_KEY.encode()
    for path in folder.rglob("*"):
        assert not path.is_file() or key not in path.read_bytes(), path
    for run in server.runs.values():
        sent = [run.raw_config, run.summary, run.history, run.events, run.logs, run.tags, run.name]
        assert API_KEY not in json.dumps(sent)
        assert not any(key in content for content in run.files.values())
    for artifact in server.artifacts.values():
        assert not any(key in content for content in artifact.files.values())


# One run


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WandbServer, Path, Run]]:
    """A server, the folder of a run that was trained with it, and the run there."""
    folder = tmp_path_factory.mktemp("online")
    with WandbServer() as server:
        done = cli(server, folder, "train", *WORDS, "--system.log_model=true")
        assert (done.returncode, done.stderr) == (0, ""), done
        (run,) = server.runs.values()
        yield server, folder, run
        assert not server.unknown
        assert not server.errors
        assert_no_key(server, folder)


def test_a_run_is_complete(online: tuple[WandbServer, Path, Run]) -> None:
    server, folder, run = online
    record = records.find(folder / "runs", BASE.run_id)
    assert record
    assert run.state == "finished"
    assert run.name == "depths [1,1,1,1], widths [8,8,16,16], seed 0"
    assert run.group
    assert run.group.endswith(BASE.variant_id)
    assert (run.job_type, run.tags) == ("train", ["Model size", "mini"])
    assert run.config == {"run_id": BASE.run_id, **record.config}
    assert record.tracker == {
        "wandb": run.id,
        "entity": "lab",
        "project": "ablations",
        "mode": "online",
        "sweep": None,
    }
    # The last epoch of this cell is its best.
    top1 = record.metrics["val/top1"]
    assert run.summary["val/top1"] == {"last": top1["last"], "max": top1["best"]}
    for name in ("cost", "timing", "environment", "data", "metrics"):
        assert run.summary[name] == getattr(record, name)
    assert epochs(run) == [1, 2]
    sections = {name.split("/")[0] for row in run.history for name in row if "/" in name}
    assert sections == {"train", "val"}
    loose = {name for row in run.history for name in row if "/" not in name and name[0] != "_"}
    assert loose == {"epoch"}
    steps = {name: step for name, (step, _) in axes(run).items()}
    assert {"val/top1", "train/*", "val/*"} <= set(steps)
    assert {step for name, step in steps.items() if name != "epoch"} == {"epoch"}
    assert "epoch 2/2: top-1" in "".join(run.logs)
    artifacts = {artifact.collection: artifact for artifact in server.artifacts.values()}
    assert set(artifacts) == {f"record-{BASE.run_id}", f"weights-{BASE.run_id}"}
    kept = artifacts[f"record-{BASE.run_id}"]
    on_disk = folder / "runs" / BASE.run_id
    assert kept.files["record.json"] == (on_disk / "record.json").read_bytes()
    assert kept.files["history.csv"] == (on_disk / "history.csv").read_bytes()
    weights = artifacts[f"weights-{BASE.run_id}"]
    assert weights.files == {"weights.pt": (on_disk / "weights.pt").read_bytes()}


def test_the_table_from_wandb_is_the_table_from_disk(
    online: tuple[WandbServer, Path, Run],
) -> None:
    server, folder, _ = online
    disk = table(server, folder, "runs")
    assert table(server, folder, "--wandb", "lab/ablations") == disk
    assert table(server, folder, "--wandb", "ablations", "--finished", "runs") == disk
    found = table(server, folder, "--wandb", "lab/ablations", "--filter", '{"tags": "mini"}')
    assert found == disk
    none = cli(server, folder, "table", "--wandb", "lab/ablations", "--filter", '{"tags": "x"}')
    assert none.returncode == 2
    assert "no records in lab/ablations" in none.stderr


def test_what_is_not_ours_is_counted_and_what_was_changed_is_told(
    online: tuple[WandbServer, Path, Run],
) -> None:
    server, folder, run = online
    foreign = new_run(server, "ablations", None)
    foreign.raw_config = {"lr": {"value": 0.1}}
    odd = new_run(server, "ablations", None)
    odd.raw_config = {**run.raw_config, "resolved": {"value": "x"}}
    odd.summary, odd.exit_code = run.summary, 0
    going_on = new_run(server, "ablations", None)
    going_on.raw_config, going_on.started = run.raw_config, True
    before = json.dumps(run.raw_config)
    run.raw_config["optim"]["value"]["lr"] = 0.5
    try:
        done = cli(server, folder, "table", "--wandb", "lab/ablations")
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            "skipped: runs without our config: 1",
            "skipped: runs that have not ended (running): 1",
            f"left out: lab/ablations/{run.id} has a config that is not that of its run_id "
            f"{BASE.run_id}",
            f"left out: lab/ablations/{odd.id} has a config that is no mapping",
        ]
    finally:
        run.raw_config = json.loads(before)
        del server.runs[foreign.id], server.runs[going_on.id], server.runs[odd.id]


def test_a_table_is_published(online: tuple[WandbServer, Path, Run]) -> None:
    server, folder, run = online
    done = cli(server, folder, "table", "runs", "--publish", "lab/tables")
    assert done.returncode == 0
    assert f"published: {server.url}/lab/tables/runs/" in done.stderr
    (published,) = [one for one in server.runs.values() if one is not run]
    assert (published.project, published.job_type, published.state) == (
        "tables",
        "table",
        "finished",
    )
    (artifact,) = [one for one in server.artifacts.values() if one.collection == "ablation-table"]
    assert set(artifact.files) == {"table.md", "table.csv", "table.tex", "table.html"}
    assert artifact.files["table.csv"].decode() == table(server, folder, "runs")
    (logged,) = [json.loads(file) for name, file in published.files.items() if "table" in name]
    cells = dict(zip(logged["columns"], logged["data"][0], strict=True))
    assert (cells["variant"], cells["n"], cells["run_ids"]) == (
        "depths [1,1,1,1], widths [8,8,16,16]",
        1,
        BASE.run_id,
    )


def test_a_cell_of_the_project_is_fetched_not_trained(
    online: tuple[WandbServer, Path, Run], tmp_path: Path
) -> None:
    """By `ablations run` on another machine; then its disk has what the first one's has."""
    server, folder, _ = online
    before = len(server.runs)
    sweep = tmp_path / "one.yaml"
    sweep.write_text("method: grid\nparameters:\n  seed: {values: [0]}\n")
    done = cli(server, tmp_path, "run", str(sweep), *WORDS)
    assert done.returncode == 0, done
    assert "1 cells: 0 trained, 1 reused, 0 failed" in done.stderr
    assert len(server.runs) == before
    there, here = (records.find(place / "runs", BASE.run_id) for place in (folder, tmp_path))
    assert there == here
    rows = [
        records.read_history(place / "runs" / BASE.run_id / "history.csv")
        for place in (folder, tmp_path)
    ]
    assert rows[0] == rows[1]


# What is wrong, in one line


@pytest.mark.parametrize(
    ("words", "env", "fault", "told"),
    [
        (["--wandb", "lab/ablations"], {"WANDB_API_KEY": ""}, None, "needs an API key"),
        (["--wandb", "lab/ablations"], {"WANDB_API_KEY": "short"}, None, "refuses the API key"),
        (["--wandb", "nobody/ablations"], {}, None, "has no project nobody/ablations"),
        (["--wandb", "lab/nothing"], {}, None, "has no project lab/nothing"),
        (["--wandb", "lab/ablations/none"], {}, None, "has no sweep lab/ablations/none"),
        (["--wandb", "lab/ablations"], {}, None, "no records in lab/ablations"),
        (["--wandb", "lab/ablations"], {}, "rubbish", "does not answer as W&B does"),
        (["--wandb", "lab/ablations"], {}, "401", "refuses the API key"),
    ],
)
def test_a_table_that_cannot_be_made(
    server: WandbServer,
    tmp_path: Path,
    words: list[str],
    env: dict[str, str],
    fault: str | None,
    told: str,
) -> None:
    server.fault = fault
    done = cli(server, tmp_path, "table", *words, **env)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert API_KEY not in done.stderr + done.stdout
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["500", "outage"])
def test_a_table_without_an_answer(server: WandbServer, tmp_path: Path, fault: str) -> None:
    if fault == "outage":
        server.stop_listening()
    else:
        server.fault = fault
    done = cli(server, tmp_path, "table", "--wandb", "lab/ablations")
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "env", "fault", "told"),
    [
        (["train"], {"WANDB_API_KEY": "", "WANDB_MODE": "online"}, None, "needs an API key"),
        (["train"], {}, "rubbish", "does not answer as W&B does"),
        (["run", "sweeps/pool_size.yaml"], {}, "401", "refuses the API key"),
        pytest.param(
            ["train"], {"WANDB_ENTITY": "nobody"}, None, "nobody not found", marks=pytest.mark.slow
        ),
        pytest.param(
            ["run", "sweeps/pool_size.yaml"],
            {"WANDB_ENTITY": "nobody"},
            None,
            "nobody not found",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_that_wandb_refuses(
    server: WandbServer,
    tmp_path: Path,
    words: list[str],
    env: dict[str, str],
    fault: str | None,
    told: str,
) -> None:
    server.fault = fault
    words = [str(ROOT / word) if word.endswith(".yaml") else word for word in words]
    done = cli(server, tmp_path, *words, *WORDS, "--results", "there", **env)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert API_KEY not in done.stderr + done.stdout
    left = [path.name for path in (tmp_path / "there").glob("*")]
    assert left in ([], ["workers.log"])


# The agent


@pytest.mark.slow
def test_a_shipped_sweep_by_one_agent_gives_the_table_of_its_disk(
    server: WandbServer, tmp_path: Path
) -> None:
    """sweeps/pool_size.yaml on two seeds, shortened by overrides: 8 cells of the mini recipe."""
    path = make_sweep(
        server,
        tmp_path,
        **{"model.pool_size": [3, 5, 7, 9], "seed": [0, 1], "optim.epochs": [1]},
    )
    said = outcome(start(server, tmp_path, "wandb", "agent", path), timeout=400)
    assert said.returncode == 0
    assert "locked" not in said.stdout
    runs = list(server.runs.values())
    assert [run.state for run in runs] == ["finished"] * 8, said.stdout
    assert [(run.args["model.pool_size"], run.args["seed"]) for run in runs] == [
        (size, seed) for size in (3, 5, 7, 9) for seed in (0, 1)
    ]
    assert len({run.group for run in runs}) == 4
    for run in runs:
        assert run.config["model"]["pool_size"] == run.args["model.pool_size"]
        assert (run.config["seed"], epochs(run)) == (run.args["seed"], [1])
        assert "locked" not in "".join(run.logs)
    disk = table(server, tmp_path, "runs")
    rows = list(csv.DictReader(io.StringIO(disk)))
    assert [row["variant"] for row in rows if row["n"] == "2"] == [
        "Baseline",
        *(f"Pooling size 3 -> {size}" for size in (5, 7, 9)),
    ]
    assert {row["n"] for row in rows} == {"2", "0"}, "the axis's other rows are missing, as told"
    assert table(server, tmp_path, "--wandb", "lab/ablations") == disk
    assert table(server, tmp_path, "--wandb", path, "runs") == disk
    markdown = [
        cli(server, tmp_path, "table", *words).stdout
        for words in (["runs"], ["--wandb", path.replace("ablations/", "ablations/sweeps/")])
    ]
    assert markdown[0] == markdown[1]
    assert_no_key(server, tmp_path)


@pytest.mark.slow
def test_two_agents_share_a_sweep_whose_failing_cells_say_why(
    server: WandbServer, tmp_path: Path
) -> None:
    """One cell cannot be built, one names a field that is not there; the other two are trained."""
    path = make_sweep(server, tmp_path, **{"model.pool_size": [3, 4], "seed": [0, 1]})
    folders = [tmp_path / name for name in ("one", "two")]
    env = {"ABLATIONS_RESULTS": str(tmp_path / "runs")}
    for folder in folders:
        folder.mkdir()
    agents = [start(server, folder, "wandb", "agent", path, **env) for folder in folders]
    for agent in agents:
        outcome(agent, timeout=300)
    states = {(run.args["model.pool_size"], run.args["seed"]): run for run in server.runs.values()}
    for seed in (0, 1):
        assert states[3, seed].state == "finished"
        bad = states[4, seed]
        assert (bad.state, bad.exit_code) == ("failed", 2)
        assert "refused: pool_size 4 must be odd" in "".join(bad.logs)
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 2

    path = make_sweep(server, tmp_path, **{"model.pool_sise": [3]})
    outcome(start(server, tmp_path, "wandb", "agent", path, **env))
    bad = list(server.runs.values())[-1]
    assert (bad.state, bad.exit_code) == ("failed", 2)
    assert "did you mean 'model.pool_size'" in "".join(bad.logs)
    done = cli(server, tmp_path, "table", "--wandb", "lab/ablations")
    assert done.stderr == "skipped: runs without our config: 3\n"


@pytest.mark.slow
def test_the_scale_and_the_pictures_are_chosen_in_the_environment(
    server: WandbServer, tmp_path: Path, picture_folder: Path
) -> None:
    """The sweep file as shipped, but for what makes it small."""
    config = yaml.safe_load((ROOT / "sweeps" / "token_mixer.yaml").read_text())
    tiny = {**SMALL, "data.name": "folder", "data.batch_size": 12, "data.image_size": 32}
    config["parameters"] |= {name: {"value": value} for name, value in tiny.items()}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(config))
    wandb(server, tmp_path, "sweep", "sweep.yaml")
    path = f"lab/ablations/{next(reversed(server.sweeps))}"
    env = {
        "ABLATIONS_RECIPE": "imagenet",
        "ABLATIONS_DATA_ROOT": str(picture_folder),
        "ABLATIONS_RESULTS": "elsewhere",
    }
    outcome(start(server, tmp_path, "wandb", "agent", "--count", "1", path, **env))
    (run,) = server.runs.values()
    assert run.state == "finished", run.logs
    assert run.config["recipe"] == "imagenet"
    assert run.config["data"]["root"] == str(picture_folder)
    assert run.config["model"]["num_classes"] == 3
    assert len(list((tmp_path / "elsewhere").glob("*/record.json"))) == 1


@pytest.mark.slow
def test_a_finished_cell_is_reused_by_the_next_sweep(server: WandbServer, tmp_path: Path) -> None:
    """First from the disk, then from W&B alone; and not where reuse is not wanted."""
    done = cli(server, tmp_path, "train", *WORDS)
    assert done.returncode == 0, done
    (first,) = server.runs.values()
    record = records.find(tmp_path / "runs", BASE.run_id)
    for elsewhere in (False, True):
        if elsewhere:
            shutil.rmtree(tmp_path / "runs")
        path = make_sweep(server, tmp_path, **{"model.norm": ["group"], "seed": [0]})
        said = outcome(start(server, tmp_path, "wandb", "agent", path)).stdout
        assert "epoch 1/2" not in said
        run = list(server.runs.values())[-1]
        assert run.state == "finished", said
        assert run.tags == ["Model size", "mini", "reused"]
        assert run.config["reused_from"] == f"lab/ablations/{first.id}"
        assert [row["val/top1"] for row in run.history] == [
            row["val/top1"] for row in first.history
        ]
        assert run.summary["val/top1"] == first.summary["val/top1"]
        assert run.summary["metrics"] == first.summary["metrics"]
        assert records.find(tmp_path / "runs", BASE.run_id) == record
    make_sweep(server, tmp_path, **{"model.norm": ["group"], "seed": [0]})
    path = f"lab/ablations/{next(reversed(server.sweeps))}"
    agent = start(server, tmp_path, "wandb", "agent", path, ABLATIONS_NO_REUSE="1")
    assert "epoch 2/2" in outcome(agent).stdout
    again = list(server.runs.values())[-1]
    assert again.tags == ["Model size", "mini"]
    assert "reused_from" not in again.config
    assert again.summary["metrics"] == first.summary["metrics"]
    # The four runs of the one cell are one record.
    assert table(server, tmp_path, "--wandb", "lab/ablations") == table(server, tmp_path, "runs")


# Killed and started again


LONG = {**SMALL, "optim.epochs": 8}
LONG_ID = resolve("mini", LONG).run_id


def pid_of(folder: Path, run_id: str) -> int:
    pid: int = json.loads((folder / "runs" / run_id / "begun.json").read_text())["pid"]
    return pid


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """The metrics of the long cell."""
    from ablations.train import train

    folder = tmp_path_factory.mktemp("undisturbed")
    return train(resolve("mini", {**LONG, "system.tracker": "none"}), folder).metrics


@pytest.mark.slow
def test_a_preempted_run_is_requeued_and_goes_on(
    server: WandbServer, tmp_path: Path, undisturbed: dict[str, dict[str, float]]
) -> None:
    server.requeued_args_have_wandb_key = True
    path = make_sweep(server, tmp_path, **{"optim.epochs": [8], "seed": [0]})
    agent = start(server, tmp_path, "wandb", "agent", path)
    until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    (run,) = server.runs.values()
    os.kill(pid_of(tmp_path, LONG_ID), signal.SIGTERM)
    until(lambda: run.state in ("preempted", "pending"))
    assert run.exit_code in (143, None)  # None: it has been handed out again
    said = cli(server, tmp_path, "status").stdout
    assert "1 interrupted" in said or "1 running" in said
    stdout = outcome(agent, timeout=200).stdout
    assert (run.state, run.exit_code, run.starts) == ("finished", 0, 2), stdout
    assert "--_wandb=" in stdout
    assert stdout.count("epoch 1/8") == 1
    assert epochs(run) == list(range(1, 9))
    record = records.find(tmp_path / "runs", LONG_ID)
    assert record
    assert record.metrics == undisturbed
    assert record.tracker["wandb"] == run.id


@pytest.mark.slow
def test_a_crashed_run_shows_and_is_finished_by_ablations_run(
    server: WandbServer, tmp_path: Path, undisturbed: dict[str, dict[str, float]]
) -> None:
    path = make_sweep(server, tmp_path, **{"optim.epochs": [8], "seed": [0]})
    agent = start(server, tmp_path, "wandb", "agent", path)
    until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    (run,) = server.runs.values()
    os.kill(pid_of(tmp_path, LONG_ID), signal.SIGKILL)
    outcome(agent)
    server.heartbeat_limit = 0.5
    until(lambda: run.state == "crashed")
    assert "1 runs: 1 crashed" in cli(server, tmp_path, "status").stdout
    server.heartbeat_limit = 300
    done = cli(server, tmp_path, "run", "sweep.yaml", "--workers", "1")
    assert done.returncode == 0, done
    assert len(server.runs) == 1
    assert (run.state, epochs(run)) == ("finished", list(range(1, 9)))
    record = records.find(tmp_path / "runs", LONG_ID)
    assert record
    assert record.metrics == undisturbed
    assert not (tmp_path / "runs" / LONG_ID / "begun.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_study_that_is_stopped_tells_wandb_so(
    server: WandbServer, tmp_path: Path, number: int, code: int
) -> None:
    """`ablations run` and its workers; Ctrl-C reaches the whole group, SIGTERM the runner."""
    sweep = tmp_path / "one.yaml"
    sweep.write_text("method: grid\nparameters:\n  seed: {values: [0]}\n")
    words = ("python", "-m", "ablations", "run", str(sweep), *WORDS, "--optim.epochs=8")
    process = start(server, tmp_path, *words, stderr=subprocess.PIPE)
    until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    process.send_signal(number)
    done = outcome(process)
    assert done.returncode == code, done
    assert "interrupted with 0 of 1 cells done" in done.stderr
    (run,) = server.runs.values()
    assert (run.state, run.exit_code) == ("preempted", 143)
    assert "1 runs: 1 interrupted" in cli(server, tmp_path, "status").stdout


def catches_sigterm(pid: int) -> bool:
    """Whether a process has a handler for it, from what Linux tells of its signals."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.split("SigCgt:")[1].split()[0], 16)
    return bool(mask >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
@pytest.mark.parametrize("begun", [False, True], ids=["importing", "starting in W&B"])
def test_a_run_stopped_in_its_first_seconds_is_handed_back(
    server: WandbServer, tmp_path: Path, begun: bool
) -> None:
    """Started as an agent starts it: a finished run would be lost to the sweep."""
    make_sweep(server, tmp_path, seed=[0])
    agent = {"WANDB_SWEEP_ID": next(iter(server.sweeps)), "WANDB_RUN_ID": "abc"}
    words = ("python", "-m", "ablations.train", *WORDS)
    process = start(server, tmp_path, *words, stderr=subprocess.PIPE, **agent)
    if begun:
        until(lambda: server.runs)
    else:
        until(lambda: catches_sigterm(process.pid))
    process.send_signal(signal.SIGTERM)
    done = outcome(process)
    assert done.returncode == 143, done
    assert "Traceback" not in done.stderr
    (run,) = server.runs.values()
    assert (run.state, run.exit_code) == ("preempted", 143)


@pytest.mark.slow
def test_a_record_of_other_pictures_is_not_fetched(
    server: WandbServer, tmp_path: Path, picture_folder: Path
) -> None:
    """The id leaves out where the pictures lie; theirs are other ones."""
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        shutil.copytree(picture_folder, folder / "pictures")
    lost = sorted((here / "pictures").glob("train/*/*.jpg"))[0]
    lost.unlink()
    words = [*WORDS, "--recipe=imagenet", "--optim.cooldown_epochs=0", "--data.name=folder"]
    words += ["--data.root=pictures", "--data.batch_size=12", "--data.image_size=32"]
    for folder in (there, here):
        done = cli(server, folder, "train", *words)
        assert done.returncode == 0, done
        assert "epoch 2/2" in done.stdout
    assert "not reused: run " in done.stderr
    first, second = (records.read_all([folder / "runs"])[0][0] for folder in (there, here))
    assert first.run_id == second.run_id
    assert first.data["fingerprint"] != second.data["fingerprint"]


# Offline, and outages


def axes(run: Run) -> dict[str, tuple[str | None, list[int]]]:
    """Metric -> its step axis and its summaries, from what the client's protocol has by numbers."""
    told = run.own_config["m"]
    names = [metric.get("1") or metric["2"] for metric in told]
    return {
        name: (names[metric["5"] - 1] if "5" in metric else None, sorted(metric.get("7", [])))
        for name, metric in zip(names, told, strict=True)
    }


def comparable(run: Run) -> dict[str, Any]:
    """What an online run and a synced one have in common: all but the times and the machine."""
    rows = [
        {k: v for k, v in row.items() if k[0] != "_" and "seconds" not in k} for row in run.history
    ]
    summary = {
        name: value
        for name, value in run.summary.items()
        if name[0] != "_" and name != "timing" and "seconds" not in name
    }
    summary["environment"] = {k: v for k, v in summary["environment"].items() if k != "date"}
    return {
        "rows": rows,
        "summary": summary,
        "config": run.config,
        "name": run.name,
        "group": run.group,
        "tags": run.tags,
        "job": run.job_type,
        "state": run.state,
        "axes": axes(run),
    }


@pytest.mark.slow
def test_an_offline_run_that_is_synced_is_the_online_run(
    server: WandbServer, tmp_path: Path
) -> None:
    """One that was stopped in between: two folders, one run."""
    (tmp_path / "offline").mkdir()
    (tmp_path / "online").mkdir()
    longer = [*WORDS, "--optim.epochs=8"]
    process = start(
        server,
        tmp_path / "offline",
        *("python", "-m", "ablations", "train", *longer),
        WANDB_MODE="offline",
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    until(lambda: "epoch 2/8" in process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert outcome(process).returncode == 143
    done = cli(server, tmp_path / "offline", "train", *longer, WANDB_MODE="offline")
    assert (done.returncode, done.stderr) == (0, "")
    assert not server.requests
    folders = sorted((tmp_path / "offline").glob("dir/wandb/offline-run-*"))
    assert len(folders) == 2
    wandb(server, tmp_path, "sync", *map(str, folders))
    done = cli(server, tmp_path / "online", "train", *longer, "--no-reuse")
    assert done.returncode == 0, done
    synced, direct = server.runs.values()
    record = records.find(tmp_path / "offline" / "runs", LONG_ID)
    assert record
    assert record.tracker["wandb"] == synced.id
    assert epochs(synced) == list(range(1, 9))
    assert comparable(synced) == comparable(direct)
    kept = [artifact for artifact in server.artifacts.values() if artifact.type == "record"]
    assert [set(artifact.files) for artifact in kept] == [{"record.json", "history.csv"}] * 2


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["outage", "500", "rubbish", "401"])
def test_a_server_that_comes_back_or_not_costs_no_record(
    server: WandbServer, tmp_path: Path, undisturbed: dict[str, dict[str, float]], fault: str
) -> None:
    """It fails in the middle and stays away; the sync that is told brings the rest."""
    words = ("python", "-m", "ablations", "train", *WORDS, "--optim.epochs=8")
    env = {"WANDB_FINISH_TIMEOUT": "3"}
    process = start(server, tmp_path, *words, stderr=subprocess.PIPE, **env)
    until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    (run,) = server.runs.values()
    if fault == "outage":
        server.stop_listening()
    else:
        server.fault = fault
    done = outcome(process)
    assert done.returncode == 0, done
    assert "epoch 8/8" in done.stdout
    record = records.find(tmp_path / "runs", LONG_ID)
    assert record
    assert record.metrics == undisturbed
    assert len(epochs(run)) < 8
    (line,) = done.stderr.splitlines()
    told, _, command = line.partition("send what is missing: ")
    assert told == "1 run has not reached W&B whole, "
    assert API_KEY not in line
    server.fault = None
    if fault == "outage":
        server.listen()
    wandb(server, tmp_path, *command.split()[1:])
    assert (run.state, epochs(run)) == ("finished", list(range(1, 9)))
    assert table(server, tmp_path, "--wandb", "lab/ablations") == table(server, tmp_path, "runs")


@pytest.mark.slow
def test_a_short_outage_is_made_up_for_by_the_client(server: WandbServer, tmp_path: Path) -> None:
    words = ("python", "-m", "ablations", "train", *WORDS, "--optim.epochs=8")
    process = start(server, tmp_path, *words, stderr=subprocess.PIPE)
    until(lambda: any(len(run.history) >= 2 for run in server.runs.values()))
    (run,) = server.runs.values()
    with server.outage():
        assert process.stdout
        until(lambda: "epoch 6/8" in process.stdout.readline())
    done = outcome(process)
    assert (done.returncode, done.stderr) == (0, "")
    assert (run.state, epochs(run)) == ("finished", list(range(1, 9)))


@pytest.mark.slow
def test_without_a_server_at_the_start_a_study_goes_on_offline(
    server: WandbServer, tmp_path: Path
) -> None:
    server.stop_listening()
    sweep = tmp_path / "two.yaml"
    sweep.write_text("method: grid\nparameters:\n  seed: {values: [0, 1]}\n")
    env = {"WANDB_INIT_TIMEOUT": "5", "WANDB__GRAPHQL_RETRY_MAX": "1"}
    done = cli(server, tmp_path, "run", str(sweep), *WORDS, "--workers", "1", timeout=200, **env)
    assert done.returncode == 0, done
    assert "2 cells: 2 trained" in done.stderr
    told = next(line for line in done.stderr.splitlines() if "wandb sync" in line)
    assert told.startswith("2 runs have not reached W&B whole")
    server.listen()
    wandb(server, tmp_path, *told.split("wandb ")[1].split())
    assert [run.state for run in server.runs.values()] == ["finished"] * 2
    assert table(server, tmp_path, "--wandb", "lab/ablations") == table(server, tmp_path, "runs")


@pytest.mark.slow
def test_the_notebooks_way_of_reading(server: WandbServer, tmp_path: Path) -> None:
    """`ablations.tracking` in a program: a sweep of two, with a filter."""
    path = make_sweep(server, tmp_path, **{"optim.epochs": [1], "seed": [0, 1]})
    outcome(start(server, tmp_path, "wandb", "agent", path))
    project, _, sweep = path.rpartition("/")
    read = f"tracking.read_project({project!r}, [{sweep!r}], {{'config.seed': 1}}, finished=True)"
    code = "from ablations import tracking\n"
    code += f"answer = [record.run_id for record, place in {read}.records]"
    expected = resolve("mini", {**SMALL, "optim.epochs": 1, "seed": 1}).run_id
    assert ask(server, tmp_path, code) == [expected]
