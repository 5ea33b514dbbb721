"""How many images an epoch has, and a sample of them for a probe; nothing is downloaded."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ablations import data
from ablations.config.data_sources import find_data_source
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.data import ImageDataset, Split
from ablations.errors import ConfigError

# Training and validation images: Russakovsky et al., IJCV 115 (2015), Table 2.
IMAGENET_SIZE = (1_281_167, 50_000)


class DatasetSize(NamedTuple):
    """The data set of a run.

    Args:
        train: Training images per epoch.
        val: Validation images.
        images: The data set itself, if it is on this machine.
    """

    train: int
    val: int
    images: ImageDataset | None = None


def dataset_size(config: RunConfig) -> DatasetSize:
    """The size of a run's data set: counted if it is on this machine, else as published.

    Raises:
        DataError: The images are broken, or fewer than a batch.
        ConfigError: The number of classes is not the model's, or the size is not known.
    """
    if data.is_available(config.data):
        images = data.load_dataset(config.data)
        data.check_classes(config, len(images.classes))
        return DatasetSize(len(images.train), len(images.val), images)
    train, val = find_data_source(config.data.name).images or _folder_size(config)
    if config.data.batch_size > train:
        raise ConfigError(
            f"data.batch_size {config.data.batch_size} is above the {train} training images of "
            f"{config.data.name}"
        )
    return DatasetSize(train, val)


def _folder_size(config: RunConfig) -> tuple[int, int]:
    """The size of ImageNet, if the recipe is for it."""
    recipe = resolve(config.recipe)
    if recipe.data.name == "folder" and config.model.num_classes == recipe.model.num_classes:
        return IMAGENET_SIZE
    raise ConfigError(
        "the number of images in this folder is not known: set --data.root DIR, or use a recipe "
        "for ImageNet"
    )


def sample_dataset(dataset: ImageDataset, train: int, val: int) -> ImageDataset:
    """Draw images from all of a data set, repeated if it has too few.

    Args:
        dataset: The data set.
        train: Training images to draw.
        val: Validation images to draw.
    """
    generator = np.random.default_rng(0)

    def sample(split: Split, count: int) -> Split:
        index = np.resize(generator.permutation(len(split)), count)
        whole = split.images
        images = whole[index] if isinstance(whole, np.ndarray) else [whole[i] for i in index]
        return Split(images, split.labels[index])

    return replace(dataset, train=sample(dataset.train, train), val=sample(dataset.val, val))
