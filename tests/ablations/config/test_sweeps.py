"""Every shipped YAML, cell by cell; and what a broken one says."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps import utils as wandb_sweeps

from ablations.cli.main import build_parser
from ablations.config import diff, naming
from ablations.config.arguments import split_arguments
from ablations.config.resolve import recipe_names, resolve
from ablations.config.sweep import expand_sweeps
from ablations.config.sweep_file import PARAMETERS
from ablations.paper import matching, published
from poolformer import SIZES, ConfigError
from tests.factories.configs import TABLE_SWEEPS, sweep_grid

FILES = sorted(Path("sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_opens_with_its_question_and_command(path):
    head = path.read_text().split("name:")[0]
    assert "?" in head.splitlines()[0] + head.splitlines()[1]
    assert f"ablations run {path}" in head
    assert f"wandb sweep {path}" in head


# What W&B's server accepts at the top of a sweep file.
SCHEMA = {
    "apiVersion", "kind", "controller", "description", "program", "job", "image_uri", "entity",
    "project", "method", "command", "name", "run_cap", "metric", "metrics", "scheduler",
    "early_terminate", "parameters",
}  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_is_one_that_wandb_takes(path):
    config = yaml.safe_load(path.read_text())
    assert set(config) <= SCHEMA
    assert config["program"] == "ablations.train"
    assert config["metric"] == {"name": "val/top1", "goal": "maximize"}
    assert "early_terminate" not in config  # it would truncate cells
    assert set(config["parameters"]) <= set(PARAMETERS)
    sizes = [len(parameter["values"]) for parameter in config["parameters"].values()]
    assert len(sweep_grid(path)) == math.prod(sizes)


@pytest.mark.parametrize("recipe", recipe_names())
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_cell_is_the_same_run_as_the_agent_starts_it(path, recipe):
    """The client's own function turns a cell into the arguments of a process."""
    for cell in sweep_grid(path):
        sent = {"args": {name: {"value": value} for name, value in cell.items()}}
        words = wandb_sweeps.create_sweep_command_args(sent)["args"]
        own, fields = split_arguments(["train", f"--recipe={recipe}", *words])
        arguments = build_parser().parse_args(own)
        started = resolve(arguments.recipe, fields, arguments.preset)
        preset = cell.pop("preset", None)
        assert started.run_id == resolve(recipe, cell, preset).run_id


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_sweeps_give_every_row_of_the_papers_table_once_a_seed(recipe):
    cells = expand_sweeps(TABLE_SWEEPS, recipe)
    base = diff.flat_config(resolve(recipe).to_json())
    rows = []
    for cell in cells:
        changed = diff.changed_fields(base, diff.flat_config(cell.config.to_json()))
        paper = matching.find_paper_row(changed)
        assert paper is not None, changed
        assert naming.axis_of(changed) == paper.axis
        if paper.variant in matching.PAPER_CHANGES:
            assert naming.change_label(changed) == paper.variant
        rows.append((paper.variant, cell.config.seed))
    assert len(published.ablation_rows()) == 18
    assert sorted(rows) == sorted(
        (variant, seed) for variant in published.ablation_rows() for seed in (0, 1, 2)
    )


def test_the_size_sweep_gives_the_five_sizes():
    models = {
        cell.config.model for cell in expand_sweeps([Path("sweeps/model_size.yaml")], "imagenet")
    }
    assert {(m.depths, m.dims) for m in models} == {(s.depths, s.dims) for s in SIZES.values()}


def test_the_follow_ups_entries_change_one_field_each():
    base = diff.flat_config(resolve("mini").to_json())
    cells = expand_sweeps([Path("sweeps/follow_up.yaml")], "mini", seeds=[0])
    told = {}
    for cell in cells:
        changed = diff.changed_fields(base, diff.flat_config(cell.config.to_json()))
        assert matching.find_paper_row(changed) is None or not changed
        assert len(changed) <= 1
        told[naming.change_label(changed)] = naming.axis_of(changed)
    assert told == {
        "Baseline": "Baseline",
        "Pooling -> Separable convolution": "Token mixers",
        "[Identity,Identity,Random,Random]": "Hybrid stages",
        "GELU -> StarReLU": "Activation",
    }


def test_a_cell_of_several_files_is_one_and_the_first_seed_of_all_comes_first():
    cells = expand_sweeps(TABLE_SWEEPS, "mini", seeds=[5, 3])
    shared = [cell for cell in cells if len(cell.sweeps) == len(TABLE_SWEEPS)]
    assert [cell.config.seed for cell in shared] == [3, 5]
    assert [cell.config.seed for cell in cells] == [3] * 18 + [5] * 18


def test_overrides_win_in_every_cell():
    cells = expand_sweeps(TABLE_SWEEPS, "mini", {"optim.epochs": "7", "data.batch_size": 64})
    assert {(cell.config.optim.epochs, cell.config.data.batch_size) for cell in cells} == {(7, 64)}


def test_order_and_duplicates_are_wandbs(tmp_path):
    path = tmp_path / "grid.yaml"
    tree = {
        "method": "grid",
        "parameters": {
            "seed": {"min": 0, "max": 1},
            "model": {"parameters": {"norm": {"values": ["layer", "layer", "batch"]}}},
            "model.pool_size": {"value": 5},
        },
    }
    path.write_text(yaml.safe_dump(tree))
    assert sweep_grid(path) == [
        {"model.norm": norm, "model.pool_size": 5, "seed": seed}
        for norm in ("layer", "batch")
        for seed in (0, 1)
    ]


GRID = "method: grid\nparameters:\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- b\n", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: [", "is not YAML"),
        ("method: grid\n", "parameters is missing"),
        ("method: grid\nparameters: []\n", "parameters is missing"),
        (GRID + "  model.pool_sise: {values: [3]}\n", "did you mean 'model.pool_size'"),
        (GRID + "  model.pool_size: [3, 5]\n", "needs values"),
        (GRID + "  model.pool_size: {values: []}\n", "needs values"),
        (GRID + "  optim.lr: {min: 0.1, max: 0.5}\n", "needs values"),
        (GRID + "  model.pool_size: {values: [4]}\n", "must be odd"),
        (GRID + "  model.norm: {values: [bacth]}\n", "did you mean 'batch'"),
        (GRID + "  preset: {values: [ppab]}\n", "unknown preset"),
        ("method: bayes\nparameters:\n  seed: {values: [0]}\n", "method 'bayes'"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, text, told):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        expand_sweeps([path], "mini")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        expand_sweeps([tmp_path / "none.yaml"], "mini")
