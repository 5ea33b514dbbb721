"""Refuses fields that a run would not use.

``CONDITIONS`` has the condition under which a run uses a field; other fields are always used.
`resolve` checks the fields that the user sets, never those that a recipe sets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ablations.config.data_sources import find_data_source
from ablations.errors import ConfigError
from poolformer.config import MIXER_NAMES

if TYPE_CHECKING:
    from ablations.config.schema import RunConfig

BUILT_IN = tuple(MIXER_NAMES)  # a plugin's mixer may use any field of the model
# The optimizers of timm that use these fields.
WITH_BETAS = ("adamw", "adam", "lamb", "lion")
WITH_EPS = ("adamw", "adam", "lamb")


class Condition(NamedTuple):
    """When a run uses a field, as a function and in words."""

    holds: Callable[[RunConfig], bool]
    words: str


def _uses(run: RunConfig, mixer: str | None = None) -> bool:
    """Whether a run has this mixer, or one of a plugin."""
    return any(each == mixer or each not in BUILT_IN for each in run.model.mixers)


_MLP = Condition(
    lambda run: run.model.channel_mlp or _uses(run),
    "with model.channel_mlp true",
)
_DOWN = Condition(lambda run: len(run.model.depths) > 1, "with two stages or more (model.depths)")
CONDITIONS: dict[str, Condition] = {
    "model.pool_size": Condition(
        lambda run: _uses(run, "pool"), "where model.token_mixers has pool"
    ),
    "model.head_dim": Condition(
        lambda run: _uses(run, "attention"), "where model.token_mixers has attention"
    ),
    "model.mlp_ratio": _MLP,
    "model.activation": _MLP,
    "model.drop_path": Condition(lambda run: sum(run.model.depths) > 1, "with two blocks or more"),
    "model.down_kernel": _DOWN,
    "model.down_stride": _DOWN,
    "model.down_padding": _DOWN,
    "data.fit": Condition(
        lambda run: find_data_source(run.data.name).image_side != run.data.image_size,
        "where data.image_size is not the images' own",
    ),
    "data.color_jitter": Condition(
        lambda run: run.data.auto_augment is None or "3a" in run.data.auto_augment,
        "where data.auto_augment, which replaces it, is null",
    ),
    "data.mixup": Condition(
        lambda run: (
            run.data.mixup_prob > 0
            and not (run.data.cutmix > 0 and run.data.mixup_switch_prob == 1)
        ),
        "with data.mixup_prob above 0 and data.mixup_switch_prob below 1",
    ),
    "data.cutmix": Condition(
        lambda run: (
            run.data.mixup_prob > 0 and not (run.data.mixup > 0 and run.data.mixup_switch_prob == 0)
        ),
        "with data.mixup_prob and data.mixup_switch_prob above 0",
    ),
    "data.mixup_prob": Condition(
        lambda run: run.data.mixing, "with data.mixup or data.cutmix above 0"
    ),
    "data.mixup_switch_prob": Condition(
        lambda run: run.data.mixup > 0 and run.data.cutmix > 0 and run.data.mixup_prob > 0,
        "with data.mixup, data.cutmix and data.mixup_prob above 0",
    ),
    "optim.betas": Condition(
        lambda run: run.optim.optimizer in WITH_BETAS,
        f"by optim.optimizer {', '.join(WITH_BETAS)}",
    ),
    "optim.eps": Condition(
        lambda run: run.optim.optimizer in WITH_EPS, f"by optim.optimizer {', '.join(WITH_EPS)}"
    ),
    "optim.warmup_lr": Condition(
        lambda run: run.optim.warmup_epochs > 0, "with optim.warmup_epochs above 0"
    ),
    "optim.min_lr": Condition(
        lambda run: run.optim.schedule_unit == "step" or run.optim.total_epochs > 1,
        "with optim.schedule_unit step, or two epochs or more",
    ),
}
# A study may set the head dimension for all rows: with these widths, attention could not be built.
ALLOWED_WITH = {"model.head_dim": "model.dims"}


def check_unused(
    run: RunConfig, given: Mapping[str, object], study_overrides: Collection[str]
) -> None:
    """Refuse fields that the run would not use.

    Args:
        run: The run.
        given: The fields that the user sets to another value than the recipe.
        study_overrides: Fields that are not checked: set for a study in which other runs use them.

    Raises:
        ConfigError: The run would not use a field.
    """
    for name in given:
        condition = CONDITIONS.get(name)
        if condition is None or name in study_overrides or ALLOWED_WITH.get(name) in given:
            continue
        if not condition.holds(run):
            raise ConfigError(
                f"{name} {given[name]!r} would change nothing in this run: it is used only "
                f"{condition.words}. Leave it out"
            )
