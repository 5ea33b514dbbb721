"""CIFAR-10 and CIFAR-100: 60,000 colour pictures of 32x32, through torchvision."""

from __future__ import annotations

import numpy as np

from ablations.data.base import CIFAR_STATS, DataError, Pictures, from_arrays


def load(name: str, root: str | None) -> Pictures:
    """50,000 training and 10,000 validation pictures of ``cifar10`` or ``cifar100``.

    Raises:
        DataError: No files and no network, or files with other checksums.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    source = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    folder = root or "data"
    try:
        train, val = (source(folder, train=train, download=False) for train in (True, False))
    except RuntimeError:
        try:
            train, val = (source(folder, train=train, download=True) for train in (True, False))
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"no {name} in {folder}: unpack its python version so that "
                f"{folder}/{source.base_folder} exists (--data.root DIR)"
            ) from error
    return from_arrays(
        (train.data, np.asarray(train.targets)),
        (val.data, np.asarray(val.targets)),
        tuple(train.classes),
        CIFAR_STATS,
    )
