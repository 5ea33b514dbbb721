"""The token mixers, which mix information between positions: (B, C, H, W) -> (B, C, H, W).

A mixer is built from the model's config and its stage. ``register_mixer`` adds one, also from
outside this package; a sweep then uses it by its name. A mixer that works for one resolution only
has a class attribute ``fixed_grid = True``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from timm.layers import Attention as TokenAttention
from timm.layers import trunc_normal_
from timm.models.metaformer import SepConv
from torch import Tensor, nn

from poolformer.config import MIXER_NAMES, MetaFormerConfig
from poolformer.errors import ConfigError


class Pool(nn.Module):
    """The average over a window minus the input, which the block's residual adds back.

    At the border the average is over real positions only (arXiv 2111.11418, Algorithm 1).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        size = self.size
        return F.avg_pool2d(x, size, stride=1, padding=size // 2, count_include_pad=False) - x

    def extra_repr(self) -> str:
        return f"size={self.size}"


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C); a view where ``x`` is channels-last in memory."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def from_tokens(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), channels-last in memory."""
    batch, _, channels = tokens.shape
    return tokens.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def mix_positions(matrix: Tensor, x: Tensor) -> Tensor:
    """Replace position m by the sum of all N = H * W, weighted by row m of ``matrix`` (N, N)."""
    return from_tokens(torch.matmul(matrix, to_tokens(x)), *x.shape[-2:])


class RandomMatrix(nn.Module):
    """A frozen random matrix whose rows are the softmax of uniform draws from [0, 1).

    It is drawn at construction from torch's global generator, and stored with the weights, because
    a checkpoint without it would be another model.
    """

    fixed_grid = True

    def __init__(self, side: int) -> None:
        super().__init__()
        draw = torch.rand(side**2, side**2).softmax(dim=-1)
        self.random_matrix = nn.Parameter(draw, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return mix_positions(self.random_matrix, x)


class SpatialFC(nn.Module):
    """A learned linear layer over positions, without bias, shared by all channels."""

    fixed_grid = True

    def __init__(self, side: int) -> None:
        super().__init__()
        self.fc = nn.Linear(side**2, side**2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return mix_positions(self.fc.weight, x)


class Attention(TokenAttention):
    """Multi-head self-attention over positions; qkv without bias, output projection with one."""

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__(dim, num_heads=dim // head_dim)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return from_tokens(super().forward(to_tokens(x)), *x.shape[-2:])


def depthwise(dim: int) -> nn.Module:
    """A learned 3x3 filter per channel with bias, no subtraction (sail-sg/poolformer, issue 10)."""
    return nn.Conv2d(dim, dim, kernel_size=3, padding=1, groups=dim)


def separable_conv(dim: int) -> nn.Module:
    """ConvFormer's: expand to twice the channels, StarReLU, a 7x7 filter per channel, reduce.

    From "MetaFormer Baselines for Vision" (arXiv 2210.13452, section 3), without biases. Its code
    draws all convolutions from a truncated normal with deviation 0.02. The activation is fixed:
    ``config.activation`` is that of the channel MLP.
    """
    mixer = SepConv(dim, expansion_ratio=2, kernel_size=7, padding=3, bias=False)
    for convolution in (mixer.pwconv1, mixer.dwconv, mixer.pwconv2):
        trunc_normal_(convolution.weight, std=0.02)
    return mixer


Factory = Callable[[MetaFormerConfig, int], nn.Module]
Given = TypeVar("Given", bound=Factory)

# Name -> factory, called with the model's config and the stage (counted from 0).
MIXERS: dict[str, Factory] = {
    "pool": lambda config, stage: Pool(config.pool_size),
    "identity": lambda config, stage: nn.Identity(),
    "random": lambda config, stage: RandomMatrix(config.grids[stage]),
    "depthwise": lambda config, stage: depthwise(config.dims[stage]),
    "attention": lambda config, stage: Attention(config.dims[stage], config.head_dim),
    "spatial_fc": lambda config, stage: SpatialFC(config.grids[stage]),
    "separable_conv": lambda config, stage: separable_conv(config.dims[stage]),
}


REGISTERED_BY: dict[str, str] = {}  # registered name -> the module that registered it
_BUILT_IN = list(MIXERS)
_YAML_WORDS = ["none", "null", "true", "false", "yes", "no", "on", "off", "y", "n"]


def build_mixer(config: MetaFormerConfig, stage: int) -> nn.Module:
    """The token mixer of a stage. A registered one must keep the shape of a batch of zeros.

    Raises:
        ConfigError: A registered mixer fails, is not a module or changes the shape.
    """
    name = config.mixers[stage]
    build = MIXERS[name]
    if name in _BUILT_IN:
        return build(config, stage)
    side = config.grids[stage]
    shape = (2, config.dims[stage], side, side)
    try:
        mixer = build(config, stage)
        if not isinstance(mixer, nn.Module):
            raise TypeError(f"it is a {type(mixer).__name__}, not a torch module")
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = mixer.eval()(torch.zeros(shape)).shape
        mixer.train()
    except Exception as error:  # whatever the user's code raises
        message = " ".join(str(error).split())
        raise ConfigError(
            f"token mixer {name!r} fails in stage {stage + 1} on an input of {shape}: "
            f"{type(error).__name__}: {message}"
        ) from error
    if found != shape:
        raise ConfigError(
            f"token mixer {name!r} must keep the shape of its input: in stage {stage + 1}, {shape} "
            f"became {tuple(found)}"
        )
    return mixer


def register_mixer(name: str) -> Callable[[Given], Given]:
    """A decorator that registers a token mixer, so that configs can name it.

    ``@register_mixer("shift")`` decorates a class or a function. It is called with the model's
    config and the stage (counted from 0) and returns a module that keeps (B, C, H, W). A stage has
    ``config.dims[stage]`` channels and a grid of side ``config.grids[stage]``.

    Raises:
        ConfigError: The name exists already, or is not valid.
    """
    if not name.isidentifier() or name.lower() in _YAML_WORDS:
        raise ConfigError(
            f"token mixer {name!r}: a name has letters, digits and underscores, does not start "
            "with a digit, and is not a word that YAML reads as another value"
        )

    module = sys._getframe(1).f_globals.get("__name__", "")

    def add(build: Given) -> Given:
        known = MIXERS.get(name)
        # The same definition again, as when a notebook cell runs twice, replaces the first.
        redefined = known is not None and _origin(known) == _origin(build)
        if known is not None and not redefined:
            raise ConfigError(f"the token mixer {name!r} exists already: choose another name")
        MIXERS[name], REGISTERED_BY[name] = build, module
        if not redefined:
            MIXER_NAMES.append(name)
        return build

    return add


def _origin(build: Factory) -> tuple[str, str]:
    return build.__module__, getattr(build, "__qualname__", repr(build))
