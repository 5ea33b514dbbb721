"""Small runs and sweeps for a W&B server, and checks of the data that it received."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ablations.config.resolve import resolve
from tests.factories.configs import TINY
from tests.wandb_server import API_KEY, Run, WandbServer
from tests.wandb_server.client import ROOT, cli, wandb

SMALL = {name: value for name, value in TINY.items() if name != "system.tracker"}
WORDS = [f"--{name}={value}" for name, value in SMALL.items()]
BASE = resolve("mini", SMALL)
LONG = {**SMALL, "optim.epochs": 8}
LONG_ID = resolve("mini", LONG).run_id


def make_sweep(server: WandbServer, folder: Path, **grid: list[Any]) -> str:
    """The shipped pool_size.yaml with other parameters; the path that ``wandb agent`` takes."""
    config = yaml.safe_load((ROOT / "sweeps" / "pool_size.yaml").read_text())
    config["parameters"] = {name: {"value": value} for name, value in SMALL.items()}
    config["parameters"] |= {name: {"values": values} for name, values in grid.items()}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(config))
    wandb(server, folder, "sweep", "sweep.yaml")
    return f"{server.entity}/{server.project}/{next(reversed(server.sweeps))}"


def table(server: WandbServer, folder: Path, *words: str) -> str:
    """The table as CSV; fails if the command reports anything."""
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


def axes(run: Run) -> dict[str, tuple[str | None, list[int]]]:
    """Metric -> its step axis and its summaries; the client's protocol encodes both as numbers."""
    metrics = run.own_config["m"]
    names = [metric.get("1") or metric["2"] for metric in metrics]
    return {
        name: (names[metric["5"] - 1] if "5" in metric else None, sorted(metric.get("7", [])))
        for name, metric in zip(names, metrics, strict=True)
    }
