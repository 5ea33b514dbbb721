"""The parameterized MetaFormer of "MetaFormer Is Actually What You Need for Vision".

Names that need torch are imported on first use, so that configs can be read without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from poolformer.config import SIZES, MetaFormerConfig
from poolformer.errors import CheckpointError, ConfigError, PoolformerError
from poolformer.models import MODELS

if TYPE_CHECKING:
    from poolformer.checkpoints import load_checkpoint
    from poolformer.metaformer import MetaFormer, create
    from poolformer.mixers import register_mixer

__all__ = [
    "MODELS",
    "SIZES",
    "CheckpointError",
    "ConfigError",
    "MetaFormer",
    "MetaFormerConfig",
    "PoolformerError",
    "create",
    "load_checkpoint",
    "register_mixer",
]

_LAZY = {  # name -> its module, which imports torch
    "MetaFormer": "metaformer",
    "create": "metaformer",
    "load_checkpoint": "checkpoints",
    "register_mixer": "mixers",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(f"poolformer.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
