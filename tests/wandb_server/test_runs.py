"""Runs of the unmodified client are stored, and can be read by its Api."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wandb_server import API_KEY, WandbServer
from tests.wandb_server.client import ask, cli, python, wandb
from tests.wandb_server.queries import matches, ordered
from tests.wandb_server.runs import new_run

LOSSES = [1 / (step + 1) for step in range(5)]
ONLINE = """
import wandb
open("weights.txt", "w").write("content")
config = {"model": {"depth": 3}, "lr": 0.5}
with wandb.init(config=config, name="n", group="g", tags=["t", "u"], job_type="j", id="one") as run:
    for step in range(5):
        run.log({"epoch": step, "loss": 1 / (step + 1)})
    print("a line of the log")
    artifact = wandb.Artifact("weights", type="model", metadata={"k": 1})
    artifact.add_file("weights.txt")
    run.log_artifact(artifact)
    run.save("weights.txt")
    run.summary["best"] = 3
"""
READ_BACK = """
run = api.run("lab/ablations/one")
answer = {
    "listed": [one.id for one in api.runs("lab/ablations")],
    "found": [one.id for one in api.runs("lab/ablations", filters={
        "config.lr": 0.5, "config.model.depth": {"$gte": 3}, "state": "finished", "tags": "t",
        "summary_metrics.best": {"$in": [2, 3]}, "group": "g"})],
    "missed": len(api.runs("lab/ablations", filters={"config.lr": 0.1})),
    "run": [run.config, run.summary["best"], run.state, run.tags, run.group, run.sweep],
    "history": [row["loss"] for row in run.history(pandas=False)],
    "keys": [row["loss"] for row in run.history(keys=["loss"], pandas=False)],
    "scan": [row["loss"] for row in run.scan_history()],
    "scan_keys": [row["loss"] for row in run.scan_history(keys=["loss"])],
    "files": [file.name for file in run.files()],
    "file": run.file("weights.txt").download(root="got").read(),
    "artifacts": [[one.name, one.type, one.metadata] for one in run.logged_artifacts()],
    "artifact": open(api.artifact("weights:latest").download(root="there") + "/weights.txt").read(),
}
"""


@pytest.mark.parametrize(
    "offline",
    [
        pytest.param(False, id="online"),
        pytest.param(True, id="offline-then-sync", marks=pytest.mark.slow),
    ],
)
def test_a_run_is_stored_and_read_back(server: WandbServer, tmp_path: Path, offline: bool) -> None:
    python(server, tmp_path, ONLINE, WANDB_MODE="offline" if offline else "online")
    if offline:
        assert not server.requests
        (folder,) = tmp_path.glob("dir/wandb/offline-run-*-one")
        wandb(server, tmp_path, "sync", str(folder))
    (run,) = server.runs.values()
    assert (run.id, run.name, run.group, run.job_type) == ("one", "n", "g", "j")
    assert run.tags == ["t", "u"]
    assert run.config == {"model": {"depth": 3}, "lr": 0.5}
    assert (run.state, run.exit_code, run.summary["best"]) == ("finished", 0, 3)
    assert [row["loss"] for row in run.history] == LOSSES
    assert any("a line of the log" in line for line in run.logs)
    assert run.files["weights.txt"] == b"content"
    (artifact,) = server.artifacts.values()
    assert artifact.files == {"weights.txt": b"content"}

    answer = ask(server, tmp_path, READ_BACK)
    assert answer["listed"] == answer["found"] == ["one"]
    assert answer["missed"] == 0
    assert answer["run"] == [run.config, 3, "finished", ["t", "u"], "g", None]
    assert answer["history"] == answer["keys"] == answer["scan"] == answer["scan_keys"] == LOSSES
    assert {"weights.txt", "config.yaml", "wandb-summary.json"} <= set(answer["files"])
    assert answer["file"] == answer["artifact"] == "content"
    assert answer["artifacts"] == [["weights:v0", "model", {"k": 1}]]


USES = """
import wandb
with wandb.init(id="two") as run:
    folder = run.use_artifact("weights:latest").download()
    for name, text in (("weights.txt", "content"), ("more.txt", "else")):
        open(name, "w").write(text)
        artifact = wandb.Artifact("weights", type="model")
        artifact.add_file(name)
        run.log_artifact(artifact).wait()
"""


@pytest.mark.slow
def test_artifacts_have_versions_and_runs_that_use_them(
    server: WandbServer, tmp_path: Path
) -> None:
    """Equal content makes no new version; the alias ``latest`` moves to the newest."""
    python(server, tmp_path, ONLINE)
    python(server, tmp_path, USES)
    first, second = server.artifacts.values()
    assert (first.version, first.aliases) == (0, [])
    assert (second.version, second.aliases, list(second.files)) == (1, ["latest"], ["more.txt"])
    assert server.runs["two"].used_artifacts == [first.id]
    used = "[one.name for one in api.run('lab/ablations/two').used_artifacts()]"
    assert ask(server, tmp_path, f"answer = {used}") == ["weights:v0"]


@pytest.mark.slow
def test_a_run_is_resumed_changed_and_deleted(server: WandbServer, tmp_path: Path) -> None:
    code = "import wandb\nwith wandb.init(id='one', resume='allow') as run:"
    code += "\n    run.log({'x': run.starting_step})"
    for _ in range(2):
        python(server, tmp_path, code)
    run = server.runs["one"]
    assert [(row["_step"], row["x"]) for row in run.history] == [(0, 0), (1, 1)]
    change = "run.tags.append('seen'); run.config['k'] = 1; run.name = 'renamed'; run.update()"
    ask(server, tmp_path, f"run = api.run('lab/ablations/one')\n{change}\nanswer = 0")
    assert (run.tags, run.config["k"], run.name) == (["seen"], 1, "renamed")
    assert run.state == "finished"
    delete = "api.run('lab/ablations/one').delete()\nanswer = len(api.runs('lab/ablations'))"
    assert ask(server, tmp_path, delete) == len(server.runs) == 0


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["a", "b"]),
        ({"name": "a"}, ["a"]),
        ({"config.model.dim": {"$gt": 1, "$lte": 2}}, ["b"]),
        ({"config.model.dim": {"$gte": 1, "$lt": 2}}, ["a"]),
        ({"config.a.b": {"$exists": True}}, ["a"]),
        ({"tags": "x"}, ["a"]),
        ({"tags": {"$nin": ["x"]}}, ["b"]),
        ({"tags": ["x", "y"]}, ["a"]),
        ({"$or": [{"name": {"$ne": "a"}}, {"name": {"$in": ["a", "c"]}}]}, ["a", "b"]),
        ({"$and": [{"state": "pending"}, {"$not": {"name": {"$regex": "^a"}}}]}, ["b"]),
    ],
)
def test_runs_are_filtered(filters: dict[str, object], found: list[str]) -> None:
    server = WandbServer()
    first, second = (new_run(server, "p", None, name) for name in "ab")
    first.tags = ["x", "y"]
    first.raw_config = {"model": {"value": {"dim": 1}}, "a.b": {"value": 0}, "_wandb": {}}
    second.raw_config = {"model": {"value": {"dim": 2}}}
    assert [run.id for run in (first, second) if matches(run, filters)] == found


def test_runs_are_ordered() -> None:
    server = WandbServer()
    runs = [new_run(server, "p", None, name) for name in "abc"]
    runs[0].summary, runs[2].summary = {"top1": 1}, {"top1": 2}
    for order, names in ((None, "abc"), ("-created_at", "cba"), ("-summary_metrics.top1", "cab")):
        assert "".join(run.id for run in ordered(runs, order)) == names


def test_the_environment_of_a_client_has_no_foreign_variables(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server.env(tmp_path)
    for name in ("WANDB_MODE", "WANDB_SWEEP_ID", "WANDB__X", "NETRC", "https_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("WANDB_API_KEY", "a real one")
    env = server.env(tmp_path)
    assert env == before
    assert env["WANDB_API_KEY"] == API_KEY
    assert server.env(tmp_path, WANDB_MODE="offline") == {**env, "WANDB_MODE": "offline"}


def test_cli_returns_stdout_and_stderr(server: WandbServer, tmp_path: Path) -> None:
    done = cli(server, tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    done = cli(server, tmp_path, "table", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ablations: ")
