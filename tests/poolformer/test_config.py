"""Model configs: valid ones, and the errors of invalid ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolformer import SIZES, ConfigError, MetaFormerConfig


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"token_mixers": "poll"}, "did you mean 'pool'"),
        ({"token_mixers": ("pool", "pool", "pool", "atention")}, "did you mean 'attention'"),
        ({"token_mixers": ("pool", "identity", "pool")}, "3 names for 4 stages"),
        ({"norm": "bacth"}, "did you mean 'batch'"),
        ({"norm": "zzz"}, "valid are group, layer, batch, none"),
        ({"activation": "gleu"}, "did you mean 'gelu'"),
        ({"pool_size": 4}, "must be odd and positive"),
        ({"pool_size": -3}, "must be odd and positive"),
        ({"token_mixers": "attention", "head_dim": 48}, "head_dim 48 does not divide"),
        ({"image_size": 2}, "leaves nothing for stage 1"),
        ({"depths": (2, 2)}, "must name the same stages"),
        ({"dims": (64, 128, 0, 512)}, "must all be 1 or more"),
        ({"drop_path": 1.0}, r"must be in \[0, 1\)"),
        ({"mlp_ratio": 0.0}, "must leave 1 or more hidden channels"),
        ({"mlp_ratio": float("nan")}, "must leave 1 or more hidden channels"),
        ({"position_embedding": 5}, "a stage from 1 to 4"),
        ({"layer_scale_init": float("inf")}, "must be finite"),
        ({"stem_stride": 0}, "must be 1 or more"),
        ({"down_padding": -1}, "must be 0 or more"),
        ({"num_classes": -1}, "must be 0 or more"),
    ],
)
def test_an_error_names_the_valid_values(fields, message):
    with pytest.raises(ConfigError, match=message) as caught:
        MetaFormerConfig(**fields)
    assert "\n" not in str(caught.value)


def test_an_unknown_field_is_an_error():
    with pytest.raises(TypeError, match="pool_sise"):
        MetaFormerConfig(pool_sise=7)


def test_the_same_mixer_in_all_stages_becomes_one_name():
    assert MetaFormerConfig(token_mixers=["pool"] * 4) == MetaFormerConfig(token_mixers="pool")
    assert MetaFormerConfig(token_mixers=["pool"] * 4).mixers == ("pool",) * 4


def test_the_sizes_are_those_of_the_papers_table_1():
    assert SIZES["s12"].grids == (56, 28, 14, 7)
    assert [sum(config.depths) for config in SIZES.values()] == [12, 24, 36, 36, 48]


@given(
    image=st.integers(1, 300),
    kernel=st.integers(1, 11),
    stride=st.integers(1, 6),
    padding=st.integers(0, 4),
)
def test_grids_match_the_convolutions_or_the_config_is_refused(image, kernel, stride, padding):
    torch = pytest.importorskip("torch")
    fields = {"stem_kernel": kernel, "stem_stride": stride, "stem_padding": padding}
    try:
        config = MetaFormerConfig(depths=(1, 1), dims=(2, 2), image_size=image, **fields)
    except ConfigError as error:
        assert "leaves nothing" in str(error)
        return
    with torch.device("meta"):
        x = torch.nn.Conv2d(3, 2, kernel, stride, padding)(torch.empty(1, 3, image, image))
        y = torch.nn.Conv2d(2, 2, 3, 2, 1)(x)
    assert config.grids == (x.shape[-1], y.shape[-1])
