"""The command line as a user types it: bad input is one plain line and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ablations.__main__ import main
from tests.ablations.test_tables import BASE, IDENTITY
from tests.conftest import TINY_FLAGS

GRID = "method: grid\nparameters:\n"


LIGHT = """
import sys
from ablations.__main__ import main
try:
    code = main(sys.argv[1:])
except SystemExit as stopped:
    code = stopped.code
heavy = {"torch", "timm", "wandb", "pytorch_lightning", "torchvision"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help"],
        ["run", "sweeps/pool_size.yaml", "--dry-run"],
        ["table", "{results}"],
        ["table", "{results}", "--format", "csv"],
        ["table", "{results}", "--format", "tex"],
    ],
)
def test_light_commands_start_without_torch(words, tmp_path):
    """In a process of its own, because this one has torch."""
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path)
    words = [word.format(results=tmp_path) for word in words]
    command = [sys.executable, "-c", LIGHT, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], "invalid choice: 'trian'"),
        (["train", "--recipe", "mino"], "did you mean 'mini'"),
        (["train", "--preset", "s25"], "did you mean 's24'"),
        (["train", "--model.token_mixers=pol"], "did you mean 'pool'"),
        (["train", "--model.norm=grupo"], "did you mean 'group'"),
        (["train", "--model.activation", "gelo"], "did you mean 'gelu'"),
        (["train", "--data.name=minni"], "did you mean 'mini'"),
        (["train", "--model.pool_sise=5"], "did you mean '--model.pool_size'"),
        (["train", "--modle.pool_size", "5"], "did you mean '--model.pool_size'"),
        (["train", "--model.pool_size"], "--model.pool_size needs a value"),
        (["train", "--model.pool_size=4"], "must be odd and positive"),
        (["train", "--model.pool_size=-3"], "must be odd and positive"),
        (["train", "--model.token_mixers=[pool,pool]"], "2 names for 4 stages"),
        (["train", "--model.token_mixers=attention", "--model.head_dim=9"], "does not divide"),
        (["train", "--data.image_size=2"], "leaves nothing for stage"),
        (["train", "--data.image_size=20"], "cannot shrink 28x28 pictures to 20"),
        (["train", "--data.batch_size=8002"], "above the 8000 training pictures"),
        (["train", "--recipe", "imagenet"], "needs --data.root DIR"),
        (["train", "--recipe", "imagenet", "--data.root", "{tmp}/x"], "no folder"),
        (["train", "--recipe", "imagenet", "--data.root", "{tmp}"], "no folder"),
        (["train", "stray"], "unrecognized arguments: stray"),
        (["train", "--recpie", "mini"], "did you mean '--recipe'"),
        (["run", "sweeps/pool_size.yaml", "--worker=2"], "did you mean '--workers'"),
        (["train", "--results", "/proc/none"], "cannot be written"),
        (["run"], "the following arguments are required: sweeps"),
        (["run", "none.yaml"], "none.yaml cannot be read"),
        (["run", "{list}"], "must be a mapping"),
        (["run", "{bare}"], "lacks parameters"),
        (["run", "{odd}"], "did you mean 'model.pool_size'"),
        (["run", "sweeps/pool_size.yaml", "--seeds", "a,b"], "must be numbers"),
        (["run", "sweeps/pool_size.yaml", "--workers", "0"], "must be 1 or more"),
        (["run", "sweeps/pool_size.yaml", "--workers", "two"], "invalid int value"),
        (["run", "sweeps/pool_size.yaml", "--results", "/proc/none"], "cannot be written"),
        (
            ["run", "sweeps/pool_size.yaml", "--recipe", "imagenet", "--data.root", "x"],
            "no folder x",
        ),
        (["run", "sweeps/pool_size.yaml", "--data.batch_size=9000"], "above the 8000"),
        (["table", "{tmp}/none"], "no folder"),
        (["table", "{tmp}"], "no records in"),
        (["table", "{tmp}", "--format", "markdown"], "valid are md, csv, tex"),
        (["table", "{tmp}", "--fromat", "md"], "did you mean '--format'"),
        (["table", "{tmp}", "--seed=3"], "does not take --seed"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2_before_anything_is_written(
    words, told, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("ABLATIONS_RECIPE", raising=False)
    files = {
        "list": "- a\n",
        "bare": "method: grid\n",
        "odd": GRID + "  model.pool_sise: {value: 3}\n",
    }
    places = {"tmp": tmp_path / "data"}
    places["tmp"].mkdir()
    for name, text in files.items():
        places[name] = tmp_path / f"{name}.yaml"
        places[name].write_text(text)
    words = [word.format(**places) for word in words]
    if words[0] in ("train", "run") and "--results" not in words:
        words += ["--results", str(tmp_path / "runs")]
    before = set(tmp_path.rglob("*"))
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert out == ""
    assert err.startswith("ablations: ")
    assert err.count("\n") == 1
    left = set(tmp_path.rglob("*")) - before
    assert left <= {tmp_path / "runs"}, left
    assert not list((tmp_path / "runs").glob("*"))


def test_python_m_ablations_train_is_what_an_agent_starts(tmp_path):
    words = ["--model.norm=none", "--optim.epochs=1", "--seed=3", f"--results={tmp_path}"]
    command = [sys.executable, "-m", "ablations.train", *TINY_FLAGS, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/1: top-1" in done.stdout
    assert done.stderr == ""
    (path,) = Path(tmp_path).glob("*/record.json")
    assert f"{path}" in done.stdout


def test_the_recipe_can_come_from_the_environment(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("ABLATIONS_RECIPE", "imagenet")
    assert main(["run", "sweeps/pool_size.yaml", "--dry-run", "--results", str(tmp_path)]) == 0
    assert "323c7b62a458" in capsys.readouterr().out  # PoolFormer-S12 with the paper's training


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    for each in BASE:
        each.write(tmp_path)
    command = f"{sys.executable} -m ablations table {tmp_path} | head -c 5"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
