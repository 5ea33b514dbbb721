"""W&B: mirror runs, reuse finished runs, read runs back.

W&B is a mirror: the record on disk is the truth, and a failure of W&B never fails a training run.
Names are imported on first use, because training does not need the reading of runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablations.tracking.reading import read_offline, read_project

__all__ = ["read_offline", "read_project"]

# Name -> its module.
_LAZY = {
    "read_offline": "reading",
    "read_project": "reading",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(f"ablations.tracking.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
