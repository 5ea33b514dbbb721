"""A finished run in W&B: its contents, its table, and reuse by other machines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablations.store import history_csv, records
from tests.factories.wandb_runs import BASE, WORDS, assert_no_key, axes, epochs, table
from tests.wandb_server import Run, WandbServer
from tests.wandb_server.client import cli
from tests.wandb_server.runs import new_run


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WandbServer, Path, Run]]:
    """A server, the folder of a run that was mirrored to it, and the run on the server."""
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
    record = records.find_record(folder / "runs", BASE.run_id)
    assert record
    assert run.state == "finished"
    assert run.name.startswith("Depths [1,1,1,1], widths [8,8,16,16], head dimension 8, ")
    assert run.name.endswith(", seed 0, 2 epochs, warm-up epochs 0")
    assert len(run.name) <= 128
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
    # The last epoch of this run is its best.
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
    names = ("record.json", "history.csv", "predictions.npz")
    assert kept.files == {name: (on_disk / name).read_bytes() for name in names}
    weights = artifacts[f"weights-{BASE.run_id}"]
    assert weights.files == {"weights.pt": (on_disk / "weights.pt").read_bytes()}


def test_the_table_from_wandb_equals_the_table_from_disk(
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


def test_foreign_runs_are_counted_and_changed_ones_reported(
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
    assert done.returncode == 0, done.stderr
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
    assert cells["variant"].startswith("Depths [1,1,1,1], widths [8,8,16,16], ")
    assert (cells["n"], cells["run_ids"]) == (1, BASE.run_id)


def test_a_finished_run_is_fetched_instead_of_trained(
    online: tuple[WandbServer, Path, Run], tmp_path: Path
) -> None:
    """By `ablations run` on another machine, which then has the same results.

    Damaged predictions are left out.
    """
    server, folder, run = online
    before = len(server.runs)
    sweep = tmp_path / "one.yaml"
    sweep.write_text("method: grid\nparameters:\n  seed: {values: [0]}\n")
    done = cli(server, tmp_path, "run", str(sweep), *WORDS)
    assert done.returncode == 0, done
    assert "1 run: 0 trained, 1 reused, 0 failed" in done.stderr
    assert len(server.runs) == before
    there, here = (records.find_record(root / "runs", BASE.run_id) for root in (folder, tmp_path))
    assert there == here
    rows = [
        history_csv.read_history(root / "runs" / BASE.run_id / "history.csv")
        for root in (folder, tmp_path)
    ]
    assert rows[0] == rows[1]
    path = Path("runs", BASE.run_id, "predictions.npz")
    assert (tmp_path / path).read_bytes() == (folder / path).read_bytes()
    whole = run.files["predictions.npz"]
    run.files["predictions.npz"] = whole[:100]
    shutil.rmtree(tmp_path / "runs")
    done = cli(server, tmp_path, "run", str(sweep), *WORDS)
    run.files["predictions.npz"] = whole
    assert "1 run: 0 trained, 1 reused, 0 failed" in done.stderr
    source = f"lab/ablations/{run.id}/predictions.npz"
    assert f"reused without {source}: it is truncated or damaged, or no npz file" in done.stderr
    assert not (tmp_path / path).exists()
    assert records.find_record(tmp_path / "runs", BASE.run_id) == there


@pytest.mark.slow
def test_a_record_of_other_images_is_not_fetched(
    server: WandbServer, tmp_path: Path, image_folder: Path
) -> None:
    """The run id does not cover the images in a folder; its fingerprint does."""
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        shutil.copytree(image_folder, folder / "images")
    lost = sorted((here / "images").glob("train/*/*.jpg"))[0]
    lost.unlink()
    words = [*WORDS, "--recipe=imagenet", "--optim.cooldown_epochs=0", "--data.name=folder"]
    words += ["--data.root=images", "--data.batch_size=12", "--data.image_size=32"]
    for folder in (there, here):
        done = cli(server, folder, "train", *words)
        assert done.returncode == 0, done
        assert "epoch 2/2" in done.stdout
    assert "not reused: run " in done.stderr
    first, second = (records.read_records([folder / "runs"])[0][0] for folder in (there, here))
    assert first.run_id == second.run_id
    assert first.data["fingerprint"] != second.data["fingerprint"]
