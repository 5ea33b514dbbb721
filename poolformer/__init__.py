"""The parameterized MetaFormer of "MetaFormer Is Actually What You Need for Vision".

The names that need torch load on first use, so that configs can be read without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from poolformer.config import SIZES, ConfigError, MetaFormerConfig

if TYPE_CHECKING:
    from poolformer.metaformer import MetaFormer

__all__ = ["SIZES", "ConfigError", "MetaFormer", "MetaFormerConfig"]


def __getattr__(name: str) -> object:
    if name == "MetaFormer":
        from poolformer.metaformer import MetaFormer

        return MetaFormer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
