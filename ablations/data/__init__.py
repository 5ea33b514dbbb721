"""Real pictures behind one interface: ``load(DataConfig) -> Pictures``, then batches of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ablations.config.schema import DataConfig
from ablations.data.dataset import ImageDataset, Split
from ablations.data.memory import memory_guard
from ablations.errors import DataError
from ablations.machine import env_vars

__all__ = [
    "ImageDataset",
    "Split",
    "count_classes",
    "dataset_identity",
    "is_available",
    "load_dataset",
]


def load_dataset(data: DataConfig, training: bool = True) -> ImageDataset:
    """The pictures that ``data`` names; read once a process.

    Args:
        data: Which, and how they will be used.
        training: False where the validation pictures are enough: a folder may then lack the others.

    Raises:
        DataError: They are missing, broken, fewer than a batch, or larger than data.fit pad takes.
    """
    with memory_guard(f"images of {data.name}"):
        pictures = _load(data.name, _root(data), training)
    if training and data.batch_size > len(pictures.train):
        raise DataError(
            f"data.batch_size {data.batch_size} is above the {len(pictures.train)} training "
            f"pictures of {data.name}"
        )
    if data.pipeline == "tensor" and data.fit == "pad":
        assert isinstance(pictures.val.pictures, np.ndarray)
        height, width = pictures.val.pictures.shape[1:3]
        if max(height, width) > data.image_size:
            raise DataError(
                f"data.fit pad cannot shrink {height}x{width} pictures to {data.image_size}: "
                "use data.fit resize or a larger data.image_size"
            )
    return pictures


def dataset_identity(data: DataConfig) -> dict[str, str]:
    """What tells the images that ``data`` names from others; they are read once a process.

    Raises:
        DataError: They are missing or broken.
    """
    with memory_guard(f"images of {data.name}"):
        return _load(data.name, _root(data), True).identity


def count_classes(data: DataConfig) -> int:
    """The number of classes in the training part of the image folder ``data.root``.

    Raises:
        DataError: There is no such folder, or it has no classes.
    """
    from ablations.data.folder import class_names

    return len(class_names(data))


def is_available(data: DataConfig) -> bool:
    """Whether ``load`` finds files without a download; they may still be broken."""
    from ablations.data import cifar, fashion, imagenette

    if data.name == "fashion":
        return fashion.find_fashion_files(_root(data)) is not None
    if data.name in ("cifar10", "cifar100"):
        return cifar.cifar_folder(data.name, _root(data)).is_dir()
    if data.name == "imagenette":
        return imagenette.find_imagenette(_root(data)) is not None
    return data.name == "mini" or data.root is not None


def _root(data: DataConfig) -> str | None:
    """Where the files lie; a config keeps the home folder ``~`` as it was given."""
    return str(env_vars.expand_path(data.root)) if data.root else None


@lru_cache(maxsize=2)
def _load(name: str, root: str | None, training: bool) -> ImageDataset:
    from ablations.data import cifar, fashion, folder, imagenette, mini

    if name == "mini":
        return mini.load_mini()
    if name == "fashion":
        return fashion.load_fashion(root)
    if name in ("cifar10", "cifar100"):
        return cifar.load_cifar(name, root)
    where = DataConfig(name=name, root=root, pipeline="timm")
    return (
        imagenette.load_imagenette(where)
        if name == "imagenette"
        else folder.load_folder(where, training)
    )
