"""Environment variables, and paths as users type them."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import pytest

from ablations import data
from ablations.cli import options
from ablations.cli.main import build_parser, main
from ablations.config.resolve import resolve
from ablations.data import count_classes
from ablations.machine import env_vars
from ablations.tracking import client


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_an_empty_variable_counts_as_unset(monkeypatch):
    for name in ("RECIPE", "RESULTS", "DATA_ROOT", "NO_REUSE"):
        monkeypatch.setenv(f"ABLATIONS_{name}", "")
    arguments = build_parser().parse_args(["train"])
    assert (arguments.recipe, arguments.results) == ("mini", Path("runs"))
    assert options.default_data_root() == {}
    assert not env_vars.get_bool("ABLATIONS_NO_REUSE")


def test_an_invalid_boolean_variable_is_an_error_of_one_line(monkeypatch, capsys):
    monkeypatch.setenv("ABLATIONS_NO_REUSE", "perhaps")
    assert main(["train"]) == 2
    err = capsys.readouterr().err
    assert "ABLATIONS_NO_REUSE 'perhaps' must be one of 1, true, yes, on, 0, false, no, off" in err
    assert err.count("\n") == 1
    assert main(["table", "results/mini"]) == 0  # which does not read it


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["train", "--results=~/x"], "results"),
        (["run", "~/x"], "sweeps"),
        (["plan", "~/x"], "sweeps"),
        (["plan", "--check=~/x"], "check"),
        (["status", "--results=~/x"], "results"),
        (["clean", "--results=~/x"], "results"),
        (["table", "~/x"], "results"),
        (["table", "--output=~/x"], "output"),
        (["table", "--offline=~/x"], "offline"),
        (["claims", "-o~/x"], "output"),
        (["report", "-o", "~/x"], "output"),
        (["eval", "--checkpoint=~/x"], "checkpoint"),
        (["profile", "~/x"], "sweeps"),
        (["profile", "--output=~/x"], "output"),
        (["convert", "--to=own", "~/x", "y"], "source"),
        (["convert", "--to=own", "y", "~/x"], "target"),
    ],
)
def test_a_tilde_is_the_home_folder(home, words, name):
    found = getattr(build_parser().parse_args(words), name)
    assert found in (home / "x", [home / "x"])


def test_a_tilde_in_a_variable_is_the_home_folder(home, monkeypatch):
    monkeypatch.setenv("ABLATIONS_RESULTS", "~/runs")
    monkeypatch.setenv("WANDB_DIR", "~/w")
    assert build_parser().parse_args(["train"]).results == home / "runs"
    assert options.default_results() == home / "runs"
    assert client.wandb_folder("runs") == str(home / "w")


def test_the_tilde_of_an_unknown_user_is_kept():
    assert env_vars.expand_path("~nobody knows/x") == Path("~nobody knows/x")
    assert env_vars.expand_path("~root/x") == Path(os.path.expanduser("~root"), "x")
    with pytest.raises(argparse.ArgumentTypeError, match="an empty name"):
        options.path_argument("")


def test_a_data_root_may_begin_with_a_tilde(home, image_folder):
    (home / "images").symlink_to(image_folder)
    fields = {"data.name": "folder", "data.image_size": 32, "data.batch_size": 16}
    given, plain = (
        resolve("imagenette", {**fields, "data.root": root}, count_classes=count_classes)
        for root in ("~/images", str(image_folder))
    )
    assert given.data.root == "~/images"
    assert given.run_id == plain.run_id
    assert data.count_classes(given.data) == 3
    assert data.load_dataset(given.data).fingerprint == data.load_dataset(plain.data).fingerprint
    assert data.is_available(given.data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nosuch", "cannot be written"),
        (lambda folder: folder / "file", "cannot be written"),
        (lambda folder: folder / ("long" * 20), "is longer than the 60 bytes"),
    ],
)
def test_a_tmpdir_that_cannot_be_used_is_replaced(tmp_path, monkeypatch, make, message):
    (tmp_path / "file").touch()
    (tmp_path / ("long" * 20)).mkdir()
    monkeypatch.setenv("TMPDIR", str(make(tmp_path)))
    monkeypatch.setattr(tempfile, "tempdir", None)
    line = env_vars.set_up_tmpdir()
    assert line is not None
    assert message in line
    assert os.environ["TMPDIR"] == tempfile.gettempdir() != str(make(tmp_path))
    assert env_vars.set_up_tmpdir() is None


def test_a_deleted_working_directory_is_an_error_of_one_line(tmp_path, monkeypatch, capsys):
    gone, results = tmp_path / "gone", Path("results/mini").resolve()
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["table", str(results)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("ablations: the working directory cannot be used")
    assert err.count("\n") == 1


def test_the_wandb_client_gets_folders_where_there_is_no_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "nosuch"))
    for name in client.HOME_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    client._ensure_home()
    assert all(Path(os.environ[name]).is_dir() for name in client.HOME_VARIABLES)
    monkeypatch.delenv("HOME")
    client._ensure_home()
    assert Path(os.environ["HOME"]) == Path(os.path.expanduser("~"))
