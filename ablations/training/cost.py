"""What a model costs: parameters, multiply-accumulates (MACs) by fvcore, memory of activations."""

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
from poolformer.config import MetaFormerConfig
from poolformer.metaformer import MetaFormer


def attention_macs(inputs: list[Any], _outputs: list[Any]) -> int:
    """Products of queries with keys and of weights with values, as fvcore counts them unfused."""
    query, key, value = (item.type().sizes() for item in inputs[:3])
    positions = math.prod(query[:-1])  # batch x heads x queries
    return int(positions * key[-2] * (query[-1] + value[-1]))


def macs(model: torch.nn.Module, image_size: int, channels: int) -> int:
    """MACs of one picture (1, C, H, W), as the paper counts them.

    fvcore's rules with two additions: the fused attention operator is counted like the products it
    stands for, and the channel LayerNorm is not counted, as in the paper's own code, where it is
    made of elementwise operations (SOURCES.md, CALC).
    """
    device = next(model.parameters()).device
    picture = torch.zeros(1, channels, image_size, image_size, device=device)
    # fvcore warns of each operator that it leaves out, torch of fvcore's import and its tracing.
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level, training = logger.level, model.training
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            from fvcore.nn import FlopCountAnalysis

            count = FlopCountAnalysis(model.eval(), picture)
            count.set_op_handle("aten::scaled_dot_product_attention", attention_macs)
            count.set_op_handle("aten::layer_norm", lambda inputs, outputs: 0)
            return int(count.total())
    finally:
        logger.setLevel(level)
        model.train(training)


@functools.lru_cache(maxsize=256)
def model_cost(config: MetaFormerConfig) -> dict[str, int]:
    """``params``, ``frozen_params``, ``macs`` and ``image_size`` of the model of a config."""
    with torch.random.fork_rng(devices=[]):
        model = MetaFormer(config)
    learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "params": learned,
        "frozen_params": sum(p.numel() for p in model.parameters()) - learned,
        "macs": macs(model, config.image_size, config.in_channels),
        "image_size": config.image_size,
    }


def activation_bytes(config: MetaFormerConfig) -> int:
    """Bytes that one training picture keeps from the forward pass for the backward pass, float32.

    The storages that autograd saves, each once, weights left out; counted on tensors without data,
    as the CPU's operators would save them.
    """
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage._cdata] = storage
        return tensor

    side, batch = config.image_size, 2  # a batch norm of one position needs two pictures
    with FakeTensorMode():
        model = MetaFormer(config)
        pictures = torch.zeros(batch, config.in_channels, side, side)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            # The output keeps the graph, and with it the storages, alive.
            _logits = model(pictures.contiguous(memory_format=torch.channels_last))
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    sizes = [storage.nbytes() for key, storage in saved.items() if key not in weights]
    return sum(sizes) // batch


# Belong to the scale of a recipe, not to the variant.
SCALE = ["depths", "dims", "head_dim", "in_channels", "num_classes", "image_size"]
GEOMETRY = ["stem_kernel", "stem_stride", "stem_padding"]
GEOMETRY += ["down_kernel", "down_stride", "down_padding"]


def at_paper_size(run: RunConfig) -> MetaFormerConfig | None:
    """The same variant of the paper's S12 (or larger) at 224 pixels and 1000 classes.

    Depths and widths are those of the ImageNet preset with the name of the recipe's size; every
    other field that differs from the recipe's baseline is carried over. None where the paper has no
    counterpart: depths and widths that are no size of the recipe, or another stem than its own.
    """
    base = _defaults(run.recipe)
    size = size_name(run.recipe, run.model.depths, run.model.dims)
    changed = {
        item.name: getattr(run.model, item.name)
        for item in fields(run.model)
        if item.name not in SCALE and getattr(run.model, item.name) != getattr(base, item.name)
    }
    if size is None or not changed.keys().isdisjoint(GEOMETRY):
        return None
    return replace(_defaults("imagenet", size), **changed)


@functools.cache
def _defaults(recipe: str, preset: str | None = None) -> MetaFormerConfig:
    return resolve(recipe, preset=preset).model


def run_cost(run: RunConfig) -> dict[str, Any]:
    """The cost of a run's model, and under ``paper`` of its counterpart at the paper's size."""
    paper = at_paper_size(run)
    return {**model_cost(run.model), "paper": model_cost(paper) if paper else None}
