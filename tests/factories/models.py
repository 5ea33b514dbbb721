"""Models whose weights are all different."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from poolformer.checkpoints import encode_weights


def write_weights(weights: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Write a state dict in the format that the suffix names."""
    Path(path).write_bytes(encode_weights(weights, path))


def perturbed(model: torch.nn.Module) -> torch.nn.Module:
    """Weights of which none is trivial or the same as another: a swapped or ignored one shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.empty_like(tensor).uniform_(-1, 1, generator=generator)
            # LayerScale starts near zero, where it would hide the whole branch behind it.
            scale = "scale" in name or "gamma" in name
            tensor.copy_(0.2 + 0.1 * noise if scale else tensor + 0.05 * noise)
            if "norm" in name:
                tensor += 0.4 * noise
    return model.eval()
