"""Models by name: the paper's sizes, the rows of its ablation table, entries of its follow-up.

The released hybrids are named after their files (sail-sg/poolformer, models/metaformer.py); rows
without a released model are named after what they change. Standard library only.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from poolformer.config import SIZES, MetaFormerConfig, unknown_name
from poolformer.errors import ConfigError

S12 = SIZES["s12"]


def _mixed(*mixers: str, **changes: Any) -> MetaFormerConfig:
    return replace(S12, token_mixers=mixers if len(mixers) > 1 else mixers[0], **changes)


# If several models have the same parameters, weights without a name count as the first model's.
MODELS: dict[str, MetaFormerConfig] = {
    **{f"poolformer_{size}": config for size, config in SIZES.items()},
    "metaformer_id_s12": _mixed("identity"),
    # The attention hybrids have the channel LayerNorm in every stage.
    "metaformer_pppa_s12_224": _mixed(
        "pool", "pool", "pool", "attention", norm="layer", position_embedding=4
    ),
    "metaformer_ppaa_s12_224": _mixed(
        "pool", "pool", "attention", "attention", norm="layer", position_embedding=3
    ),
    "metaformer_pppf_s12_224": _mixed("pool", "pool", "pool", "spatial_fc"),
    "metaformer_ppff_s12_224": _mixed("pool", "pool", "spatial_fc", "spatial_fc"),
    "metaformer_random_s12_224": _mixed("random"),
    "metaformer_depthwise_s12": _mixed("depthwise"),
    "poolformer_s12_pool5": replace(S12, pool_size=5),
    "poolformer_s12_pool7": replace(S12, pool_size=7),
    "poolformer_s12_pool9": replace(S12, pool_size=9),
    "poolformer_s12_layer_norm": replace(S12, norm="layer"),
    "poolformer_s12_batch_norm": replace(S12, norm="batch"),
    "poolformer_s12_no_norm": replace(S12, norm="none"),
    "poolformer_s12_relu": replace(S12, activation="relu"),
    "poolformer_s12_silu": replace(S12, activation="silu"),
    "poolformer_s12_no_residual": replace(S12, residual=False),
    "poolformer_s12_no_channel_mlp": replace(S12, channel_mlp=False),
    # "MetaFormer Baselines for Vision" (arXiv 2210.13452): one field each on PoolFormer-S12, not
    # that paper's own models.
    "metaformer_separable_conv_s12": _mixed("separable_conv"),
    "metaformer_rand_s12_224": _mixed("identity", "identity", "random", "random"),
    "poolformer_s12_star_relu": replace(S12, activation="star_relu"),
}


def model_config(name: str, **changes: Any) -> MetaFormerConfig:
    """The config of a named model, with some fields changed.

    Raises:
        ConfigError: The name or a field does not exist, or a value is impossible.
    """
    if name not in MODELS:
        raise ConfigError(
            unknown_name("model", name, MODELS, otherwise=f"valid are {', '.join(MODELS)}")
        )
    known = [item.name for item in fields(MetaFormerConfig)]
    for field in changes:
        if field not in known:
            raise ConfigError(unknown_name("field", field, known, f"valid are {', '.join(known)}"))
    return replace(MODELS[name], **changes)
