"""Which fields a run reads: a knob that would move nothing is refused, with what would read it.

One table, field by field: the condition under which a run reads it. A field that is not in it is
always read. ``resolve`` holds it against what the user sets; what a recipe sets is never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ablations.config.data_sources import find_data_source
from ablations.errors import ConfigError
from poolformer.config import MIXER_NAMES

if TYPE_CHECKING:
    from ablations.config.schema import RunConfig

BUILT_IN = tuple(MIXER_NAMES)  # a mixer from a plugin may read any field of the model
# The optimizers of timm that take them.
WITH_BETAS = ("adamw", "adam", "lamb", "lion")
WITH_EPS = ("adamw", "adam", "lamb")


class Reader(NamedTuple):
    """When a field is read, and how to say so."""

    reads: Callable[[RunConfig], bool]
    when: str


def _mixer(name: str) -> Callable[[RunConfig], bool]:
    def reads(run: RunConfig) -> bool:
        return any(mixer == name or mixer not in BUILT_IN for mixer in run.model.mixers)

    return reads


def _channel_mlp(run: RunConfig) -> bool:
    return run.model.channel_mlp or any(mixer not in BUILT_IN for mixer in run.model.mixers)


def _several_stages(run: RunConfig) -> bool:
    return len(run.model.depths) > 1


_MLP = Reader(_channel_mlp, "with model.channel_mlp true")
_DOWN = Reader(_several_stages, "with two stages or more (model.depths)")
READERS: dict[str, Reader] = {
    "model.pool_size": Reader(_mixer("pool"), "where model.token_mixers has pool"),
    "model.head_dim": Reader(_mixer("attention"), "where model.token_mixers has attention"),
    "model.mlp_ratio": _MLP,
    "model.activation": _MLP,
    "model.drop_path": Reader(lambda run: sum(run.model.depths) > 1, "with two blocks or more"),
    "model.down_kernel": _DOWN,
    "model.down_stride": _DOWN,
    "model.down_padding": _DOWN,
    "data.fit": Reader(
        lambda run: find_data_source(run.data.name).image_side != run.data.image_size,
        "where data.image_size is not the images' own",
    ),
    "data.color_jitter": Reader(
        lambda run: run.data.auto_augment is None or "3a" in run.data.auto_augment,
        "where data.auto_augment, which replaces it, is null",
    ),
    "data.mixup": Reader(
        lambda run: (
            run.data.mixup_prob > 0
            and not (run.data.cutmix > 0 and run.data.mixup_switch_prob == 1)
        ),
        "with data.mixup_prob above 0 and data.mixup_switch_prob below 1",
    ),
    "data.cutmix": Reader(
        lambda run: (
            run.data.mixup_prob > 0 and not (run.data.mixup > 0 and run.data.mixup_switch_prob == 0)
        ),
        "with data.mixup_prob and data.mixup_switch_prob above 0",
    ),
    "data.mixup_prob": Reader(
        lambda run: run.data.mixing, "with data.mixup or data.cutmix above 0"
    ),
    "data.mixup_switch_prob": Reader(
        lambda run: run.data.mixup > 0 and run.data.cutmix > 0 and run.data.mixup_prob > 0,
        "with data.mixup, data.cutmix and data.mixup_prob above 0",
    ),
    "optim.betas": Reader(
        lambda run: run.optim.optimizer in WITH_BETAS,
        f"by optim.optimizer {', '.join(WITH_BETAS)}",
    ),
    "optim.eps": Reader(
        lambda run: run.optim.optimizer in WITH_EPS, f"by optim.optimizer {', '.join(WITH_EPS)}"
    ),
    "optim.warmup_lr": Reader(
        lambda run: run.optim.warmup_epochs > 0, "with optim.warmup_epochs above 0"
    ),
    "optim.min_lr": Reader(
        lambda run: run.optim.schedule_unit == "step" or run.optim.total_epochs > 1,
        "with optim.schedule_unit step, or two epochs or more",
    ),
}
# A study has one scale: the head width goes with the widths, which decide whether attention, in any
# of its rows, can be built.
WITH = {"model.head_dim": "model.dims"}


def check_unused(run: RunConfig, given: Mapping[str, object], kept: Collection[str]) -> None:
    """Refuse what is set and not read.

    Args:
        run: The run.
        given: The fields that the user sets to something else than the recipe does.
        kept: Fields that are not checked: set for a whole study, in which another run reads them.

    Raises:
        ConfigError: A field that this run would not read.
    """
    for name in given:
        reader = READERS.get(name)
        if name in kept or reader is None or WITH.get(name) in given or reader.reads(run):
            continue
        raise ConfigError(
            f"{name} {given[name]!r} would change nothing in this run: it is read "
            f"{reader.when}; leave it out"
        )
