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
from tests.conftest import TINY_FLAGS

README = Path("README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
]
# A study of seconds, in place of the README's of minutes.
SHORT = [*TINY_FLAGS, "--optim.epochs=1"]


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


def test_the_readmes_commands_run_one_after_the_other(tmp_path):
    """In a folder that holds the sweep files and the README's own one, nothing else."""
    (tmp_path / "sweeps").symlink_to(Path("sweeps").resolve())
    (yaml,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "mlp_ratio.yaml").write_text(yaml)
    printed = {}
    for command in COMMANDS:
        if not command.startswith("ablations"):
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


def test_the_readmes_table_is_that_of_the_committed_records():
    found, problems = records.read_all([Path("results/mini")])
    assert not problems
    assert len(found) == 54
    (table,) = re.findall(r"<!-- table -->\n(.*?)<!-- /table -->", README, flags=re.DOTALL)
    assert table.strip() == render(found, "md").strip()
