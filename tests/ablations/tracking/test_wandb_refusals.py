"""Errors and timeouts of W&B are reported in one line, without the API key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories.wandb_runs import WORDS
from tests.wandb_server import API_KEY, WandbServer
from tests.wandb_server.client import ROOT, cli


@pytest.mark.parametrize(
    ("words", "env", "fault", "message"),
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
def test_a_table_that_wandb_refuses(
    server: WandbServer,
    tmp_path: Path,
    words: list[str],
    env: dict[str, str],
    fault: str | None,
    message: str,
) -> None:
    server.fault = fault
    done = cli(server, tmp_path, "table", *words, **env)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert API_KEY not in done.stderr + done.stdout
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["500", "outage"])
def test_a_table_from_a_server_that_does_not_answer(
    server: WandbServer, tmp_path: Path, fault: str
) -> None:
    if fault == "outage":
        server.stop_listening()
    else:
        server.fault = fault
    done = cli(server, tmp_path, "table", "--wandb", "lab/ablations")
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "env", "fault", "message"),
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
    message: str,
) -> None:
    server.fault = fault
    words = [str(ROOT / word) if word.endswith(".yaml") else word for word in words]
    done = cli(server, tmp_path, *words, *WORDS, "--results", "there", **env)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert API_KEY not in done.stderr + done.stdout
    left = [path.name for path in (tmp_path / "there").glob("*")]
    assert left in ([], ["workers.log"])
