"""The commands of the README and the guide run, shortened; the README's table is up to date."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from ablations.analysis.build import build_studies
from ablations.config.resolve import resolve
from ablations.store import records
from ablations.tables import render
from poolformer import create
from poolformer.checkpoints import convert_layout
from tests.factories.configs import TINY, TINY_FLAGS
from tests.factories.models import perturbed, write_weights
from tests.factories.processes import run
from tests.factories.readme import write_files

README = Path("README.md").read_text()
PAGES = ["run", "images", "cluster", "wandb", "results", "models"]
GUIDE = [Path("docs/guide", f"{name}.md") for name in PAGES]


def blocks(text: str) -> list[list[str]]:
    """The shell blocks of a page, each as its commands without comments."""
    found = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [[line.split("#")[0].strip() for line in block.splitlines()] for block in found]


BLOCKS = blocks(README)
(WITH_WANDB,) = [block for block in BLOCKS if block[0].startswith("wandb sweep")]
COMMANDS = [command for block in BLOCKS if block is not WITH_WANDB for command in block]
# The guide's commands that the README does not have, page by page.
GUIDE_COMMANDS = [
    command
    for page in GUIDE
    for block in blocks(page.read_text())
    if block != WITH_WANDB
    for command in block
    if command not in COMMANDS
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


@pytest.mark.slow
def test_the_commands_of_readme_and_guide_run_one_after_the_other(tmp_path, image_folder):
    """In a folder that holds the README's files and nothing else.

    Random weights of the same layout and size replace the released ones, and a small folder of the
    same layout replaces ImageNet.
    """
    write_files(tmp_path)
    model = perturbed(create("poolformer_s12", num_classes=3))
    write_weights(
        convert_layout(model.state_dict(), "official"), tmp_path / "poolformer_s12.pth.tar"
    )
    (tmp_path / "imagenet").symlink_to(image_folder)
    printed = {}
    for command in [*COMMANDS, *GUIDE_COMMANDS]:
        # tests/test_paper.py runs the one with a mixer.
        if not command.startswith("ablations") or "my_mixer" in command:
            continue
        words = command.split()[1:]
        short = [*SHORT, "--seeds", "0"] if words[0] == "run" else SHORT
        if "--until-decided" in words:
            short = [*SHORT, "--seeds", "0,1"]
            words[words.index("--looks") + 1] = "2"
        if words[0] in ("run", "train", "plan") and "--check" not in words:
            words += map(shlex.quote, short)
        shell = subprocess.run(
            ["bash", "-c", f"printf '%s\\0' {' '.join(words)}"], cwd=tmp_path, capture_output=True
        )
        expanded = shell.stdout.decode().split("\0")[:-1]
        # Ray starts the Python of the process that starts it.
        done = run("ablations", *expanded, cwd=tmp_path, warm="ray" not in words)
        assert done.returncode == 0, done.stderr
        printed[command] = done.stdout
    own = printed["ablations run mlp_ratio.yaml --recipe mini"]
    assert "MLP ratio 4 -> 2" in own
    assert "MLP ratio 4 -> 8" in own
    assert (tmp_path / "table.csv").read_text().startswith("recipe,data,fingerprint")
    evaluated = next(text for command, text in printed.items() if " eval " in command)
    assert "24 images of 3 classes at 224x224, crop 0.9, bicubic" in evaluated
    counted = next(text for command, text in printed.items() if " profile " in command)
    assert "PoolFormer-M48" in counted


@pytest.mark.slow
def test_the_readmes_commands_for_wandb(tmp_path, server):
    """One after the other; the sweep is shortened and its agent trains one run."""
    from tests.wandb_server.client import cli, start

    config = yaml.safe_load(Path("sweeps/pool_size.yaml").read_text())
    short = {**TINY, "optim.epochs": 1, "system.tracker": "wandb"}
    config["parameters"] |= {name: {"value": value} for name, value in short.items()}
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "pool_size.yaml").write_text(yaml.safe_dump(config))
    words = [f"--{name}={value}" for name, value in short.items()]
    env = {"WANDB_DIR": str(tmp_path / "runs")}
    (tmp_path / "runs").mkdir()
    done = cli(server, tmp_path, "train", *words, "--seed=9", WANDB_MODE="offline", **env)
    assert done.returncode == 0, done
    printed = {}
    for command in WITH_WANDB:
        line = command.replace("SWEEP", next(iter(server.sweeps), ""))
        line = line.replace("wandb agent", "wandb agent --count 1")
        done = start(server, tmp_path, "python", "-c", RUN, line, **env).finish()
        assert done.returncode == 0, (line, done.stdout)
        printed[command.split("#")[0]] = done.stdout
    sweep, agent, status, table, published, synced = printed.values()
    assert "wandb agent lab/ablations/" in sweep
    assert "finished, top-1" in agent
    assert "2 runs: 2 finished" in status
    # The offline run is not in W&B yet.
    assert "| 1 |" in re.sub(" +", " ", table)
    assert "| 2 |" in re.sub(" +", " ", published)
    assert "Finished syncing" in synced
    assert {run.state for run in server.runs.values()} == {"finished"}
    assert len(server.runs) == 3


# The shell's words and patterns, in a process whose environment the server makes.
RUN = "import subprocess, sys; sys.exit(subprocess.call(['bash', '-c', sys.argv[1]]))"


def test_the_readmes_program_runs(capsys):
    (program,) = re.findall(r"```python\n(import ablations\n.*?)```", README, flags=re.DOTALL)
    exec(program, {})
    printed = capsys.readouterr().out
    assert resolve("mini", {"model.token_mixers": "identity", "seed": 1}).run_id in printed
    assert "Pooling -> Identity mapping" in printed


def test_no_paragraph_of_the_readme_is_long():
    text = re.sub(r"```.*?```|<!-- table -->.*?<!-- /table -->", "", README, flags=re.DOTALL)
    for paragraph in text.split("\n\n"):
        assert paragraph.startswith(("|", "-")) or len(paragraph.strip().splitlines()) <= 5, (
            paragraph
        )


def test_the_readmes_table_is_that_of_the_committed_records():
    found, problems = records.read_records([Path("results/mini")])
    assert not problems
    assert len(found) == 54
    (table,) = re.findall(r"<!-- table -->\n(.*?)<!-- /table -->", README, flags=re.DOTALL)
    assert table.strip() == render(found, "md").strip()


def test_the_readmes_numbers_of_the_control_are_those_of_the_committed_records():
    found, problems = records.read_records([Path("results/controls")])
    assert not problems
    rows = {row.label: row for row in build_studies(found)[0].rows}
    row = rows["[Pool,Pool,Attention,Attention]"]
    delta, control = row.delta, row.control.delta
    text = " ".join(README.split())
    assert f"by {delta.mean:.2f} points" in text
    sentence = (
        f"keeps {control.mean:.2f} points, 95% interval {control.low:.2f} to {control.high:.2f}"
    )
    assert sentence in text
