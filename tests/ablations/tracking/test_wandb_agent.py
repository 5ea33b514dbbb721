"""Sweeps run by `wandb agent`: their runs, tables and reuse."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
import yaml

from ablations.config.resolve import resolve
from ablations.store import records
from tests.factories.wandb_runs import BASE, SMALL, WORDS, assert_no_key, epochs, make_sweep, table
from tests.wandb_server import WandbServer
from tests.wandb_server.client import ROOT, ask, cli, start, wandb


@pytest.mark.slow
def test_a_sweep_run_by_an_agent_gives_the_same_table_from_wandb_and_disk(
    server: WandbServer, tmp_path: Path
) -> None:
    """sweeps/pool_size.yaml with two sizes and two seeds, shortened; also read from a program."""
    path = make_sweep(
        server,
        tmp_path,
        **{"model.pool_size": [3, 5], "seed": [0, 1], "optim.epochs": [1]},
    )
    ended = start(server, tmp_path, "wandb", "agent", path).finish()
    assert ended.returncode == 0
    assert "locked" not in ended.stdout
    runs = list(server.runs.values())
    assert [run.state for run in runs] == ["finished"] * 4, ended.stdout
    assert [(run.args["model.pool_size"], run.args["seed"]) for run in runs] == [
        (size, seed) for size in (3, 5) for seed in (0, 1)
    ]
    assert len({run.group for run in runs}) == 2
    for run in runs:
        assert run.config["model"]["pool_size"] == run.args["model.pool_size"]
        assert (run.config["seed"], epochs(run)) == (run.args["seed"], [1])
        assert "locked" not in "".join(run.logs)
    disk = table(server, tmp_path, "runs")
    rows = list(csv.DictReader(io.StringIO(disk)))
    assert [row["variant"] for row in rows if row["n"] == "2"] == [
        "Baseline",
        "Pooling size 3 -> 5",
    ]
    assert {row["n"] for row in rows} == {"2"}  # rows that the study has, no others
    assert table(server, tmp_path, "--wandb", "lab/ablations") == disk
    assert table(server, tmp_path, "--wandb", path, "runs") == disk
    markdown = [
        cli(server, tmp_path, "table", *words).stdout
        for words in (["runs"], ["--wandb", path.replace("ablations/", "ablations/sweeps/")])
    ]
    assert markdown[0] == markdown[1]
    project, _, sweep = path.rpartition("/")
    filters = {"config.seed": 1, "config.model.pool_size": 3}
    code = "from ablations.tracking import reading\n"
    code += f"found = reading.read_project({project!r}, [{sweep!r}], {filters!r}, finished=True)\n"
    code += "answer = [record.run_id for record, source in found.records]"
    expected = resolve("mini", {**SMALL, "optim.epochs": 1, "seed": 1}).run_id
    assert ask(server, tmp_path, code) == [expected]
    assert_no_key(server, tmp_path)


@pytest.mark.slow
def test_two_agents_share_a_sweep_and_failing_runs_report_why(
    server: WandbServer, tmp_path: Path
) -> None:
    """One run cannot be built, one names an unknown field; the other two are trained."""
    path = make_sweep(
        server, tmp_path, **{"model.pool_size": [3, 4], "seed": [0, 1], "optim.epochs": [1]}
    )
    folders = [tmp_path / name for name in ("one", "two")]
    env = {"ABLATIONS_RESULTS": str(tmp_path / "runs")}
    for folder in folders:
        folder.mkdir()
    agents = [start(server, folder, "wandb", "agent", path, **env) for folder in folders]
    for agent in agents:
        agent.finish()
    states = {(run.args["model.pool_size"], run.args["seed"]): run for run in server.runs.values()}
    for seed in (0, 1):
        assert states[3, seed].state == "finished"
        bad = states[4, seed]
        assert (bad.state, bad.exit_code) == ("failed", 2)
        assert "refused: pool_size 4 must be odd" in "".join(bad.logs)
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 2

    path = make_sweep(server, tmp_path, **{"model.pool_sise": [3]})
    wandb(server, tmp_path, "agent", path, **env)
    bad = list(server.runs.values())[-1]
    assert (bad.state, bad.exit_code) == ("failed", 2)
    assert "did you mean 'model.pool_size'" in "".join(bad.logs)
    done = cli(server, tmp_path, "table", "--wandb", "lab/ablations")
    assert done.stderr == "skipped: runs without our config: 3\n"


@pytest.mark.slow
def test_preset_and_images_are_set_by_environment_variables(
    server: WandbServer, tmp_path: Path, image_folder: Path
) -> None:
    """The shipped sweep file, with only its size reduced."""
    config = yaml.safe_load((ROOT / "sweeps" / "token_mixer.yaml").read_text())
    tiny = {**SMALL, "data.name": "folder", "data.batch_size": 12, "data.image_size": 32}
    config["parameters"] |= {name: {"value": value} for name, value in tiny.items()}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(config))
    wandb(server, tmp_path, "sweep", "sweep.yaml")
    path = f"lab/ablations/{next(reversed(server.sweeps))}"
    env = {
        "ABLATIONS_RECIPE": "imagenet",
        "ABLATIONS_DATA_ROOT": str(image_folder),
        "ABLATIONS_RESULTS": "elsewhere",
    }
    wandb(server, tmp_path, "agent", "--count", "1", path, **env)
    (run,) = server.runs.values()
    assert run.state == "finished", run.logs
    assert run.config["recipe"] == "imagenet"
    assert run.config["data"]["root"] == str(image_folder)
    assert run.config["model"]["num_classes"] == 3
    assert len(list((tmp_path / "elsewhere").glob("*/record.json"))) == 1


@pytest.mark.slow
def test_a_finished_run_is_reused_by_the_next_sweep(server: WandbServer, tmp_path: Path) -> None:
    """From disk, from W&B alone, and not with reuse turned off."""
    done = cli(server, tmp_path, "train", *WORDS)
    assert done.returncode == 0, done
    (first,) = server.runs.values()
    record = records.find_record(tmp_path / "runs", BASE.run_id)
    for elsewhere in (False, True):
        if elsewhere:
            shutil.rmtree(tmp_path / "runs")
        path = make_sweep(server, tmp_path, **{"model.norm": ["group"], "seed": [0]})
        printed = wandb(server, tmp_path, "agent", path)
        assert "epoch 1/2" not in printed
        run = list(server.runs.values())[-1]
        assert run.state == "finished", printed
        assert run.tags == ["Model size", "mini", "reused"]
        assert run.config["reused_from"] == f"lab/ablations/{first.id}"
        assert run.files["predictions.npz"] == first.files["predictions.npz"]
        assert [row["val/top1"] for row in run.history] == [
            row["val/top1"] for row in first.history
        ]
        assert run.summary["val/top1"] == first.summary["val/top1"]
        assert run.summary["metrics"] == first.summary["metrics"]
        assert records.find_record(tmp_path / "runs", BASE.run_id) == record
    make_sweep(server, tmp_path, **{"model.norm": ["group"], "seed": [0]})
    path = f"lab/ablations/{next(reversed(server.sweeps))}"
    assert "epoch 2/2" in wandb(server, tmp_path, "agent", path, ABLATIONS_NO_REUSE="1")
    again = list(server.runs.values())[-1]
    assert again.tags == ["Model size", "mini"]
    assert "reused_from" not in again.config
    assert again.summary["metrics"] == first.summary["metrics"]
    # The four W&B runs of one config are one record.
    assert table(server, tmp_path, "--wandb", "lab/ablations") == table(server, tmp_path, "runs")


@pytest.mark.slow
def test_a_command_that_drops_a_false_flag_is_refused(server: WandbServer, tmp_path: Path) -> None:
    """`${args_no_boolean_flags}`: `--model.residual` for true, and nothing for false."""
    config = yaml.safe_load((ROOT / "sweeps" / "pool_size.yaml").read_text())
    config["command"] = ["${env}", "${interpreter}", "-m", "${program}"]
    config["command"] += ["--optim.epochs=1", "${args_no_boolean_flags}"]
    tiny = {name: value for name, value in SMALL.items() if name != "optim.epochs"}
    config["parameters"] = {name: {"value": value} for name, value in tiny.items()}
    config["parameters"]["model.residual"] = {"values": [True, False]}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(config))
    wandb(server, tmp_path, "sweep", "sweep.yaml")
    path = f"lab/ablations/{next(reversed(server.sweeps))}"
    wandb(server, tmp_path, "agent", path)
    states = {run.args["model.residual"]: run for run in server.runs.values()}
    assert states[True].state == "finished", states[True].logs
    assert epochs(states[True]) == [1]
    assert (states[False].state, states[False].exit_code) == ("failed", 2)
    assert "model.residual is True on this command line and False in the sweep" in (
        "".join(states[False].logs)
    )
    (record,) = (tmp_path / "runs").glob("*/record.json")
    assert record.parent.name == resolve("mini", {**SMALL, "optim.epochs": 1}).run_id
