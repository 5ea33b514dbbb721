"""Images behind one interface: ``load_dataset(DataConfig) -> ImageDataset``, then batches of it.

``ablations.config.data_sources`` lists the data sets; ``register_arrays`` adds one of your own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ablations.config.data_sources import DataSource, find_data_source, register_data_source
from ablations.config.schema import DataConfig, RunConfig
from ablations.data.arrays import register_arrays
from ablations.data.dataset import ImageDataset, Split
from ablations.data.memory import memory_guard
from ablations.errors import ConfigError, DataError
from ablations.machine import env_vars

__all__ = [
    "DataSource",
    "ImageDataset",
    "Split",
    "check_classes",
    "count_classes",
    "dataset_identity",
    "is_available",
    "load_dataset",
    "register_arrays",
    "register_data_source",
]


def load_dataset(data: DataConfig, training: bool = True) -> ImageDataset:
    """The images that a config names; they are read once per process.

    Args:
        data: The data set, and how its images are used.
        training: False where the validation images are enough: a folder may lack the others.

    Raises:
        DataError: Images are missing, broken, fewer than a batch, or too large for data.fit pad.
    """
    with memory_guard(f"images of {data.name}"):
        dataset = _load(data.name, _root(data), training)
    if training and data.batch_size > len(dataset.train):
        raise DataError(
            f"data.batch_size {data.batch_size} is above the {len(dataset.train)} training "
            f"images of {data.name}"
        )
    if data.pipeline == "tensor" and data.fit == "pad":
        assert isinstance(dataset.val.images, np.ndarray)
        height, width = dataset.val.images.shape[1:3]
        if max(height, width) > data.image_size:
            raise DataError(
                f"data.fit pad cannot shrink {height}x{width} images to {data.image_size}: "
                "use data.fit resize or a larger data.image_size"
            )
    return dataset


def dataset_identity(data: DataConfig) -> dict[str, str]:
    """The fingerprint of the images that a config names; they are read once per process.

    Raises:
        DataError: Images are missing or broken.
    """
    with memory_guard(f"images of {data.name}"):
        return _load(data.name, _root(data), True).identity


def count_classes(data: DataConfig) -> int:
    """The number of classes in the training part of the image folder ``data.root``.

    Raises:
        DataError: There is no such folder, or it has no classes.
    """
    from ablations.data.folder import class_names

    return len(class_names(_root(data)))


def check_classes(config: RunConfig, found: int) -> None:
    """Raise ConfigError where the images have another number of classes than the model."""
    if found != config.model.num_classes:
        raise ConfigError(
            f"{config.data.root or config.data.name} has {found} classes, the model "
            f"{config.model.num_classes}: set model.num_classes {found}"
        )


def is_available(data: DataConfig) -> bool:
    """Whether ``load_dataset`` finds the files without a download; they may still be broken."""
    return find_data_source(data.name).finds_images(_root(data))


def _root(data: DataConfig) -> str | None:
    """The folder of the files, with the home folder ``~`` expanded."""
    return str(env_vars.expand_path(data.root)) if data.root else None


@lru_cache(maxsize=2)
def _load(name: str, root: str | None, training: bool) -> ImageDataset:
    dataset: ImageDataset = find_data_source(name).loader()(root, training)
    return dataset
