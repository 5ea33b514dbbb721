"""The flags of `ablations run` that say where runs train and how long they may take."""

from __future__ import annotations

import argparse
import sys

import pytest

from ablations.cli.main import main
from ablations.cli.options import parse_size
from tests.factories.configs import TINY_FLAGS


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--launcher=slurm"], "unknown launcher 'slurm': valid are local, ray"),
        (["--ray-address=nowhere"], "--ray-address nowhere: that is no HOST:PORT"),
        (["--ray-address=127.0.0.1:1"], "127.0.0.1:1: nothing answers there (Connection refused)"),
        (["--ray-address=ray://127.0.0.1:1"], "nothing answers there (Connection refused)"),
        (["--launcher=local", "--ray-address=auto"], "--ray-address needs --launcher ray"),
        (["--memory-per-cell=8GB"], "--memory-per-cell needs --launcher ray"),
        (["--launcher=ray", "--memory-per-cell=8"], "'8' must be a size above 0, such as 800MB"),
        (["--launcher=ray", "--workers=0"], "--workers: '0' must be a whole number"),
        (["--workers-per-gpu", "0"], "--workers-per-gpu: '0' must be a whole number"),
        (["--workers-per-gpu", "2"], "--workers-per-gpu 2: the runs are to be trained on the CPU"),
        (["--cell-timeout", "soon"], "'soon' must be a time above 0"),
        (["--cell-timeout=-5m"], "'-5m' must be a time above 0"),
        (["--cell-timeout", "infh"], "'infh' must be a time above 0"),
    ],
)
def test_wrong_flags_are_one_line_and_write_no_file(tmp_path, capsys, flags, message):
    results = tmp_path / "runs"
    words = ["run", "sweeps/pool_size.yaml", *TINY_FLAGS, "--results", str(results)]
    assert main([*words, *flags]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not list(results.glob("*"))


def test_without_ray_the_message_names_the_extra_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["run", "sweeps/pool_size.yaml", *TINY_FLAGS, "--results", str(tmp_path / "runs")]
    assert main([*words, "--launcher=ray"]) == 2
    assert "metaformer-ablations[cluster]" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "bytes_"), [("800MB", 8e8), ("8GB", 8e9), ("1.5tb", 1.5e12)])
def test_sizes_have_a_number_and_a_unit(text, bytes_):
    assert parse_size(text) == bytes_


@pytest.mark.parametrize("text", ["0GB", "GB", "8", "-1GB", "8GiB"])
def test_wrong_sizes_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="must be a size above 0"):
        parse_size(text)
