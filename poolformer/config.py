"""The config of a MetaFormer: one frozen dataclass, checked before anything is built.

Standard library only, so that sweeps and tables can read and check models without torch.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from poolformer.errors import ConfigError

# ``register_mixer`` adds to these.
MIXER_NAMES = ["pool", "identity", "random", "depthwise", "attention", "spatial_fc"]
MIXER_NAMES += ["separable_conv"]
NORM_NAMES = ["group", "layer", "batch", "none"]
ACTIVATION_NAMES = ["gelu", "relu", "silu", "star_relu"]


def unknown_name(
    what: str, name: object, valid: Iterable[str], otherwise: str | None = None
) -> str:
    """One line for a name that does not exist: the nearest valid one, then all valid ones.

    Args:
        what: What has the name, such as ``norm``.
        name: The unknown name.
        valid: The valid names.
        otherwise: For names too many to list: what to say where no valid name is near.
    """
    valid = list(valid)
    near = _nearest(str(name), valid)
    hint = "" if near is None else f"did you mean {near!r}?"
    if otherwise is None:
        hint = f"{hint} valid are {', '.join(valid)}".lstrip()
    return f"unknown {what} {name!r}: {hint or otherwise}"


def _nearest(name: str, valid: Iterable[str]) -> str | None:
    """The most similar valid name, or one that begins with the name; case does not matter."""
    folded: dict[str, str] = {}
    for each in valid:
        folded.setdefault(each.casefold().lstrip("-"), each)
    word = name.casefold().lstrip("-")
    near = difflib.get_close_matches(word, folded, 1, cutoff=0.65)
    near += [each for each in folded if word and each.startswith(word)]
    return folded[near[0]] if near else None


def _to(kind: type | None, value: Any) -> Any:
    """``value`` as a bool, str, int or float; TypeError if it is none."""
    valid = isinstance(value, kind) if kind in (bool, str) else not isinstance(value, bool | str)
    if kind is None or not valid:
        raise TypeError
    return operator.index(value) if kind is int else kind(value)  # index: also numpy's integers


# Annotation of a field -> the type of a single value, that of the items of a list, and what to call
# a valid value.
_TYPES: dict[str, tuple[type | None, type | None, str]] = {
    "int": (int, None, "a whole number"),
    "float": (float, None, "a number"),
    "bool": (bool, None, "true or false"),
    "str": (str, None, "a name"),
    "tuple[int, ...]": (None, int, "a list of whole numbers"),
    "str | tuple[str, ...]": (str, str, "a name or a list of names"),
}


def _convert(annotation: str, name: str, value: Any) -> Any:
    """``value`` in the type of a field; ConfigError if it has another type."""
    base = annotation.removesuffix(" | None")
    optional = base != annotation
    if value is None and optional:
        return None
    single, item, valid = _TYPES[base]
    try:
        if item and isinstance(value, list | tuple):
            return tuple(_to(item, each) for each in value)
        return _to(single, value)
    except (TypeError, ValueError, OverflowError) as error:
        null = ", or null" if optional else ""
        raise ConfigError(f"{name} {value!r} must be {valid}{null}") from error


# Field -> its smallest value.
_LEAST = dict.fromkeys(["head_dim", "stem_kernel", "stem_stride", "down_kernel", "down_stride"], 1)
_LEAST |= {"in_channels": 1, "image_size": 1, "stem_padding": 0, "down_padding": 0}
_LEAST |= {"num_classes": 0}


@dataclass(frozen=True)
class MetaFormerConfig:
    """The architecture. One ablation is one field, and no field changes another.

    The defaults are PoolFormer-S12 with 1000 classes and 224x224 images (arXiv 2111.11418).

    Args:
        depths: Blocks of each stage, 1 or more.
        dims: Channels of each stage, 1 or more; as many as ``depths``.
        mlp_ratio: Hidden width of the channel MLP over its input width, above 0; used only with
            ``channel_mlp``.
        token_mixers: One name for all stages, or one name per stage: pool, identity, random,
            depthwise, attention, spatial_fc, separable_conv (the 7x7 of ConvFormer), or a
            registered one.
        pool_size: Side of the average-pooling window in positions: 1, 3, 5, ...; used only by
            ``pool``.
        norm: group (the paper's Modified LayerNorm: GroupNorm with one group), layer (over
            channels), batch or none; also sets the final norm.
        activation: gelu, relu, silu or star_relu, inside the channel MLP; used only with
            ``channel_mlp``.
        residual: Whether the output of a sub-block is added to its input or replaces it. The paper
            released no code for "none": LayerScale, drop path and the pooling's subtraction stay.
        channel_mlp: Whether blocks have their second sub-block. Without it, its norm, MLP and
            LayerScale are all left out, which gives the paper's 2.5 M parameters.
        layer_scale_init: Initial LayerScale of each sub-block, a finite number; null for no
            LayerScale.
        drop_path: Stochastic-depth rate of the last block, 0 to below 1; rises linearly from 0 at
            the first block.
        position_embedding: The stage (1 is the first) before which a learned embedding, zero at
            the start, is added once; null for none.
        head_dim: Channels of one attention head, a divisor of ``dims``; used only by ``attention``.
        stem_kernel: Kernel side of the stem convolution in pixels, 1 or more.
        stem_stride: Stride of the stem in pixels, 1 or more.
        stem_padding: Zero padding of the stem in pixels, 0 or more.
        down_kernel: Kernel side of the convolution between stages in positions, 1 or more.
        down_stride: Stride of the convolution between stages in positions, 1 or more.
        down_padding: Zero padding of the convolution between stages in positions, 0 or more.
        in_channels: Channels of an image; follows from the data.
        num_classes: Width of the linear head, 0 for none; follows from the data.
        image_size: Side of a (square) image in pixels; follows from the data.

    Raises:
        ConfigError: A name does not exist, or a value is impossible.
    """

    depths: tuple[int, ...] = (2, 2, 6, 2)
    dims: tuple[int, ...] = (64, 128, 320, 512)
    mlp_ratio: float = 4.0
    token_mixers: str | tuple[str, ...] = "pool"
    pool_size: int = 3
    norm: str = "group"
    activation: str = "gelu"
    residual: bool = True
    channel_mlp: bool = True
    layer_scale_init: float | None = 1e-5
    drop_path: float = 0.0
    position_embedding: int | None = None
    head_dim: int = 32
    stem_kernel: int = 7
    stem_stride: int = 4
    stem_padding: int = 2
    down_kernel: int = 3
    down_stride: int = 2
    down_padding: int = 1
    in_channels: int = 3
    num_classes: int = 1000
    image_size: int = 224

    def __post_init__(self) -> None:
        for item in fields(self):
            self._set(item.name, _convert(str(item.type), item.name, getattr(self, item.name)))
        mixers = self.token_mixers
        # One spelling per model: the same mixer in every stage becomes one name.
        if len(set(mixers)) == 1 and len(mixers) == len(self.depths) and isinstance(mixers, tuple):
            self._set("token_mixers", mixers[0])
        self._check_names()
        self._check_numbers()
        self._check_shapes()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen

    def _check_names(self) -> None:
        named = isinstance(self.token_mixers, str)
        mixers = (self.token_mixers,) if named else self.token_mixers
        for what, name, valid in (
            *(("token mixer", mixer, MIXER_NAMES) for mixer in mixers),
            ("norm", self.norm, NORM_NAMES),
            ("activation", self.activation, ACTIVATION_NAMES),
        ):
            if name not in valid:
                raise ConfigError(unknown_name(what, name, valid))
        if not named and len(mixers) != len(self.depths):
            raise ConfigError(
                f"token_mixers has {len(mixers)} names for {len(self.depths)} stages: "
                "give one name, or one per stage"
            )

    def _check_numbers(self) -> None:
        if not self.depths or len(self.depths) != len(self.dims):
            raise ConfigError(
                f"depths {list(self.depths)} and dims {list(self.dims)} must name the same stages, "
                "at least one"
            )
        for name in ("depths", "dims"):
            if any(value < 1 for value in getattr(self, name)):
                raise ConfigError(f"{name} {list(getattr(self, name))} must all be 1 or more")
        if self.pool_size < 1 or self.pool_size % 2 == 0:
            raise ConfigError(
                f"pool_size {self.pool_size} must be odd and positive: 3 (the paper's), 5, 7, 9"
            )
        hidden = [self.mlp_ratio * dim for dim in self.dims]
        if not (all(map(math.isfinite, hidden)) and min(hidden) >= 1):
            raise ConfigError(
                f"mlp_ratio {self.mlp_ratio} must leave 1 or more hidden channels, finitely many"
            )
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path {self.drop_path} must be in [0, 1)")
        if self.layer_scale_init is not None and not math.isfinite(self.layer_scale_init):
            raise ConfigError(f"layer_scale_init {self.layer_scale_init} must be finite, or null")
        stages = len(self.depths)
        if self.position_embedding is not None and not 1 <= self.position_embedding <= stages:
            raise ConfigError(
                f"position_embedding {self.position_embedding} must be a stage from 1 to {stages}, "
                "or null"
            )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} {getattr(self, name)} must be {least} or more")

    def _check_shapes(self) -> None:
        for stage, side in enumerate(self.grids, start=1):
            if side < 1:
                raise ConfigError(
                    f"image_size {self.image_size} leaves nothing for stage {stage} of "
                    f"{len(self.depths)} (sides {list(self.grids)}): use larger images, "
                    "or a smaller stem_stride or down_stride"
                )
        for stage, (mixer, dim) in enumerate(zip(self.mixers, self.dims, strict=True), start=1):
            if mixer == "attention" and dim % self.head_dim:
                raise ConfigError(
                    f"attention in stage {stage} has {dim} channels, which head_dim "
                    f"{self.head_dim} does not divide: change head_dim or dims"
                )

    @property
    def mixers(self) -> tuple[str, ...]:
        """The token mixer of each stage."""
        if isinstance(self.token_mixers, str):
            return (self.token_mixers,) * len(self.depths)
        return self.token_mixers

    @property
    def grids(self) -> tuple[int, ...]:
        """The side of each stage's (square) grid of tokens, in positions."""

        def convolved(side: int, kernel: int, stride: int, padding: int) -> int:
            return max(0, (side + 2 * padding - kernel) // stride + 1)

        sides = [convolved(self.image_size, self.stem_kernel, self.stem_stride, self.stem_padding)]
        for _ in self.depths[1:]:
            sides.append(
                convolved(sides[-1], self.down_kernel, self.down_stride, self.down_padding)
            )
        return tuple(sides)


# The paper's five sizes (Table 1): depths, widths, and the LayerScale for the depth. Drop path
# belongs to training; the recipes set it.
SIZES: dict[str, MetaFormerConfig] = {
    "s12": MetaFormerConfig(),
    "s24": MetaFormerConfig(depths=(4, 4, 12, 4)),
    "s36": MetaFormerConfig(depths=(6, 6, 18, 6), layer_scale_init=1e-6),
    "m36": MetaFormerConfig(depths=(6, 6, 18, 6), dims=(96, 192, 384, 768), layer_scale_init=1e-6),
    "m48": MetaFormerConfig(depths=(8, 8, 24, 8), dims=(96, 192, 384, 768), layer_scale_init=1e-6),
}
