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
    """Adds a learned map that starts at zero: (B, C, H, W) -> (B, C, H, W)."""

    fixed_grid = True

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(1, dim, side, side))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.embedding


class Stage(nn.Module):
    """Downsample, embed positions, apply blocks: (B, C, H, W) -> (B, C', H', W')."""

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
        # No norm, and PyTorch's default initialization, as in the paper's patch embeddings.
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
    """The model of a config: images (B, C_in, H, W) -> logits (B, num_classes).

    With ``num_classes`` 0 there is no head, and ``forward`` returns (B, dims[-1]). Images may have
    any size that is large enough for the convolutions, unless a part of the model has a fixed grid:
    then a size other than ``image_size`` raises ConfigError.
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
        self.apply(_init_linear)
        self.mean_first = False
        self.fixed_part = next(
            (type(part).__name__ for part in self.modules() if getattr(part, "fixed_grid", False)),
            None,
        )

    def set_head_order(self, like: str) -> None:
        """Set whether the final norm comes before the mean over positions, or after it.

        ``official`` is the paper's order, norm first: the released weights were trained with it,
        and a new model has it. ``timm`` is the order of timm's port, mean first, with epsilon 1e-6;
        the same weights give slightly different logits. The order is not part of the state dict.

        Raises:
            ConfigError: The order does not exist.
        """
        if like not in HEAD_EPS:
            raise ConfigError(unknown_name("order of the head", like, HEAD_EPS))
        self.mean_first = like == "timm"
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
        if self.mean_first:
            x = self.norm(x.mean(dim=(2, 3), keepdim=True)).flatten(1)
        else:
            x = self.norm(x).mean(dim=(2, 3))
        logits: Tensor = self.head(x)
        return logits

    def _check_size(self, x: Tensor) -> None:
        side = self.config.image_size
        if self.fixed_part and (x.shape[-2] != side or x.shape[-1] != side):
            raise ConfigError(
                f"this model was built for {side}x{side} images, because of its {self.fixed_part}, "
                f"and got {x.shape[-2]}x{x.shape[-1]}: build it with another image_size"
            )


def _init_linear(module: nn.Module) -> None:
    """Linear layers: truncated normal with deviation 0.02, zero bias, as in the paper's code."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def create(name: str, **changes: Any) -> MetaFormer:
    """An untrained model by name, such as ``poolformer_s24`` or ``metaformer_ppaa_s12_224``.

    Args:
        name: A key of ``MODELS``.
        changes: Fields of MetaFormerConfig to change, such as ``num_classes=10``.

    Raises:
        ConfigError: The name or a field does not exist, or a value is impossible.
    """
    return MetaFormer(model_config(name, **changes))
