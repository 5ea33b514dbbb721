"""The cost of a model: parameters, multiply-accumulates (MACs), memory of activations."""

from __future__ import annotations

import functools
import logging
import math
import warnings
from dataclasses import fields, replace
from typing import Any

import torch
from torch._subclasses import FakeTensorMode

from ablations.config.resolve import resolve, size_name
from ablations.config.schema import RunConfig
from ablations.training.error_summary import summarize_error
from poolformer.config import MetaFormerConfig
from poolformer.metaformer import MetaFormer

log = logging.getLogger("ablations")


def _attention_macs(inputs: list[Any], _outputs: list[Any]) -> int:
    """The MACs of fused attention, counted like its two matrix products."""
    query, key, value = (item.type().sizes() for item in inputs[:3])
    positions = math.prod(query[:-1])  # batch x heads x queries
    return int(positions * key[-2] * (query[-1] + value[-1]))


def macs(model: torch.nn.Module, image_size: int, channels: int) -> int:
    """MACs of one image (1, C, H, W), counted as in the paper.

    The rules are fvcore's, with two additions. Fused attention counts like its matrix products. The
    channel LayerNorm does not count, since the paper's own code builds it from elementwise
    operations, which fvcore does not count (SOURCES.md, CALC).
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, channels, image_size, image_size, device=device)
    training = model.training
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch's, about fvcore's tracing
        from fvcore.nn import FlopCountAnalysis

        try:
            count = FlopCountAnalysis(model.eval(), image).unsupported_ops_warnings(False)
            count.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
            count.set_op_handle("aten::layer_norm", lambda inputs, outputs: 0)
            return int(count.uncalled_modules_warnings(False).total())
        finally:
            model.train(training)


@functools.lru_cache(maxsize=256)
def model_cost(config: MetaFormerConfig) -> dict[str, int]:
    """``params``, ``frozen_params``, ``macs`` and ``image_size`` of the model of a config."""
    with torch.random.fork_rng(devices=[]):
        model = MetaFormer(config)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "params": trainable,
        "frozen_params": sum(p.numel() for p in model.parameters()) - trainable,
        "macs": macs(model, config.image_size, config.in_channels),
        "image_size": config.image_size,
    }


def activation_bytes(config: MetaFormerConfig) -> int:
    """Bytes that the forward pass of one training image keeps for the backward pass, in float32.

    Counts each storage that autograd saves once, without the weights, on tensors without data, as
    the operators of a CPU save them.
    """
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage
        return tensor

    side, batch = config.image_size, 2  # a batch norm over one position needs two images
    with FakeTensorMode():
        model = MetaFormer(config)
        images = torch.zeros(batch, config.in_channels, side, side)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            # The output keeps the graph, and with it the storages, alive.
            _logits = model(images.contiguous(memory_format=torch.channels_last))
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    sizes = [storage.nbytes() for key, storage in saved.items() if key not in weights]
    return sum(sizes) // batch


# Fields that belong to the scale of a recipe, not to the variant.
_SCALE = ["depths", "dims", "head_dim", "in_channels", "num_classes", "image_size"]


def at_paper_size(run: RunConfig) -> MetaFormerConfig | None:
    """The same variant at the paper's scale: its S12 or larger, 224 pixels, 1000 classes.

    The depths and widths are those of the ImageNet preset with the same size name. Every other
    field that differs from the recipe's baseline is carried over. None if the paper has no
    counterpart, because the size is not one of the recipe's or the stem differs.
    """
    base = _defaults(run.recipe)
    size = size_name(run.recipe, run.model.depths, run.model.dims)
    changed = {
        item.name: getattr(run.model, item.name)
        for item in fields(run.model)
        if item.name not in _SCALE and getattr(run.model, item.name) != getattr(base, item.name)
    }
    if size is None or any(name.startswith(("stem_", "down_")) for name in changed):
        return None
    return replace(_defaults("imagenet", size), **changed)


@functools.cache
def _defaults(recipe: str, preset: str | None = None) -> MetaFormerConfig:
    return resolve(recipe, preset=preset).model


def run_cost(run: RunConfig) -> dict[str, Any]:
    """The cost of a run's model, and under ``paper`` that of its counterpart in the paper.

    Empty, with a warning in the log, where it cannot be counted: such a model can still be trained.
    """
    try:
        paper = at_paper_size(run)
        return {**model_cost(run.model), "paper": model_cost(paper) if paper else None}
    except Exception as error:  # whatever fvcore raises for a new operator
        log.warning("the cost cannot be counted: %s", summarize_error(error))
        return {}
