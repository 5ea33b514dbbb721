"""The paper's other tables with rows of ours among its own: the door to all of them."""

from __future__ import annotations

from ablations.tables.downstream import (
    ade20k,
    downstream,
    downstream_tidy,
    maskrcnn,
    retinanet,
)
from ablations.tables.imagenet import imagenet, imagenet_tidy
from ablations.tables.sizes import sizes, sizes_tidy

__all__ = [
    "ade20k",
    "downstream",
    "downstream_tidy",
    "imagenet",
    "imagenet_tidy",
    "maskrcnn",
    "retinanet",
    "sizes",
    "sizes_tidy",
]
