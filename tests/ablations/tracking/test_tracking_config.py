"""Parameters from an agent, and the config, name and group of a run in W&B."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wandb.sdk.launch.sweeps import utils as wandb_sweeps

from ablations.config.arguments import split_arguments
from ablations.config.resolve import recipe_names, resolve
from ablations.config.schema import restore_floats, run_id_of
from ablations.errors import ConfigError
from ablations.tracking import client
from ablations.tracking.mirror import config_for_wandb, run_options

pytestmark = pytest.mark.usefixtures("no_account")


# Parameters from an agent


def sent(**values):
    """The arguments that the client's own function makes for a run."""
    args = {name: {"value": value} for name, value in values.items()}
    return wandb_sweeps.create_sweep_command_args({"args": args})["args"]


NUMBERS = st.floats(1e-12, 1e3)
VALUES = {
    "optim.lr": st.one_of(st.none(), NUMBERS),
    "optim.grad_clip": st.one_of(st.none(), NUMBERS),
    "optim.weight_decay": NUMBERS,
    "optim.betas": st.lists(st.floats(0, 0.999), min_size=2, max_size=2),
    "model.residual": st.booleans(),
    "model.depths": st.lists(st.integers(1, 9), min_size=4, max_size=4),
    "model.token_mixers": st.lists(
        st.sampled_from(["pool", "identity", "attention"]), min_size=4, max_size=4
    ),
    "model.layer_scale_init": st.one_of(st.none(), NUMBERS),
    "seed": st.integers(0, 2**31 - 1),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_values_of_an_agent_are_parsed_to_the_same_config(values):
    _, fields = split_arguments(["train", *sent(**values)])
    assert resolve("mini", fields) == resolve("mini", values)


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_nested_parameters_are_parsed_from_a_python_dict(values):
    groups = {}
    for name, value in values.items():
        group, _, field = name.partition(".")
        if field:
            groups.setdefault(group, {})[field] = value
        else:
            groups[group] = value
    _, fields = split_arguments(["train", *sent(**groups)])
    assert resolve("mini", fields) == resolve("mini", values)


def test_the_key_that_wandb_adds_to_a_requeued_run_is_ignored():
    words = sent(**{"_wandb": {"t": {"1": [5.0, "a"]}}, "model.norm": "batch"})
    assert split_arguments(["train", *words]) == (["train"], {"model.norm": "batch"})


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--model={'pool_sise': 3}", "did you mean 'model.pool_size'"),
        ("--model={'norm'", "not a mapping"),
        ("--optim=[1]", "not a mapping"),
        ("--modle.norm=batch", "did you mean 'model.norm'"),
    ],
)
def test_a_wrong_parameter_is_named(word, message):
    with pytest.raises(ConfigError, match=message):
        split_arguments(["train", word])


@pytest.fixture
def under_an_agent(tmp_path, monkeypatch):
    """As if an agent had started this process for a run with these parameters."""

    def start(**values):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({k: {"value": v} for k, v in values.items()}))
        monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(path))
        monkeypatch.setenv("WANDB_SWEEP_ID", "s")
        monkeypatch.setenv("WANDB_RUN_ID", "r")

    return start


def test_the_config_for_wandb_leaves_out_swept_parameters(tiny, under_an_agent):
    run = tiny(seed=1)
    assert config_for_wandb(run) == {"run_id": run.run_id, **run.to_json()}
    under_an_agent(**{"seed": 1, "model.pool_size": 3, "wandb_version": 1})
    whole = config_for_wandb(run)
    assert "seed" not in whole
    assert "resolved" not in whole
    assert {**whole, "seed": 1} == {"run_id": run.run_id, **run.to_json()}
    under_an_agent(model={"pool_size": 3}, seed="1")
    assert config_for_wandb(run)["resolved"] == run.to_json()


@pytest.mark.parametrize("recipe", recipe_names())
def test_floats_that_became_integers_are_restored(recipe):
    config = resolve(recipe)

    def whole(value):
        if isinstance(value, dict):
            return {name: whole(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [whole(inner) for inner in value]
        return int(value) if isinstance(value, float) and value == int(value) else value

    lost = whole(config.to_json())
    assert json.dumps(restore_floats(lost)) == json.dumps(config.to_json())
    assert run_id_of(restore_floats(lost)) == config.run_id


# Names of runs


def test_a_run_is_named_after_its_row_and_grouped_by_its_variant(monkeypatch):
    small = {"model.pool_size": 5, "optim.epochs": 1, "optim.warmup_epochs": 0}
    first, second = (run_options(resolve("mini", {**small, "seed": seed})) for seed in (0, 1))
    assert first["name"] == "Pooling size 3 -> 5, seed 0, 1 epoch, warm-up epochs 0"
    assert second["name"] == "Pooling size 3 -> 5, seed 1, 1 epoch, warm-up epochs 0"
    assert first["group"] == second["group"]
    assert first["group"].startswith("mini: pool_size=5, epochs=1")
    assert (first["job_type"], first["tags"]) == ("train", ["Token mixers", "mini"])
    assert run_options(resolve("mini", {"optim.epochs": 1, "optim.warmup_epochs": 0}))["name"] == (
        "Baseline, seed 0, 1 epoch, warm-up epochs 0"
    )
    groups = {run_options(resolve(recipe))["group"] for recipe in recipe_names()}
    assert len(groups) == len(recipe_names())
    many = {"optim.lr": 0.123456789012, "model.dims": [10, 20, 30, 41], "optim.eps": 1e-9}
    long = run_options(resolve("mini", {**many, "model.depths": [1, 1, 1, 2], "data.hflip": 0.25}))
    assert len(long["group"]) <= 128
    assert long["group"] != run_options(resolve("mini", {**many, "data.hflip": 0.25}))["group"]


def test_the_size_is_named_as_in_the_paper():
    assert run_options(resolve("imagenet", preset="s24"))["name"] == "S12 -> S24, seed 0"


def test_the_project_comes_from_the_config_or_the_environment(monkeypatch):
    assert client.entity_and_project(resolve("mini").system) == (None, "metaformer-ablations")
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("WANDB_ENTITY", "lab")
    assert client.entity_and_project(resolve("mini").system) == ("lab", "theirs")
    assert client.entity_and_project(resolve("mini", {"system.project": "mine"}).system) == (
        "lab",
        "mine",
    )
