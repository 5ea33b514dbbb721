"""The validation images of a record, as they are stored: to be looked at, not to be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ablations import data
from ablations.config.schema import DataConfig
from ablations.data.dataset import ImageDataset
from ablations.data.decode import decode_image
from ablations.errors import DataError
from ablations.machine import env_vars

MAX_SIDE = 160  # pixels; larger images are shrunk to it


@dataclass(frozen=True, eq=False)
class ValidationImages:
    """Validation images in the order of the predictions.

    Args:
        dataset: The data set.
    """

    dataset: ImageDataset

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.dataset.classes

    def image(self, index: int) -> NDArray[np.uint8]:
        """An image, uint8 (H, W) if grey or (H, W, 3), at most 160 pixels a side.

        Raises:
            DataError: Its file cannot be read.
        """
        images = self.dataset.val.images
        whole = images[index]
        if isinstance(whole, np.ndarray):
            pixels = whole[..., 0] if whole.shape[-1] == 1 else whole
            shown = Image.fromarray(pixels)
        else:
            shown = decode_image(whole)
        shown.thumbnail((MAX_SIDE, MAX_SIDE))
        return np.asarray(shown)


def validation_images(
    name: str,
    fingerprint: str,
    labels: NDArray[np.integer[Any]],
    roots: tuple[str | None, ...] = (None,),
) -> ValidationImages:
    """The validation images with a fingerprint; nothing is downloaded.

    Args:
        name: The ``data.name`` of the runs.
        fingerprint: Of their data set.
        labels: The true classes that they were compared with, (N,).
        roots: Folders in which the files may be; the first that has them is read.

    Raises:
        ConfigError: The data source does not exist, or has other images now.
        DataError: The images are not at hand, broken, or others.
    """
    # A batch of one and no transform: any images will do.
    there = [root for root in roots if root is None or env_vars.expand_path(root).is_dir()]
    configs = [DataConfig(name=name, root=root, batch_size=1, pipeline="timm") for root in there]
    config = next(filter(data.is_available, configs), None)
    where = ", ".join(dict.fromkeys(str(root or "data") for root in roots))
    if config is None:
        raise DataError(f"the images of {name} are not in {where}: give their folder (--data.root)")
    dataset = data.load_dataset(config)
    if dataset.fingerprint != fingerprint or not np.array_equal(dataset.val.labels, labels):
        raise DataError(
            f"the images of {config.root or name} have fingerprint {dataset.fingerprint}, the runs "
            f"were trained on {fingerprint}: give their folder (--data.root)"
        )
    return ValidationImages(dataset)
