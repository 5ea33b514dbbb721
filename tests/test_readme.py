"""Every command of the README runs, shortened, and its table is that of the committed records."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ablations import records
from ablations.tables import render
from poolformer import create
from poolformer.checkpoints import write_weights
from poolformer.layouts import convert
from tests.conftest import TINY_FLAGS, perturbed

README = Path("README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
]
# A study of seconds, in place of the README's of minutes.
SHORT = [*TINY_FLAGS, "--optim.epochs=1"]


def write_files(folder: Path) -> None:
    """The README's own files, each a block whose first line is its name, and the sweep files."""
    (folder / "sweeps").symlink_to(Path("sweeps").resolve())
    for name, text in re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", README, re.DOTALL):
        (folder / name).write_text(text)


def test_the_readme_has_commands():
    assert COMMANDS[:2] == ["make table", "make test"]
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make")])
def test_make_knows_its_targets(command):
    """`.ci/run` runs them; here only that they exist and what the first one starts."""
    done = subprocess.run([*command.split(), "--dry-run"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = {"make table": "ablations run sweeps/token_mixer.yaml", "make test": "pytest"}
    assert expected[command] in done.stdout


def test_the_readmes_commands_run_one_after_the_other(tmp_path, picture_folder):
    """In a folder that holds what the README speaks of, nothing else.

    In place of the released weights and ImageNet: weights of the same layout and size, and a folder
    of the same form.
    """
    write_files(tmp_path)
    model = perturbed(create("poolformer_s12", num_classes=3))
    write_weights(convert(model.state_dict(), "official"), tmp_path / "poolformer_s12.pth.tar")
    (tmp_path / "imagenet").symlink_to(picture_folder)
    printed = {}
    for command in COMMANDS:
        # The one with a plugin is in the proof, tests/test_paper.py.
        if not command.startswith("ablations") or "--plugins" in command:
            continue
        words = command.split()[1:]
        short = [*SHORT, "--seeds", "0"] if words[0] == "run" else SHORT
        if words[0] in ("run", "train"):
            words += map(shlex.quote, short)
        line = f"{shlex.quote(sys.executable)} -m ablations {' '.join(words)}"
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        printed[command] = done.stdout
    own = printed["ablations run mlp_ratio.yaml --recipe mini"]
    assert "model.mlp_ratio 4 -> 2" in own
    assert "model.mlp_ratio 4 -> 8" in own
    assert (tmp_path / "table.csv").read_text().startswith("recipe,data,fingerprint")
    evaluated = next(text for command, text in printed.items() if " eval " in command)
    assert "24 pictures of 3 classes at 224x224, crop 0.9, bicubic" in evaluated
    counted = next(text for command, text in printed.items() if " profile " in command)
    assert "PoolFormer-M48" in counted


def test_the_readmes_table_is_that_of_the_committed_records():
    found, problems = records.read_all([Path("results/mini")])
    assert not problems
    assert len(found) == 54
    (table,) = re.findall(r"<!-- table -->\n(.*?)<!-- /table -->", README, flags=re.DOTALL)
    assert table.strip() == render(found, "md").strip()
