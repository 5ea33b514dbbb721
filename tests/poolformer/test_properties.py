"""Any valid config builds and trains; any other raises ConfigError."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from poolformer import ConfigError, MetaFormer, MetaFormerConfig
from poolformer.config import ACTIVATION_NAMES, MIXER_NAMES, NORM_NAMES

STAGES = st.integers(1, 4)


@st.composite
def small_configs(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of models that build in milliseconds, most of them valid."""
    stages = draw(STAGES)

    def each(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(one, min_size=stages, max_size=stages).map(tuple)

    mixers = st.sampled_from(MIXER_NAMES)
    return {
        "depths": draw(each(st.integers(1, 2))),
        "dims": draw(each(st.sampled_from([4, 8, 12, 16]))),
        "mlp_ratio": draw(st.floats(0.25, 5)),
        "token_mixers": draw(mixers | each(mixers)),
        "pool_size": draw(st.sampled_from([1, 3, 5, 7, 9, 11])),
        "norm": draw(st.sampled_from(NORM_NAMES)),
        "activation": draw(st.sampled_from(ACTIVATION_NAMES)),
        "residual": draw(st.booleans()),
        "channel_mlp": draw(st.booleans()),
        "layer_scale_init": draw(st.none() | st.sampled_from([1e-6, 1e-5, 0.1, 1.0])),
        "drop_path": draw(st.floats(0, 0.9)),
        "position_embedding": draw(st.none() | st.integers(1, stages)),
        "head_dim": draw(st.sampled_from([1, 2, 4, 8])),
        "stem_kernel": draw(st.integers(1, 7)),
        "stem_stride": draw(st.integers(1, 4)),
        "stem_padding": draw(st.integers(0, 3)),
        "down_kernel": draw(st.integers(1, 4)),
        "down_stride": draw(st.integers(1, 3)),
        "down_padding": draw(st.integers(0, 2)),
        "in_channels": draw(st.integers(1, 4)),
        "num_classes": draw(st.integers(0, 5)),
        "image_size": draw(st.integers(1, 24)),
    }


many_examples = settings(max_examples=150, deadline=None)


@many_examples
@given(small_configs(), st.integers(0, 2**31))
def test_a_valid_config_builds_and_has_finite_gradients(given_fields, seed):
    try:
        config = MetaFormerConfig(**given_fields)
    except ConfigError as error:
        assert "\n" not in str(error)
        reject()
    assert MetaFormerConfig(**{f.name: getattr(config, f.name) for f in fields(config)}) == config
    torch.manual_seed(seed)
    model = MetaFormer(config).train()
    side = config.image_size
    x = torch.randn(2, config.in_channels, side, side)
    levels = model.pyramid(x)
    assert [tuple(level.shape) for level in levels] == [
        (2, dim, grid, grid) for dim, grid in zip(config.dims, config.grids, strict=True)
    ]
    logits = model(x)
    assert logits.shape == (2, config.num_classes or config.dims[-1])
    assert logits.isfinite().all()
    logits.square().mean().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


ANY_VALUE = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(-3, 3) | st.text(max_size=3), max_size=5)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)


@settings(max_examples=1000, deadline=None)
@example("mlp_ratio", 2.9e306)  # finite, but not when multiplied by the width
@given(st.sampled_from([item.name for item in fields(MetaFormerConfig)]), ANY_VALUE)
def test_an_invalid_value_raises_config_error(name, value):
    """No model is built: a valid value may need more memory than there is."""
    try:
        config = MetaFormerConfig(**{name: value})
    except ConfigError as error:
        assert "\n" not in str(error)
        assert str(error)
    else:
        assert hash(config) is not None
        assert config.grids
