"""Recipes, presets and overrides give a config and its run id."""

from __future__ import annotations

import csv
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablations.config.resolve import FIELDS, preset_names, recipe_names, resolve
from ablations.paper.published import PAPER_DIR
from poolformer import SIZES, ConfigError, MetaFormer

RECIPES_AND_PRESETS = [
    (recipe, preset) for recipe in recipe_names() for preset in preset_names(recipe)
]


@pytest.mark.parametrize(("recipe", "preset"), RECIPES_AND_PRESETS)
def test_every_preset_of_every_recipe_builds(recipe, preset):
    config = resolve(recipe, {"model.num_classes": 10} if recipe == "imagenet" else {}, preset)
    with torch.device("meta"):
        MetaFormer(config.model)
    assert config.model.image_size == config.data.image_size
    json.dumps(config.to_json(), allow_nan=False)


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_has_the_presets_of_the_paper(recipe):
    assert set(SIZES) < set(preset_names(recipe))
    assert {"pppa", "ppaa", "pppf", "ppff", "no_residual", "no_channel_mlp"} < set(
        preset_names(recipe)
    )
    assert resolve(recipe, preset="s12").run_id == resolve(recipe).run_id


@pytest.mark.parametrize("recipe", recipe_names())
@pytest.mark.parametrize("preset", ["pppa", "ppaa"])
def test_attention_hybrids_make_the_same_other_changes_as_in_the_paper(recipe, preset):
    base, hybrid = resolve(recipe), resolve(recipe, preset=preset)
    assert hybrid.model.norm == "layer"
    assert hybrid.data.batch_size * 4 == base.data.batch_size
    assert hybrid.optim.lr == pytest.approx(base.optim.lr / 4)
    assert hybrid.model.position_embedding == {"pppa": 4, "ppaa": 3}[preset]


def published(parameter: str, models: str = "all") -> str:
    """A value of the paper's ImageNet training."""
    with (PAPER_DIR / "hyperparams.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        return next(
            row["value"]
            for row in rows
            if (row["task"], row["models"], row["parameter"]) == ("imagenet", models, parameter)
        )


def test_the_imagenet_recipe_has_the_papers_hyperparameters():
    run = resolve("imagenet")
    data, optim = run.data, run.optim
    assert optim.epochs == int(published("epochs"))
    assert optim.optimizer == published("optimizer").lower()
    assert optim.eps == float(published("adam_eps"))
    assert list(optim.betas) == [float(beta) for beta in published("adam_betas").split(",")]
    assert data.batch_size == int(published("batch_size_paper"))
    assert optim.lr == pytest.approx(float(published("peak_lr_paper")))
    assert optim.weight_decay == float(published("weight_decay"))
    assert optim.warmup_epochs == int(published("warmup_epochs"))
    assert optim.warmup_lr == float(published("warmup_lr"))
    assert optim.min_lr == float(published("min_lr"))
    assert optim.cooldown_epochs == int(published("cooldown_epochs"))
    assert optim.label_smoothing == float(published("label_smoothing"))
    assert data.mixup == float(published("mixup_alpha"))
    assert data.cutmix == float(published("cutmix_alpha"))
    assert data.mixup_prob == float(published("mixup_prob"))
    assert data.mixup_switch_prob == float(published("mixup_cutmix_switch_prob"))
    assert data.random_erasing == float(published("random_erasing_prob"))
    assert data.auto_augment == published("auto_augment")
    assert data.color_jitter == float(published("color_jitter"))
    assert data.hflip == float(published("hflip"))
    assert data.train_interpolation == published("train_interpolation")
    assert list(data.crop_scale) == [float(part) for part in published("rrc_scale").split(",")]
    assert data.image_size == int(published("train_resolution"))


@pytest.mark.parametrize("size", SIZES)
def test_the_imagenet_recipe_has_the_papers_regularisation_of_each_size(size):
    run, name = resolve("imagenet", preset=size), f"PoolFormer-{size.upper()}"
    assert run.model.drop_path == float(published("drop_path", name))
    assert run.model.layer_scale_init == float(published("layer_scale_init", name))
    assert run.data.crop_pct == float(published("eval_crop_pct", name))
    assert (run.model.depths, run.model.dims) == (SIZES[size].depths, SIZES[size].dims)


@pytest.mark.parametrize(
    ("model", "preset"), [("pppa", "pppa"), ("ppaa", "ppaa"), ("pppf", "pppf"), ("ppff", "ppff")]
)
def test_hybrids_have_the_papers_evaluation_crop(model, preset):
    crop = float(published("eval_crop_pct", f"metaformer_{model}_s12_224"))
    assert resolve("imagenet", preset=preset).data.crop_pct == crop


def test_machine_and_paths_are_not_part_of_the_run_id():
    base = resolve("mini")
    same = {
        "system.threads": 2,
        "system.tracker": "none",
        "system.accelerator": "cpu",
        "data.root": "/elsewhere",
        "model.pool_size": 3,
    }
    assert resolve("mini", same).run_id == base.run_id
    for other in ({"seed": 1}, {"model.pool_size": 5}, {"data.hflip": 0.25}, {"optim.lr": 0.1}):
        assert resolve("mini", other).run_id != base.run_id


def test_a_run_id_is_pinned():
    """Records on other machines have these ids: changing one is a breaking change."""
    assert resolve("imagenet").run_id == "323c7b62a458"


def test_equal_learning_rates_have_one_run_id_however_they_are_set():
    by_rule = resolve("mini", {"optim.lr_base": 0.032, "data.batch_size": 64})
    by_hand = resolve("mini", {"optim.lr": 0.002, "data.batch_size": 64})
    assert by_rule.optim.lr == 0.002
    assert by_rule.run_id == by_hand.run_id


VALUES = {
    "model.pool_size": st.sampled_from([3, 5, 7, 9]),
    "model.norm": st.sampled_from(["group", "layer", "batch", "none"]),
    "model.residual": st.booleans(),
    "model.layer_scale_init": st.none() | st.floats(1e-6, 1),
    "model.token_mixers": st.lists(
        st.sampled_from(["pool", "identity", "random", "attention"]), min_size=4, max_size=4
    ),
    "optim.lr": st.floats(1e-6, 1),
    "optim.epochs": st.integers(2, 500),
    "data.hflip": st.floats(0, 1),
    "seed": st.integers(0, 2**31 - 1),
}


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_values_as_text_give_the_same_run_as_typed_values(overrides):
    """``${args}`` is ``--key=str(value)``: Python's spelling of lists, booleans and null."""
    if "pool" not in overrides.get("model.token_mixers", ["pool"]):
        overrides.pop("model.pool_size", None)  # it would be refused: no mixer uses it
    typed = resolve("mini", overrides)
    from_text = resolve("mini", {name: str(value) for name, value in overrides.items()})
    assert from_text == typed
    assert from_text.run_id == typed.run_id


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model.pool_sise", 3, "did you mean 'model.pool_size'"),
        ("optim.learning_rate", 3, "unknown field"),
        ("model.pool_size", "three", "is not a whole number"),
        ("model.pool_size", 2.5, "is not a whole number"),
        ("model.depths", 3, "is not a list of whole numbers"),
        ("model.residual", "perhaps", "is not true or false"),
        ("optim.lr", "fast", "is not a number or null"),
        ("model.image_size", 64, "unknown field"),
        ("model.num_classes", 7, "follows from data.name mini: 10"),
        ("data.name", "cifar1000", "did you mean 'cifar100'"),
        ("data.auto_augment", "rand-m9", "read by data.pipeline timm only"),
        ("data.pipeline", "timn", "did you mean 'timm'"),
        ("data.batch_size", 0, "must be 1 or more"),
        ("optim.epochs", 0, "must be 1 or more"),
        ("optim.warmup_epochs", 50, "fewer than optim.epochs"),
        ("optim.optimizer", "adamww", "did you mean 'adamw'"),
        ("optim.lr", -1, "must be positive"),
        ("optim.lr", float("nan"), "must be positive"),
        ("seed", -1, "between 0 and"),
        ("system.tracker", "wandbb", "did you mean 'wandb'"),
    ],
)
def test_an_invalid_field_is_reported_in_one_line(name, value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        resolve("mini", {name: value})
    assert "\n" not in str(caught.value)


def test_the_crop_scale_must_rise():
    with pytest.raises(ConfigError, match="must rise"):
        resolve("imagenet", {"data.crop_scale": [0.9, 0.1]})


def test_unknown_recipes_and_presets_suggest_valid_ones():
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        resolve("mino")
    with pytest.raises(ConfigError, match="unknown recipe '_rows'"):
        resolve("_rows")
    with pytest.raises(ConfigError, match="did you mean 'ppaa'"):
        resolve("mini", preset="ppaaa")


def test_every_field_refuses_a_mapping():
    for name in FIELDS:
        with pytest.raises(ConfigError):
            resolve("mini", {name: {"no": "field", "is": "this"}})


@pytest.mark.parametrize(("batch", "devices", "multiple"), [(33, 1, 2), (36, 4, 8)])
def test_mixup_needs_an_even_number_of_images_in_each_process(batch, devices, multiple):
    fields = {"data.mixup": 0.2, "data.batch_size": batch, "system.devices": devices}
    with pytest.raises(ConfigError, match=f"data.batch_size {batch} .* multiple of {multiple}"):
        resolve("mini", fields)
