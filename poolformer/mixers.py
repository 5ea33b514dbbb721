"""The token mixers: how positions talk to each other. All keep (B, C, H, W) -> (B, C, H, W).

A mixer is built from the model's config and its stage; registering it in MIXERS (and its name in
``config.MIXER_NAMES``) is all that a sweep needs to use it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from timm.layers import Attention as TokenAttention
from torch import Tensor, nn

from poolformer.config import ConfigError, MetaFormerConfig


class Pool(nn.Module):
    """Average over a window minus the input itself, which the block's residual adds back.

    At the border only real positions count (arXiv 2111.11418, Algorithm 1).
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
    """Every position becomes a weighted sum of all N = H * W: row m of ``matrix`` (N, N) weighs m.

    Raises:
        ConfigError: ``x`` has another number of positions than ``matrix``.
    """
    height, width = x.shape[-2:]
    if height * width != matrix.shape[0]:
        raise ConfigError(
            f"a mixer over all positions was built for {matrix.shape[0]} of them, got "
            f"{height}x{width}: build the model for this image_size"
        )
    return from_tokens(torch.matmul(matrix, to_tokens(x)), height, width)


class RandomMatrix(nn.Module):
    """A frozen random matrix: rows are the softmax of a uniform draw from [0, 1). Nothing learns.

    Drawn once at construction from torch's global generator; stored with the weights, because a
    checkpoint without it would be another model.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        draw = torch.rand(side**2, side**2).softmax(dim=-1)
        self.random_matrix = nn.Parameter(draw, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return mix_positions(self.random_matrix, x)


class SpatialFC(nn.Module):
    """A learned linear layer over positions, without bias, shared by all channels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.fc = nn.Linear(side**2, side**2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return mix_positions(self.fc.weight, x)


class Attention(nn.Module):
    """Multi-head self-attention over positions; qkv without bias, output projection with one."""

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__()
        self.attention = TokenAttention(dim, num_heads=dim // head_dim)

    def forward(self, x: Tensor) -> Tensor:
        return from_tokens(self.attention(to_tokens(x)), *x.shape[-2:])


def depthwise(dim: int) -> nn.Module:
    """A learned 3x3 filter a channel, with bias; no subtraction (sail-sg/poolformer, issue 10)."""
    return nn.Conv2d(dim, dim, kernel_size=3, padding=1, groups=dim)


# name -> mixer of a stage (counted from 0), built from the model's config.
MIXERS: dict[str, Callable[[MetaFormerConfig, int], nn.Module]] = {
    "pool": lambda config, stage: Pool(config.pool_size),
    "identity": lambda config, stage: nn.Identity(),
    "random": lambda config, stage: RandomMatrix(config.grids[stage]),
    "depthwise": lambda config, stage: depthwise(config.dims[stage]),
    "attention": lambda config, stage: Attention(config.dims[stage], config.head_dim),
    "spatial_fc": lambda config, stage: SpatialFC(config.grids[stage]),
}
