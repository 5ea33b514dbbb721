"""The unmodified client creates sweeps, and its agents run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.factories.configs import sweep_grid
from tests.wandb_server import WandbServer, grid
from tests.wandb_server.client import ROOT, ask, start, wandb

SHIPPED = sorted((ROOT / "sweeps").glob("*.yaml"))

# A program that starts the client and logs one row instead of training.
PROGRAM = """
import os, sys, wandb
values = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
run = wandb.init(settings=wandb.Settings(console="off", x_disable_stats=True))
run.log({"loss": 1.0 / (1 + int(values.get("a", 0)))})
again = os.path.exists("was-here")
open("was-here", "w").close()
code = {"fail": 3, "preempt": 0 if again else 4}.get(values.get("do"), 0)
if code == 4:
    run.mark_preempting()
run.finish(exit_code=code)
sys.exit(code)
"""


def make_sweep(server: WandbServer, folder: Path, config: dict[str, Any]) -> str:
    """Its path, as ``wandb agent`` takes it; the client says the same."""
    (folder / "sweep.yaml").write_text(yaml.safe_dump(config))
    printed = wandb(server, folder, "sweep", "sweep.yaml")
    path = f"{server.entity}/{server.project}/{next(reversed(server.sweeps))}"
    assert f"wandb agent {path}" in printed
    return path


def sweep_of_program(server: WandbServer, folder: Path, **parameters: Any) -> str:
    (folder / "program.py").write_text(PROGRAM)
    command = ["${env}", "${interpreter}", "${program}", "${args}"]
    grid_of = {name: {"values": values} for name, values in parameters.items()}
    config = {"program": "program.py", "method": "grid", "command": command, "parameters": grid_of}
    return make_sweep(server, folder, config)


def test_a_grid_has_the_order_of_wandb() -> None:
    nested = {"parameters": {"y": {"value": 1}, "x": {"values": [True, True]}}}
    combinations = grid({"b": {"values": [1, 2, 1]}, "a": {"values": ["q", "p"]}, "c": nested})
    assert [(each["a"], each["b"]) for each in combinations] == [
        ("q", 1),
        ("q", 2),
        ("p", 1),
        ("p", 2),
    ]
    assert all(each["c"] == {"x": True, "y": 1} for each in combinations)
    assert grid({"a": {"min": 1, "max": 2}}) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_sweep_has_the_runs_of_ablations_run(path: Path) -> None:
    assert grid(yaml.safe_load(path.read_text())["parameters"]) == sweep_grid(path)


def test_a_sweep_is_created(server: WandbServer, tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "sweeps" / "pool_size.yaml").read_text())
    make_sweep(server, tmp_path, config)
    (sweep,) = server.sweeps.values()
    assert (sweep.config, sweep.state, len(sweep.combinations)) == (config, "PENDING", 12)


@pytest.mark.slow
def test_two_agents_share_the_runs_of_a_sweep(server: WandbServer, tmp_path: Path) -> None:
    path = sweep_of_program(server, tmp_path, b=[0, 1], a=[0, 1])
    agents = [start(server, tmp_path, "wandb", "agent", path) for _ in range(2)]
    printed = [agent.finish().stdout for agent in agents]
    assert all("Agent received command: run" in text for text in printed)
    assert all("exit command" in text for text in printed)
    combinations = [(run.args["a"], run.args["b"]) for run in server.runs.values()]
    assert combinations == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {run.state for run in server.runs.values()} == {"finished"}

    states = "[[run.id, run.state, run.sweep.id] for run in sweep.runs]"
    answer = ask(server, tmp_path, f"sweep = api.sweep({path!r})\nanswer = [sweep.state, {states}]")
    assert answer == ["FINISHED", [[run.id, "finished", run.sweep] for run in server.runs.values()]]


@pytest.mark.slow
def test_preempted_runs_are_restarted_and_failed_ones_are_not(
    server: WandbServer, tmp_path: Path
) -> None:
    server.requeued_args_have_wandb_key = True
    path = sweep_of_program(server, tmp_path, do=["preempt", "fail"])
    printed = wandb(server, tmp_path, "agent", path)
    preempted, failed = server.runs.values()
    assert (preempted.starts, preempted.state, preempted.exit_code) == (2, "finished", 0)
    assert len(preempted.history) == 1
    assert (failed.starts, failed.state, failed.exit_code) == (1, "failed", 3)
    assert printed.count(f"'{preempted.id}'") >= 2
    assert "Agent received command: resume" in printed
    assert printed.count("--_wandb=") == 1


@pytest.mark.slow
def test_one_heartbeat_can_start_several_runs(server: WandbServer, tmp_path: Path) -> None:
    path = sweep_of_program(server, tmp_path, a=[0, 1])
    server.runs_at_once = 2
    wandb(server, tmp_path, "agent", path)
    assert [run.state for run in server.runs.values()] == ["finished"] * 2


@pytest.mark.slow
def test_agents_of_a_cancelled_sweep_exit(server: WandbServer, tmp_path: Path) -> None:
    path = sweep_of_program(server, tmp_path, a=[0, 1])
    wandb(server, tmp_path, "sweep", "--cancel", path)
    assert "exit command" in wandb(server, tmp_path, "agent", path)
    assert (next(iter(server.sweeps.values())).state, server.runs) == ("CANCELED", {})


@pytest.mark.slow
def test_a_program_that_never_calls_wandb_is_crashed(server: WandbServer, tmp_path: Path) -> None:
    path = sweep_of_program(server, tmp_path, a=[0])
    (tmp_path / "program.py").write_text("")
    wandb(server, tmp_path, "agent", path)
    assert [run.state for run in server.runs.values()] == ["crashed"]


def test_an_agent_of_an_unknown_sweep_is_refused(server: WandbServer, tmp_path: Path) -> None:
    assert "lab/ablations/nothing not found" in wandb(server, tmp_path, "agent", "nothing")
