"""CIFAR-10 and CIFAR-100: 60,000 colour pictures of 32x32, through torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ablations.data.base import CIFAR_STATS, DataError, Pictures, from_arrays


def _source(name: str) -> Any:
    from torchvision.datasets import CIFAR10, CIFAR100

    return {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]


def folder(name: str, root: str | None) -> Path:
    """Where the files of ``cifar10`` or ``cifar100`` are, once they are there."""
    return Path(root or "data", _source(name).base_folder)


def load(name: str, root: str | None) -> Pictures:
    """50,000 training and 10,000 validation pictures of ``cifar10`` or ``cifar100``.

    Raises:
        DataError: No files and no network, or files with other checksums.
    """
    source, where = _source(name), root or "data"
    try:
        train, val = (source(where, train=train, download=False) for train in (True, False))
    except RuntimeError:
        try:
            train, val = (source(where, train=train, download=True) for train in (True, False))
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"no {name} in {where}: unpack its python version so that "
                f"{folder(name, root)} exists (--data.root DIR)"
            ) from error
    return from_arrays(
        (train.data, np.asarray(train.targets)),
        (val.data, np.asarray(val.targets)),
        tuple(train.classes),
        CIFAR_STATS,
    )
