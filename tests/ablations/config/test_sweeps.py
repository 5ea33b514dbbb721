"""The shipped sweep files: comments, keys, and the rows of the paper that they train."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from ablations.config import diff, naming
from ablations.config.resolve import recipe_names, resolve
from ablations.config.sweep import expand_sweeps
from ablations.config.sweep_file import PARAMETERS
from ablations.paper import matching, published
from poolformer import SIZES
from tests.factories.configs import TABLE_SWEEPS, sweep_grid

FILES = sorted(Path("sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_starts_with_its_question_and_command(path):
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
def test_a_file_has_only_keys_that_wandb_accepts(path):
    config = yaml.safe_load(path.read_text())
    assert set(config) <= SCHEMA
    assert config["program"] == "ablations.train"
    assert config["metric"] == {"name": "val/top1", "goal": "maximize"}
    assert "early_terminate" not in config  # it would truncate runs
    assert set(config["parameters"]) <= set(PARAMETERS)
    sizes = [len(parameter["values"]) for parameter in config["parameters"].values()]
    assert len(sweep_grid(path)) == math.prod(sizes)


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_sweeps_train_every_row_of_the_papers_table_once_per_seed(recipe):
    runs = expand_sweeps(TABLE_SWEEPS, recipe)
    base = diff.flat_config(resolve(recipe).to_json())
    rows = []
    for run in runs:
        changed = diff.changed_fields(base, diff.flat_config(run.config.to_json()))
        paper = matching.find_paper_row(changed)
        assert paper is not None, changed
        assert naming.axis_of(changed) == paper.axis
        if paper.variant in matching.PAPER_CHANGES:
            assert naming.change_label(changed) == paper.variant
        rows.append((paper.variant, run.config.seed))
    assert len(published.ablation_rows()) == 18
    assert sorted(rows) == sorted(
        (variant, seed) for variant in published.ablation_rows() for seed in (0, 1, 2)
    )


def test_the_size_sweep_trains_the_five_sizes():
    models = {
        run.config.model for run in expand_sweeps([Path("sweeps/model_size.yaml")], "imagenet")
    }
    assert {(m.depths, m.dims) for m in models} == {(s.depths, s.dims) for s in SIZES.values()}


def test_the_rows_of_the_follow_up_change_one_field_each():
    base = diff.flat_config(resolve("mini").to_json())
    runs = expand_sweeps([Path("sweeps/follow_up.yaml")], "mini", seeds=[0])
    axes = {}
    for run in runs:
        changed = diff.changed_fields(base, diff.flat_config(run.config.to_json()))
        assert matching.find_paper_row(changed) is None or not changed
        assert len(changed) <= 1
        axes[naming.change_label(changed)] = naming.axis_of(changed)
    assert axes == {
        "Baseline": "Baseline",
        "Pooling -> Separable convolution": "Token mixers",
        "[Identity,Identity,Random,Random]": "Hybrid stages",
        "GELU -> StarReLU": "Activation",
    }


def test_a_run_in_several_files_is_trained_once_and_first_seeds_come_first():
    runs = expand_sweeps(TABLE_SWEEPS, "mini", seeds=[5, 3])
    shared = [run for run in runs if len(run.sweeps) == len(TABLE_SWEEPS)]
    assert [run.config.seed for run in shared] == [3, 5]
    assert [run.config.seed for run in runs] == [3] * 18 + [5] * 18


def test_overrides_apply_to_every_run():
    runs = expand_sweeps(TABLE_SWEEPS, "mini", {"optim.epochs": "7", "data.batch_size": 64})
    assert {(run.config.optim.epochs, run.config.data.batch_size) for run in runs} == {(7, 64)}
