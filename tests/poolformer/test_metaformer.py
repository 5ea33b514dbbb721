"""The model against the paper's counts and against plain references."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from poolformer import SIZES, ConfigError, MetaFormer, MetaFormerConfig
from poolformer.config import ACTIVATION_NAMES, MIXER_NAMES, NORM_NAMES
from poolformer.layers import ACTIVATIONS, NORMS
from poolformer.mixers import MIXERS, Pool, RandomMatrix, SpatialFC

SMALL = MetaFormerConfig(
    depths=(1, 2, 1, 1),
    dims=(8, 16, 16, 24),
    head_dim=8,
    in_channels=1,
    num_classes=5,
    image_size=64,
    layer_scale_init=0.5,
)


def images(config: MetaFormerConfig, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, config.in_channels, config.image_size, config.image_size)
    return torch.randn(shape, generator=generator)


def test_the_names_are_those_of_the_registries():
    assert list(MIXERS) == MIXER_NAMES
    assert list(NORMS) == NORM_NAMES
    assert list(ACTIVATIONS) == ACTIVATION_NAMES


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("s12", 11_915_176),
        ("s24", 21_388_968),
        ("s36", 30_862_760),
        ("m36", 56_172_520),
        ("m48", 73_473_448),
    ],
)
def test_parameters_of_the_published_sizes(size, count):
    with torch.device("meta"):
        model = MetaFormer(SIZES[size])
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(
    ("mixer", "norm", "activation"), list(itertools.product(MIXERS, NORMS, ACTIVATIONS))
)
def test_every_trainable_parameter_has_a_gradient(mixer, norm, activation):
    torch.manual_seed(0)
    config = replace(
        SMALL, token_mixers=mixer, norm=norm, activation=activation, position_embedding=3
    )
    model = MetaFormer(config)
    logits = model(images(config))
    assert logits.shape == (3, 5)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
        else:
            assert "random_matrix" in name
            assert parameter.grad is None


@pytest.mark.parametrize("fields", [{"residual": False}, {"channel_mlp": False}])
def test_residuals_and_channel_mlps_can_be_left_out(fields):
    config = replace(SMALL, **fields)
    logits = MetaFormer(config)(images(config))
    assert logits.isfinite().all()


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_pooling_is_the_mean_of_real_neighbours_minus_the_input(size):
    x = images(SMALL, batch=1)[:, :, :11, :9]
    half = size // 2
    expected = torch.empty_like(x)
    for row, column in itertools.product(range(11), range(9)):
        window = x[
            ..., max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1
        ]
        expected[..., row, column] = window.mean(dim=(2, 3)) - x[..., row, column]
    torch.testing.assert_close(Pool(size)(x), expected)


def test_a_random_matrix_mixes_positions_by_its_rows_and_is_not_trained():
    torch.manual_seed(0)
    mixer = RandomMatrix(side=3)
    matrix = mixer.random_matrix
    assert not matrix.requires_grad
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(9))
    assert matrix.min() > 0
    # A softmax of numbers in [0, 1): within a row, none is e times another.
    assert (matrix.amax(dim=1) / matrix.amin(dim=1)).max() <= torch.e
    x = torch.randn(2, 4, 3, 3)
    expected = torch.einsum("mn,bcn->bcm", matrix, x.flatten(2)).reshape(2, 4, 3, 3)
    torch.testing.assert_close(mixer(x), expected)


def test_a_spatial_fc_is_a_linear_layer_over_flat_positions_without_bias():
    mixer = SpatialFC(side=3)
    assert [name for name, _ in mixer.named_parameters()] == ["fc.weight"]
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(mixer(x), mixer.fc(x.flatten(2)).reshape(2, 4, 3, 3))


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"token_mixers": "random"}, "RandomMatrix"),
        ({"token_mixers": ("pool", "pool", "pool", "spatial_fc")}, "SpatialFC"),
        ({"position_embedding": 3}, "PositionEmbedding"),
    ],
)
def test_a_fixed_grid_refuses_another_resolution(fields, part):
    model = MetaFormer(replace(SMALL, **fields))
    # The last has as many positions in each stage as 64x64.
    for height, width in ((32, 32), (64, 96), (128, 32)):
        for call in (model, model.pyramid):
            with pytest.raises(ConfigError, match="built for 64x64 images") as caught:
                call(torch.zeros(1, 1, height, width))
            assert f"its {part}, and got {height}x{width}" in str(caught.value)


@pytest.mark.parametrize("mixer", ["pool", "identity", "depthwise", "attention", "separable_conv"])
def test_other_mixers_take_any_resolution(mixer):
    model = MetaFormer(replace(SMALL, token_mixers=mixer))
    assert model(torch.zeros(1, 1, 32, 96)).shape == (1, 5)


def test_a_position_embedding_is_added_once_before_its_stage_and_starts_at_zero():
    config = replace(SMALL, position_embedding=3)
    model = MetaFormer(config)
    names = [name for name, _ in model.named_parameters() if "position" in name]
    assert names == ["stages.2.position_embedding.embedding"]
    embedding = model.get_parameter(names[0])
    assert embedding.shape == (1, 16, 4, 4)
    assert not embedding.any()


@pytest.mark.parametrize("residual", [True, False])
def test_a_block_is_its_two_equations(residual):
    torch.manual_seed(0)
    config = replace(SMALL, residual=residual, token_mixers="depthwise", norm="layer")
    block = MetaFormer(config).stages[1].blocks[0].eval()
    x = torch.randn(2, 16, 4, 4)
    keep = x if residual else 0
    token = block.token
    y = keep + token.scale.gamma.view(-1, 1, 1) * token.body(token.norm(x))
    keep = y if residual else 0
    channel = block.channel
    hidden = torch.nn.functional.gelu(channel.body.fc1(channel.norm(y).permute(0, 2, 3, 1)))
    mixed = channel.body.fc2(hidden).permute(0, 3, 1, 2)
    z = keep + channel.scale.gamma.view(-1, 1, 1) * mixed
    torch.testing.assert_close(block(x), z)


def test_drop_path_rises_linearly_from_zero():
    model = MetaFormer(replace(SMALL, drop_path=0.4))
    rates = [block.token.drop_path.drop_prob for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_the_pyramid_has_a_level_per_stage():
    model = MetaFormer(SMALL).eval()
    levels = model.pyramid(images(SMALL))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (8, 16, 16), (16, 8, 8), (16, 4, 4), (24, 2, 2),
    ]  # fmt: skip
    logits = model.head(model.norm(levels[-1]).mean(dim=(2, 3)))
    torch.testing.assert_close(logits, model(images(SMALL)))


@pytest.mark.parametrize("mixer", MIXERS)
def test_memory_layout_does_not_change_the_result(mixer):
    torch.manual_seed(0)
    config = replace(SMALL, token_mixers=mixer)
    model, x = MetaFormer(config).eval(), images(config)
    expected = model(x)
    model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(x.to(memory_format=torch.channels_last)), expected)


def test_linear_layers_are_initialized_as_in_the_paper_and_convolutions_as_in_torch():
    torch.manual_seed(0)
    model = MetaFormer(SIZES["s12"])
    fc1 = model.stages[3].blocks[0].channel.body.fc1
    assert fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not fc1.bias.any()
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.02)
    stem = model.stages[0].downsample.weight
    bound = (3 * 7 * 7) ** -0.5  # PyTorch's default: uniform within 1 / sqrt(fan in)
    assert stem.abs().max().item() == pytest.approx(bound, rel=0.01)
