"""What every data source returns: two splits, the class names and a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Mean and standard deviation of each channel of the training images, on a scale of 0 to 1.
FASHION_STATS = ((0.2860,), (0.3530,))
CIFAR_STATS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
IMAGENET_STATS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Args:
        images: uint8 (N, H, W, C) in memory, or the N paths of image files.
        labels: int64 (N,), each below the number of classes.
    """

    images: NDArray[np.uint8] | list[Path]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageDataset:
    """A data set: training images, validation images, and what identifies them.

    Args:
        train: The training images.
        val: The validation images.
        classes: Names of the classes, in the order of the labels.
        mean: Mean of each channel, on a scale of 0 to 1.
        std: Standard deviation of each channel, on the same scale.
        fingerprint: 16 hex digits that change when the images do.
        contents: 16 hex digits that change when image files change and keep their names and sizes;
            empty for arrays, whose fingerprint covers their values.
    """

    train: Split
    val: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    contents: str = ""

    @property
    def identity(self) -> dict[str, str]:
        """What identifies the images in a record."""
        contents = {"contents": self.contents} if self.contents else {}
        return {"fingerprint": self.fingerprint} | contents


def fingerprint_arrays(*arrays: np.ndarray) -> str:
    """16 hex digits of a SHA-256 over shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def dataset_from_arrays(
    train: tuple[np.ndarray, np.ndarray],
    val: tuple[np.ndarray, np.ndarray],
    classes: tuple[str, ...],
    stats: tuple[tuple[float, ...], tuple[float, ...]],
) -> ImageDataset:
    """A data set in memory.

    Args:
        train: uint8 images (N, H, W) or (N, H, W, C) and labels (N,).
        val: The same of the validation images.
        classes: Names of the classes.
        stats: Mean and standard deviation of each channel, on a scale of 0 to 1.
    """

    def split(images: np.ndarray, labels: np.ndarray) -> Split:
        with_channels = images[..., None] if images.ndim == 3 else images
        return Split(np.ascontiguousarray(with_channels, dtype=np.uint8), labels.astype(np.int64))

    splits = split(*train), split(*val)
    arrays = [np.asarray(array) for each in splits for array in (each.images, each.labels)]
    return ImageDataset(*splits, classes, *stats, fingerprint=fingerprint_arrays(*arrays))
