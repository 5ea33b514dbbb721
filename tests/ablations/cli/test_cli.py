"""The command line as a user types it: bad input is one plain line and exit code 2."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ablations.cli.main import main
from ablations.store.run_state import RunState
from poolformer import create
from poolformer.checkpoints import read_weights
from tests.factories.configs import TINY_FLAGS
from tests.factories.models import perturbed, write_weights
from tests.factories.records import BASE, IDENTITY, record

GRID = "method: grid\nparameters:\n"


LIGHT = """
import sys
from ablations.cli.main import main
from ablations.store.run_state import RunState
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
        ["plan", "--help"],
        ["table", "{results}"],
        ["table", "{results}", "--format", "csv"],
        ["table", "{results}", "--format", "tex"],
        ["table", "{results}", "--format", "html"],
        ["report", "{results}", "-o", "{results}/page.html"],
        ["claims", "{results}"],
        ["claims", "{results}", "--format", "csv"],
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
    ("words", "message"),
    [
        (["trian"], "unknown command 'trian'"),
        (["train", "--recipe", "mino"], "did you mean 'mini'"),
        (["train", "--preset", "s25"], "did you mean 's24'"),
        (["train", "--model.token_mixers=pol"], "did you mean 'pool'"),
        (["train", "--model.norm=grupo"], "did you mean 'group'"),
        (["train", "--model.activation", "gelo"], "did you mean 'gelu'"),
        (["train", "--data.name=minni"], "did you mean 'mini'"),
        (["train", "--model.pool_sise=5"], "did you mean 'model.pool_size'"),
        (["train", "--modle.pool_size", "5"], "did you mean 'model.pool_size'"),
        (["train", "--zzz.qqq=1"], "valid are model.*, data.*, optim.*, system.*, seed"),
        (["train", "--data.qqqqqq=1"], "valid are data.name, data.root, data.image_size"),
        (["train", "--workers", "2"], "unknown flag '--workers'"),
        (["train", "--xyzzy"], "`ablations train --help` lists the valid"),
        (["train", "--optim.epochs=None"], "optim.epochs is null and must be a whole number"),
        (["train", "--model.depths=None"], "model.depths is null"),
        (["train", "--optim.epochs=1"], "fewer than optim.epochs 1"),
        (["train", "--system.accelerator=gpu"], "this machine has none"),
        (["train", "--results="], "an empty name is no folder"),
        (
            ["train", "--data.pipeline=timm", "--data.fit=pad", "--data.auto_augment=foo"],
            "'foo' is not a policy of timm",
        ),
        (["train", "--model.pool_size"], "--model.pool_size needs a value"),
        (["train", "--model.pool_size=4"], "must be odd and positive"),
        (["train", "--model.pool_size=-3"], "must be odd and positive"),
        (["train", "--model.token_mixers=[pool,pool]"], "2 names for 4 stages"),
        (["train", "--model.token_mixers=attention", "--model.head_dim=9"], "does not divide"),
        (["train", "--data.image_size=2"], "leaves nothing for stage"),
        (["train", "--data.image_size=20"], "cannot shrink 28x28 images to 20"),
        (["train", "--data.batch_size=8002"], "above the 8000 training images"),
        (["train", "--recipe", "imagenet"], "needs --data.root DIR"),
        (["train", "--recipe", "imagenet", "--data.root", "{tmp}/x"], "no folder"),
        (["train", "--recipe", "imagenet", "--data.root", "{tmp}"], "no folder"),
        (["train", "stray"], "ablations train does not take 'stray'"),
        (["train", "--recpie", "mini"], "did you mean '--recipe'"),
        (["run", "sweeps/pool_size.yaml", "--worker=2"], "did you mean '--workers'"),
        (["train", "--results", "/proc/none"], "cannot be written"),
        (["run"], "the following arguments are required: sweeps"),
        (["run", "none.yaml"], "none.yaml cannot be read"),
        (["run", "{nested}"], "must have only parameters"),
        (["run", "{preset}"], "is not a name"),
        (["run", "{empty}"], "needs values"),
        (["run", "sweeps/pool_size.yaml", "--seeds=0,1", "--seed=2"], "are both given"),
        (["run", "{list}"], "must be a mapping"),
        (["run", "{bare}"], "parameters is missing"),
        (["run", "{odd}"], "did you mean 'model.pool_size'"),
        (["run", "sweeps/pool_size.yaml", "--seeds", "a,b"], "must be numbers"),
        (
            ["run", "sweeps/pool_size.yaml", "--workers", "0"],
            "must be a whole number, 1 or more",
        ),
        (["run", "sweeps/pool_size.yaml", "--workers", "two"], "must be a whole number"),
        (["run", "sweeps/pool_size.yaml", "--results", "/proc/none"], "cannot be written"),
        (
            ["run", "sweeps/pool_size.yaml", "--recipe", "imagenet", "--data.root", "x"],
            "no folder x",
        ),
        (["run", "sweeps/pool_size.yaml", "--data.batch_size=9000"], "above the 8000"),
        (["profile", "--recipe", "mino"], "did you mean 'mini'"),
        (["profile", "none.yaml"], "none.yaml cannot be read"),
        (["profile", "--format", "tex"], "valid are md, csv"),
        (["profile", "--model.norm=bacth"], "did you mean 'batch'"),
        (["profile", "--model.dims=[64,128,320,512000000]"], "take smaller model.dims"),
        (["profile", "--model.depths=[2,2,6,2000000000]"], "blocks are more than the 10,000"),
        (["profile", "--data.image_size=2000000"], "or data.image_size"),
        (["profile", "--model.mlp_ratio=1e300"], "GB or more, and this machine has"),
        (["status", "a", "--results", "b"], "a and --results b are two folders"),
        (["status", "{tmp}/none"], "none"),
        (["run", "sweeps/pool_size.yaml", "--seeds=0-2000000000"], "2,000,000,001 seeds"),
        (
            ["run", "sweeps/pool_size.yaml", "--model.pool_size=5"],
            "would replace the 4 values",
        ),
        (["run", "sweeps/pool_size.yaml", "--workers=1_0"], "must be a whole number"),
        (["run", "sweeps/pool_size.yaml", "--cell-timeout=1_0s"], "must be a time above 0"),
        (["run", "sweeps/pool_size.yaml", "--dry-run", "--cell-timeout=0"], "a time above 0"),
        (["run", "sweeps/pool_size.yaml", "--dry-run", "--workers=0"], "1 or more"),
        (["run", "sweeps/pool_size.yaml", "--dry-run", "--json"], "not for --dry-run"),
        (["convert", "a.pt"], "the following arguments are required"),
        (["convert", "a.pt", "b.pt", "--to", "tim"], "did you mean 'timm'"),
        (["convert", "{tmp}/a.pt", "{tmp}/b.pt", "--to", "timm"], "a.pt is missing"),
        (["convert", "{tmp}", "{tmp}/b.pt", "--to", "timm"], "is a folder"),
        (["convert", "a.pt", "{tmp}", "--to", "timm"], "is a folder: name a file"),
        (["convert", "a.pt", "b.pt", "--to", "timm", "--seed=1"], "does not take --seed"),
        (["table", "{tmp}/none"], "no folder"),
        (["table", "{tmp}"], "no records in"),
        (["table", "{tmp}", "--format", "markdown"], "valid are md, csv, tex"),
        (["table", "{tmp}", "--fromat", "md"], "did you mean '--format'"),
        (["table", ""], "an empty name is no folder"),
        (["table", "{tmp}", "--seed=3"], "does not take --seed"),
    ],
)
def test_wrong_input_gives_one_line_and_exit_code_2_and_writes_nothing(
    words, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("ABLATIONS_RECIPE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    files = {
        "nested": GRID + "  model: {parameters: [a]}\n",
        "preset": GRID + "  preset: {values: [[a]]}\n",
        "empty": GRID + "  seed: {min: 3, max: 1}\n",
        "list": "- a\n",
        "bare": "method: grid\n",
        "odd": GRID + "  model.pool_sise: {value: 3}\n",
    }
    paths = {"tmp": tmp_path / "data"}
    paths["tmp"].mkdir()
    for name, text in files.items():
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(text)
    words = [word.format(**paths) for word in words]
    if words[0] in ("train", "run") and "--results" not in words:
        words += ["--results", str(tmp_path / "runs")]
    before = set(tmp_path.rglob("*"))
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert err.startswith("ablations: ")
    assert err.count("\n") == 1
    assert set(tmp_path.rglob("*")) == before


def test_a_wandb_agent_can_start_python_m_ablations_train(tmp_path):
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


def test_results_and_data_come_from_the_environment(tiny, tmp_path, monkeypatch, capsys):
    sweep = tmp_path / "s.yaml"
    sweep.write_text("method: grid\nparameters:\n  model.pool_size: {values: [3]}\n")
    monkeypatch.setenv("ABLATIONS_RESULTS", str(tmp_path / "there"))
    monkeypatch.setenv("ABLATIONS_DATA_ROOT", str(tmp_path / "images"))
    monkeypatch.setenv("ABLATIONS_RECIPE", "imagenet")
    words = ["run", str(sweep), "--tracker=none", "--model.num_classes=3", "--workers=1"]
    assert main(words) == 2
    assert f"{tmp_path / 'images'}" in capsys.readouterr().err
    assert main([*words, "--data.root", "elsewhere"]) == 2
    assert "elsewhere" in capsys.readouterr().err
    assert main(["status"]) == 2
    assert f"no folder {tmp_path / 'there'}" in capsys.readouterr().err


def test_a_table_of_the_folder_in_the_environment_lists_unfinished_runs(
    tmp_path, monkeypatch, capsys
):
    for each in BASE:
        each.write(tmp_path)
    launched = record(0, model__norm="batch")
    (tmp_path / launched.run_id).mkdir()
    RunState(launched.run_id, launched.config).write(tmp_path)
    monkeypatch.setenv("ABLATIONS_RESULTS", str(tmp_path))
    assert main(["table"]) == 0
    assert "Modified LayerNorm -> BatchNorm" in capsys.readouterr().out


def test_convert_prints_the_layout_it_read_and_never_overwrites(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = perturbed(create("metaformer_ppaa_s12_224", num_classes=3)).state_dict()
    write_weights(source, "w.pt")
    assert main(["convert", "w.pt", "metaformer_ppaa_s12_224.pth.tar", "--to", "official"]) == 0
    out = capsys.readouterr().out
    assert "w.pt: own layout, 157 tensors, metaformer_ppaa_s12_224\n" in out
    assert "metaformer_ppaa_s12_224.pth.tar: official layout\n" in out
    assert main(["convert", "metaformer_ppaa_s12_224.pth.tar", "w.pt", "--to", "own"]) == 2
    assert "w.pt exists already" in capsys.readouterr().err
    assert main(["convert", "metaformer_ppaa_s12_224.pth.tar", "b.safetensors", "--to=own"]) == 0
    found = read_weights("b.safetensors")
    assert all(torch.equal(found[key], source[key]) for key in source)
    assert found.keys() == source.keys()
    assert main(["convert", "w.pt", "t.pt", "--to", "timm"]) == 2
    assert "checkpoint w.pt: the timm layout has no name for stages.2.position" in (
        capsys.readouterr().err
    )
    assert main(["convert", "w.pt", "t.txt", "--to", "own"]) == 2
    assert "must end in one of" in capsys.readouterr().err
    assert main(["convert", "w.pt", "none/t.pt", "--to", "official"]) == 2
    assert "none/t.pt: there is no folder none" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "t"))]


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()


def test_a_closed_pipe_is_not_an_error(tmp_path):
    for each in (*BASE, *IDENTITY):
        each.write(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)  # as after `| head`
    command = [sys.executable, "-m", "ablations", "table", str(tmp_path)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_where_a_folder_must_be_is_named(tmp_path, capsys, tiny):
    (tmp_path / tiny().run_id).write_text("in the way")
    assert main(["train", *TINY_FLAGS, "--results", str(tmp_path)]) == 2
    assert tiny().run_id in capsys.readouterr().err
    for each in BASE:
        each.write(tmp_path / "records")
    assert main(["table", str(tmp_path / "records"), "-o", "/proc/none/x.md"]) == 2
    assert "/proc" in capsys.readouterr().err


def test_unusable_records_are_left_out_and_reported(tmp_path, capsys):
    for each in BASE:
        each.write(tmp_path)
    odd = record(9)
    odd.config["recipe"] = "of_tomorrow"
    odd.write(tmp_path)
    record(8, float("nan")).write(tmp_path)
    assert main(["table", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "81.33 ± 1.53" in out
    assert "unknown recipe 'of_tomorrow'" in err
    nan = tmp_path / record(8).run_id / "record.json"
    assert (
        f"left out: {nan} is not a record: metrics.val/top1.best nan should be a finite number"
        in err
    )


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_checkpoint_and_prints_how_to_continue(start, tmp_path, how, code):
    words = [*TINY_FLAGS, "--optim.epochs=300", f"--results={tmp_path}"]
    process = start("ablations", "train", *words)
    process.wait_for_line("epoch 2/")
    process.send_signal(how)
    done = process.finish()
    assert done.returncode == code
    assert "interrupted; the same command goes on" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("*/last.ckpt"))
    assert not list(tmp_path.glob("*/record.json"))
