"""MetaFormer: stem, stages of blocks, final norm, mean over positions, linear head.

A block is two residual lines, one for its token mixer and one for its channel MLP:

    x = x + drop_path(scale(mixer(norm(x))))
    x = x + drop_path(scale(mlp(norm(x))))
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn

from poolformer.config import MetaFormerConfig, unknown_name
from poolformer.errors import ConfigError
from poolformer.layers import NORMS, ChannelMLP, layer_scale
from poolformer.mixers import build_mixer
from poolformer.models import model_config


class SubBlock(nn.Module):
    """One residual line around ``body``: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(
        self, body: nn.Module, dim: int, drop_path: float, config: MetaFormerConfig
    ) -> None:
        super().__init__()
        self.norm = NORMS[config.norm](dim)
        self.body = body
        self.scale = layer_scale(dim, config.layer_scale_init)
        self.drop_path = DropPath(drop_path)
        self.residual = config.residual

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.drop_path(self.scale(self.body(self.norm(x))))
        return x + change if self.residual else change


class MetaFormerBlock(nn.Module):
    """Mix positions, then channels: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, config: MetaFormerConfig, stage: int, drop_path: float) -> None:
        super().__init__()
        dim = config.dims[stage]
        mixer = build_mixer(config, stage)
        self.token = SubBlock(mixer, dim, drop_path, config)
        self.channel: nn.Module = nn.Identity()
        if config.channel_mlp:
            mlp = ChannelMLP(dim, config.mlp_ratio, config.activation)
            self.channel = SubBlock(mlp, dim, drop_path, config)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.channel(self.token(x))
        return out


class PositionEmbedding(nn.Module):
    """Adds a learned map, zero at the start: (B, C, H, W) -> (B, C, H, W)."""

    fixed_grid = True

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(1, dim, side, side))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.embedding


class Stage(nn.Module):
    """Shrink, place, then mix: (B, C, H, W) -> (B, C', H', W') for the grid of this stage."""

    def __init__(
        self, config: MetaFormerConfig, stage: int, in_channels: int, blocks: list[MetaFormerBlock]
    ) -> None:
        super().__init__()
        dim = config.dims[stage]
        kernel, stride, padding = (
            (config.stem_kernel, config.stem_stride, config.stem_padding)
            if stage == 0
            else (config.down_kernel, config.down_stride, config.down_padding)
        )
        # No norm, and PyTorch's default initialisation, as in the paper's patch embeddings.
        self.downsample = nn.Conv2d(in_channels, dim, kernel, stride, padding)
        self.position_embedding: nn.Module = nn.Identity()
        if config.position_embedding == stage + 1:
            self.position_embedding = PositionEmbedding(dim, config.grids[stage])
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.position_embedding(self.downsample(x)))
        return out


# Epsilon of the final norm in the paper's code and in timm's.
HEAD_EPS = {"official": 1e-5, "timm": 1e-6}


class MetaFormer(nn.Module):
    """The model of a config: pictures (B, C_in, H, W) -> logits (B, num_classes).

    With ``num_classes`` 0 the head is left out and ``forward`` gives (B, dims[-1]). Pictures may
    have any size that the convolutions leave something of, unless a part of the model is bound to
    ``image_size``: another size then raises ConfigError.
    """

    def __init__(self, config: MetaFormerConfig) -> None:
        super().__init__()
        self.config = config
        last = max(1, sum(config.depths) - 1)
        rates = (config.drop_path * block / last for block in range(last + 1))
        self.stages = nn.Sequential()
        width = config.in_channels
        for stage, (depth, dim) in enumerate(zip(config.depths, config.dims, strict=True)):
            blocks = [MetaFormerBlock(config, stage, next(rates)) for _ in range(depth)]
            self.stages.append(Stage(config, stage, width, blocks))
            width = dim
        self.norm = NORMS[config.norm](width)
        self.head = nn.Linear(width, config.num_classes) if config.num_classes else nn.Identity()
        self.apply(init_linear)
        self.pool_first = False
        self.bound_to = next(
            (type(part).__name__ for part in self.modules() if getattr(part, "fixed_grid", False)),
            None,
        )

    def set_head_order(self, like: str) -> None:
        """Where the final norm stands: before the mean over positions, or after it.

        ``official`` is the paper's order, in which the released weights were trained, and the one
        a new model has. ``timm`` is that of timm's port, which norms the mean, with epsilon 1e-6;
        on the same weights its logits are others. Nothing else differs between the two. The order
        is no part of the state dict.

        Raises:
            ConfigError: Another name.
        """
        if like not in HEAD_EPS:
            raise ConfigError(unknown_name("order of the head", like, HEAD_EPS))
        self.pool_first = like == "timm"
        if self.config.norm in ("group", "layer"):
            self.norm.eps = HEAD_EPS[like]  # type: ignore[assignment]

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """The output of each stage, without norm: (B, dims[i], grids[i], grids[i]) for stage i."""
        self._check_size(x)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs

    def forward(self, x: Tensor) -> Tensor:
        self._check_size(x)
        x = self.stages(x)
        if self.pool_first:
            x = self.norm(x.mean(dim=(2, 3), keepdim=True)).flatten(1)
        else:
            x = self.norm(x).mean(dim=(2, 3))
        logits: Tensor = self.head(x)
        return logits

    def _check_size(self, x: Tensor) -> None:
        side = self.config.image_size
        if self.bound_to and (x.shape[-2] != side or x.shape[-1] != side):
            raise ConfigError(
                f"this model was built for {side}x{side} pictures, to which its {self.bound_to} is "
                f"bound, and got {x.shape[-2]}x{x.shape[-1]}: build it with another image_size"
            )


def init_linear(module: nn.Module) -> None:
    """Truncated normal of deviation 0.02 for linear layers, zero bias, as in the paper's code."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def create(name: str, **changes: Any) -> MetaFormer:
    """The model of a name, such as ``poolformer_s24`` or ``metaformer_ppaa_s12_224``, untrained.

    Args:
        name: A key of ``MODELS``.
        changes: Fields of MetaFormerConfig that are to differ, such as ``num_classes=10``.

    Raises:
        ConfigError: A name, a field or a value that does not exist.
    """
    return MetaFormer(model_config(name, **changes))
