"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32x32, through torchvision."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ablations.data.dataset import CIFAR_STATS, ImageDataset, dataset_from_arrays
from ablations.data.download_progress import show_download_progress
from ablations.errors import DataError


def _torchvision_class(name: str) -> Any:
    from torchvision.datasets import CIFAR10, CIFAR100

    return {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]


def cifar_folder(name: str, root: str | None) -> Path:
    """The folder of the unpacked files of ``cifar10`` or ``cifar100``."""
    return Path(root or "data", _torchvision_class(name).base_folder)


def has_cifar(name: str, root: str | None) -> bool:
    """Whether the files are there; they may still be broken."""
    return cifar_folder(name, root).is_dir()


def load_cifar(name: str, root: str | None, training: bool = True) -> ImageDataset:  # noqa: ARG001
    """50,000 training and 10,000 validation images of ``cifar10`` or ``cifar100``.

    Raises:
        DataError: No files and no network, unreadable files, or files with other checksums.
    """
    source, where = _torchvision_class(name), root or "data"
    try:
        train, val = (source(where, train=train, download=False) for train in (True, False))
    except OSError as error:
        raise DataError(f"{error.filename or where} cannot be read: {error.strerror}") from error
    except RuntimeError:
        try:
            with show_download_progress(name, where):
                train, val = (source(where, train=train, download=True) for train in (True, False))
        except Exception as error:  # networks and archives fail in many ways
            raise DataError(_explain_failure(name, where)) from error
    return dataset_from_arrays(
        (train.data, np.asarray(train.targets)),
        (val.data, np.asarray(val.targets)),
        tuple(train.classes),
        CIFAR_STATS,
    )


load_cifar10, load_cifar100 = partial(load_cifar, "cifar10"), partial(load_cifar, "cifar100")
has_cifar10, has_cifar100 = partial(has_cifar, "cifar10"), partial(has_cifar, "cifar100")


def _explain_failure(name: str, root: str) -> str:
    """What is missing or damaged, after a download has failed."""
    from torchvision.datasets.utils import check_integrity

    source, folder = _torchvision_class(name), cifar_folder(name, root)
    again = f"unpack {source.filename} in {root} again"
    if folder.is_dir():
        meta = (source.meta["filename"], source.meta["md5"])
        for file, checksum in (*source.train_list, *source.test_list, meta):
            if not (folder / file).is_file():
                return f"{folder / file} is missing: {again}"
            if not check_integrity(folder / file, checksum):
                return f"{folder / file} is damaged, its checksum is not that of {name}'s: {again}"
    archive = Path(root, source.filename)
    if archive.is_file() and not check_integrity(archive, source.tgz_md5):
        return f"{archive} is damaged, its checksum is not that of {name}'s: put it there again"
    return (
        f"no {name} in {root}: unpack its python version so that {folder} exists (--data.root DIR)"
    )
