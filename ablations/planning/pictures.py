"""How many pictures an epoch has, and which of them a probe sees, also where they are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ablations import data
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.data import ImageDataset, Split
from ablations.data.checks import check_classes
from ablations.errors import ConfigError

# Training and validation pictures of a source. ImageNet-1K: Russakovsky et al., IJCV 115 (2015),
# Table 2. Fashion-MNIST: Xiao et al., arXiv 1708.07747. CIFAR: Krizhevsky, Learning Multiple Layers
# of Features from Tiny Images (2009). Imagenette, version 2: github.com/fastai/imagenette.
KNOWN = {
    "mini": (8_000, 2_000),
    "fashion": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenette": (9_469, 3_925),
}
IMAGENET = (1_281_167, 50_000)


@dataclass(frozen=True)
class Source:
    """What is known of the pictures of a cell.

    Args:
        train: Training pictures an epoch.
        val: Validation pictures.
        pictures: They, where they are on this machine.
    """

    train: int
    val: int
    pictures: ImageDataset | None = None


def source(config: RunConfig) -> Source:
    """The pictures of a cell: counted where they are here, else as published; no download.

    Raises:
        DataError: They are here and broken, or fewer than a batch.
        ConfigError: Another number of classes than the model's, or a folder of nobody knows what.
    """
    if data.is_available(config.data):
        pictures = data.load_dataset(config.data)
        check_classes(config, len(pictures.classes))
        return Source(len(pictures.train), len(pictures.val), pictures)
    train, val = KNOWN.get(config.data.name) or _folder(config)
    if config.data.batch_size > train:
        raise ConfigError(
            f"data.batch_size {config.data.batch_size} is above the {train} training images of "
            f"{config.data.name}"
        )
    return Source(train, val)


def _folder(config: RunConfig) -> tuple[int, int]:
    recipe = resolve(config.recipe)
    if recipe.data.name == "folder" and config.model.num_classes == recipe.model.num_classes:
        return IMAGENET
    raise ConfigError(
        "how many images data.name folder has is not known: give --data.root DIR, or take a "
        "recipe of ImageNet's"
    )


def some(pictures: ImageDataset, train: int, val: int) -> ImageDataset:
    """So many of each split, drawn from all of it; again from the start where they are too few."""
    draw = np.random.default_rng(0)

    def part(split: Split, count: int) -> Split:
        index = np.resize(draw.permutation(len(split)), count)
        if isinstance(split.pictures, np.ndarray):
            return Split(split.pictures[index], split.labels[index])
        return Split([split.pictures[place] for place in index], split.labels[index])

    return replace(pictures, train=part(pictures.train, train), val=part(pictures.val, val))
