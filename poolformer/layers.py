"""The parts of a block beside its token mixer. All map (B, C, H, W) -> (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable

from timm.layers import GroupNorm1, LayerNorm2d, LayerScale2d, Mlp
from timm.models.metaformer import StarReLU
from torch import Tensor, nn

# name -> norm over (B, C, H, W), built from the number of channels. Epsilon 1e-5 is the paper's
# (its repository, models/poolformer.py and models/metaformer.py).
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "group": GroupNorm1,
    "layer": lambda dim: LayerNorm2d(dim, eps=1e-5),
    "batch": nn.BatchNorm2d,
    "none": lambda dim: nn.Identity(),
}

# StarReLU is a * relu(x)^2 + b with a learned a (1 at the start) and b (0), one pair per layer, as
# in the code of "MetaFormer Baselines for Vision" (arXiv 2210.13452, sail-sg/metaformer).
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "star_relu": StarReLU,
}


class ChannelMLP(Mlp):
    """Two linear layers over channels with an activation between: (B, C, H, W) -> (B, C, H, W).

    The paper has 1x1 convolutions. Linear layers over a view with the channels last compute the
    same, and train faster with torch's CPU kernels.
    """

    def __init__(self, dim: int, ratio: float, activation: str) -> None:
        super().__init__(dim, int(dim * ratio), act_layer=ACTIVATIONS[activation])

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = super().forward(x.permute(0, 2, 3, 1))  # type: ignore[no-untyped-call]
        return mixed.permute(0, 3, 1, 2)


def layer_scale(dim: int, init: float | None) -> nn.Module:
    """One learned factor per channel, or the identity if ``init`` is None."""
    return nn.Identity() if init is None else LayerScale2d(dim, init_values=init)
