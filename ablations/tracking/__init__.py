"""W&B: mirroring a run, finding finished ones, reading runs back.

W&B mirrors what happens; the record on disk is the truth, and no run fails in training for it. The
names load on first use: training needs neither tables nor the reading of runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablations.tracking.reading import read_offline, read_project

__all__ = ["read_offline", "read_project"]

# name -> the file it is in
_LAZY = {
    "read_offline": "reading",
    "read_project": "reading",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(f"ablations.tracking.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
