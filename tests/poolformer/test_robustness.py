"""A model can be compiled, exported, copied, stored, and used in another layout or precision."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from dataclasses import replace

import pytest
import torch

from poolformer import MetaFormer, MetaFormerConfig
from poolformer.layers import ACTIVATIONS, NORMS
from poolformer.mixers import MIXERS
from tests.factories.models import perturbed

BASE = MetaFormerConfig(
    depths=(1, 2), dims=(16, 32), head_dim=8, num_classes=5, image_size=32, drop_path=0.1
)
VARIANTS = {
    **{f"mixer {name}": replace(BASE, token_mixers=name) for name in MIXERS},
    **{f"norm {name}": replace(BASE, norm=name) for name in NORMS},
    **{f"activation {name}": replace(BASE, activation=name) for name in ACTIVATIONS},
    "position embedding": replace(BASE, position_embedding=2),
    "no residual": replace(BASE, residual=False),
    "no channel MLP": replace(BASE, channel_mlp=False),
    "no LayerScale": replace(BASE, layer_scale_init=None),
    "no head": replace(BASE, num_classes=0),
    "mixed stages": replace(BASE, token_mixers=("pool", "attention"), position_embedding=2),
}
every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def images(batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, 32, 32, generator=generator)


@pytest.fixture(autouse=True)
def fresh_compiler():
    yield
    torch._dynamo.reset()


@every_variant
def test_a_model_compiles_to_one_graph(config):
    """In training with drop path and in evaluation. The eager backend only captures the graph."""
    model = MetaFormer(config).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about its internals
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        compiled(images()).square().mean().backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        perturbed(model)
        torch.testing.assert_close(compiled(images()), model(images()))


@pytest.mark.slow
@every_variant
def test_a_model_compiles_with_the_default_compiler(config):
    model = perturbed(MetaFormer(config))
    expected = model(images())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = torch.compile(model, fullgraph=True)(images())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@every_variant
def test_a_model_can_be_exported(config):
    model = perturbed(MetaFormer(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(model, (images(),)).module()
    torch.testing.assert_close(exported(images()), model(images()), atol=1e-6, rtol=1e-5)


@every_variant
def test_channels_last_changes_nothing_but_the_layout(config):
    model = perturbed(MetaFormer(config))
    expected = model(images())
    model.to(memory_format=torch.channels_last)
    x = images().to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-4)
    for level in model.pyramid(x):
        assert level.is_contiguous(memory_format=torch.channels_last)


@every_variant
def test_a_model_trains_in_bfloat16(config):
    model = perturbed(MetaFormer(config))
    expected = model(images())
    with torch.autocast("cpu", torch.bfloat16):
        found = model(images())
    # bfloat16 has 8 bits of mantissa: a few of them are lost on the way through the layers.
    scale = expected.abs().max().item()
    torch.testing.assert_close(found.float(), expected, atol=0.05 * scale, rtol=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(images()).float().square().mean()
    loss.backward()
    for parameter in model.parameters():
        assert not parameter.requires_grad or parameter.grad.isfinite().all()


@every_variant
def test_a_model_can_be_copied_pickled_and_stored(config):
    model = perturbed(MetaFormer(config))
    model.set_head_order("timm")
    expected = model(images())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(images()), expected)
        assert other.config == config
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = MetaFormer(config).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    other.set_head_order("timm")
    assert torch.equal(other(images()), expected)
