"""A field that a run would not use is refused; every other change gives another run."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data import create_transform
from timm.optim import create_optimizer_v2, get_optimizer_info
from timm.scheduler import create_scheduler_v2

from ablations.config import unused_fields
from ablations.config.limits import VALID_NAMES
from ablations.config.resolve import FIELDS, resolve
from poolformer import ConfigError, MetaFormer
from tests.factories.configs import TINY

# A field and another value of it, overrides with which a run does not use the field, and
# overrides with which it does.
UNUSED = [
    ("model.pool_size", 5, {"model.token_mixers": "identity"}, {"model.token_mixers": "pool"}),
    ("model.head_dim", 8, {}, {"model.token_mixers": "attention"}),
    ("model.head_dim", 8, {}, {"model.dims": [8, 8, 16, 16]}),
    ("model.mlp_ratio", 2, {"model.channel_mlp": False}, {"model.channel_mlp": True}),
    ("model.activation", "relu", {"model.channel_mlp": False}, {"model.channel_mlp": True}),
    ("model.drop_path", 0.1, {"model.depths": [1], "model.dims": [16]}, {"model.depths": [2]}),
    ("model.down_kernel", 5, {"model.depths": [1], "model.dims": [16]}, None),
    ("model.down_stride", 1, {"model.depths": [1], "model.dims": [16]}, None),
    ("model.down_padding", 2, {"model.depths": [1], "model.dims": [16]}, None),
    ("data.fit", "resize", {"data.image_size": 28}, {"data.image_size": 32}),
    ("data.mixup", 0.2, {"data.mixup_prob": 0, "data.cutmix": 1}, {"data.mixup_prob": 1}),
    ("data.mixup", 0.2, {"data.mixup_switch_prob": 1, "data.cutmix": 1}, {"data.cutmix": 0}),
    ("data.cutmix", 0.2, {"data.mixup_switch_prob": 0, "data.mixup": 1}, {"data.mixup": 0}),
    ("data.mixup_prob", 0.5, {}, {"data.mixup": 0.2}),
    ("data.mixup_switch_prob", 0.7, {"data.mixup": 0.2}, {"data.cutmix": 0.2}),
    ("optim.betas", [0.8, 0.9], {"optim.optimizer": "sgd"}, {"optim.optimizer": "lion"}),
    ("optim.eps", 0.1, {"optim.optimizer": "lion"}, {"optim.optimizer": "lamb"}),
    ("optim.warmup_lr", 0.001, {"optim.warmup_epochs": 0}, {"optim.warmup_epochs": 1}),
    (
        "optim.min_lr",
        0.001,
        {"optim.epochs": 1, "optim.warmup_epochs": 0, "optim.schedule_unit": "epoch"},
        {"optim.cooldown_epochs": 1},
    ),
]


@pytest.mark.parametrize(("name", "value", "without", "using"), UNUSED)
def test_a_field_that_a_run_does_not_use_is_refused(name, value, without, using):
    with pytest.raises(ConfigError, match=f"{name} .* would change nothing in this run") as caught:
        resolve("mini", {**without, name: value}, study_overrides=without)
    assert "\n" not in str(caught.value)
    if using is not None:
        used = {**without, **using}
        changed = resolve("mini", {**used, name: value}, study_overrides=without)
        assert changed.run_id != resolve("mini", used, study_overrides=without).run_id
    # A flag for a whole study, and the recipe's own value, are accepted.
    assert resolve("mini", {**without, name: value}, study_overrides=[name, *without])
    group, field = name.split(".")
    own = {**without, name: getattr(getattr(resolve("mini"), group), field)}
    assert resolve("mini", own, study_overrides=without) == resolve(
        "mini", without, study_overrides=without
    )


def test_every_condition_is_tested():
    assert {name for name, *_ in UNUSED} | {"data.color_jitter"} == set(unused_fields.CONDITIONS)


def test_colour_jitter_is_used_where_no_policy_replaces_it():
    with pytest.raises(ConfigError, match="data.color_jitter 0.1 would change nothing"):
        resolve("imagenet", {"data.color_jitter": 0.1})
    for policy in (None, "3a"):
        resolve("imagenet", {"data.color_jitter": 0.1, "data.auto_augment": policy})


def test_conditions_agree_with_timm():
    for name in VALID_NAMES["optim.optimizer"]:
        known = get_optimizer_info(name)
        assert known.has_betas == (name in unused_fields.WITH_BETAS)
        # The defaults of the created optimizer show whether it takes epsilon.
        created = create_optimizer_v2(torch.nn.Linear(1, 1), opt=name, lr=0.1)
        assert ("eps" in created.defaults) == (name in unused_fields.WITH_EPS)
    for policy, jittered in (("rand-m9-mstd0.5-inc1", False), ("3a", True), (None, True)):
        transform = create_transform(
            32, is_training=True, color_jitter=0.4, auto_augment=policy, separate=False
        )
        assert ("ColorJitter" in repr(transform)) == jittered


OTHER_VALUES = {
    "model.depths": [[1, 1, 2, 1], [2, 2]],
    "model.dims": [[16, 16, 16, 32]],
    "model.mlp_ratio": [2, 8],
    "model.token_mixers": ["identity", "attention", ["pool", "pool", "identity", "attention"]],
    "model.pool_size": [5, 7],
    "model.norm": ["layer", "batch", "none"],
    "model.activation": ["relu", "star_relu"],
    "model.residual": [False],
    "model.channel_mlp": [False],
    "model.layer_scale_init": [None, 0.1],
    "model.drop_path": [0.2],
    "model.position_embedding": [1, 2],
    "model.head_dim": [8, 4],
    "model.stem_kernel": [5],
    "model.stem_stride": [2],
    "model.stem_padding": [1],
    "model.down_kernel": [5],
    "model.down_stride": [1],
    "model.down_padding": [2],
    "data.image_size": [64, 28],
    "data.batch_size": [64],
    "data.hflip": [0.5],
    "data.fit": ["resize"],
    "data.crop_padding": [2],
    "data.mixup": [0.2],
    "data.cutmix": [0.5],
    "data.mixup_prob": [0.5, 0.0],
    "data.mixup_switch_prob": [0.0, 1.0, 0.3],
    "optim.optimizer": ["sgd", "lion", "lamb"],
    "optim.lr": [0.1],
    "optim.lr_base": [0.1],
    "optim.weight_decay": [0.1],
    "optim.betas": [[0.8, 0.9]],
    "optim.eps": [0.001],
    "optim.epochs": [2, 4],
    "optim.warmup_epochs": [0],
    "optim.warmup_lr": [0.0001],
    "optim.min_lr": [0.001],
    "optim.cooldown_epochs": [1],
    "optim.schedule_unit": ["epoch"],
    "optim.label_smoothing": [0.2],
    "optim.grad_clip": [1.0],
    "seed": [3],
}
SETTINGS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in OTHER_VALUES.items()}
)


def test_other_values_cover_every_field_in_the_id():
    left = {name for name in FIELDS if not name.startswith("system.")} - OTHER_VALUES.keys()
    timm = {"auto_augment", "color_jitter", "random_erasing", "crop_scale", "crop_pct"}
    timm |= {"train_interpolation", "pipeline", "name", "root"}
    assert left == {f"data.{name}" for name in timm} | {"model.num_classes"}
    assert set(VALID_NAMES["data.pipeline"]) == {"tensor", "timm"}


def signature(run):
    """All that training derives from a config: the model and the numbers of the loop."""
    model, data, optim = run.model, run.data, run.optim
    mixes = data.mixing and data.mixup_prob > 0
    both = data.mixup > 0 and data.cutmix > 0
    with torch.device("meta"):
        built = MetaFormer(model)
    parameter = torch.nn.Parameter(torch.zeros(1))
    betas = {"betas": optim.betas} if get_optimizer_info(optim.optimizer).has_betas else {}
    made = create_optimizer_v2([parameter], opt=optim.optimizer, lr=optim.lr, **betas)
    scheduler, _ = create_scheduler_v2(
        made,
        num_epochs=optim.epochs,
        warmup_epochs=optim.warmup_epochs,
        warmup_lr=optim.warmup_lr,
        min_lr=optim.min_lr,
        cooldown_epochs=optim.cooldown_epochs,
        step_on_epochs=optim.schedule_unit == "epoch",
        updates_per_epoch=3,
    )
    rates = []
    for epoch in range(optim.total_epochs):
        for step in range(3):
            rates.append(made.param_groups[0]["lr"])
            if optim.schedule_unit == "step":
                scheduler.step_update(3 * epoch + step + 1)
        if optim.schedule_unit == "epoch":
            scheduler.step(epoch + 1)
    return (
        repr(built),
        [(name, tuple(value.shape)) for name, value in built.state_dict().items()],
        [model.residual, model.layer_scale_init, run.seed],
        [data.image_size, data.batch_size, data.hflip, data.crop_padding, mixes],
        data.fit if data.image_size != 28 else "",
        data.mixing,  # another loss function
        [mixes and data.mixup, mixes and data.cutmix, mixes and data.mixup_prob],
        mixes and both and data.mixup_switch_prob,
        [optim.optimizer, optim.weight_decay, betas, optim.grad_clip, optim.label_smoothing],
        optim.eps if optim.optimizer in unused_fields.WITH_EPS else "",
        rates,
    )


@settings(deadline=None, max_examples=150)
@given(SETTINGS, st.sampled_from(sorted(OTHER_VALUES)), st.data())
def test_changing_any_field_changes_training_or_is_refused(others, name, data):
    """Change one field of a random run."""
    value = data.draw(st.sampled_from(OTHER_VALUES[name]))
    others.pop(name, None)
    try:
        before, after = resolve("mini", others), resolve("mini", {**others, name: value})
    except ConfigError:
        return
    if name == "model.head_dim" and "model.dims" in others:
        return  # the one exception: a head dimension for all runs of a study
    if before.run_id != after.run_id:
        assert signature(before) != signature(after)


def test_the_small_model_of_the_tests_is_valid():
    assert resolve("mini", TINY).model.head_dim == 8
