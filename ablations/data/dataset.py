"""What every source of pictures gives: two splits, the class names and a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Channel means and deviations of the training pictures, on a scale of 0 to 1.
FASHION_STATS = ((0.2860,), (0.3530,))
CIFAR_STATS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
IMAGENET_STATS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Split:
    """Pictures with their labels.

    Args:
        pictures: uint8 (N, H, W, C) in memory, or the N paths of picture files.
        labels: int64 (N,), each below the number of classes.
    """

    pictures: NDArray[np.uint8] | list[Path]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageDataset:
    """A data set: what to train on, what to validate on, and how to tell it from another.

    Args:
        classes: Names of the classes, in the order of the labels.
        mean: Mean of each channel, on a scale of 0 to 1.
        std: Deviation of each channel, on the same scale.
        fingerprint: 16 hex digits that change when the images do.
        contents: 16 hex digits that change when image files do whose names and sizes stay; empty
            for arrays, whose fingerprint sees that.
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
        """What tells them from others, as records have it."""
        return {"fingerprint": self.fingerprint} | (
            {"contents": self.contents} if self.contents else {}
        )


def fingerprint_arrays(*arrays: np.ndarray) -> str:
    """16 hex digits of a SHA-256 over shapes and contents."""
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
    """Pictures in memory, from uint8 (N, H, W) or (N, H, W, C) and labels (N,) for each split."""

    def split(pictures: np.ndarray, labels: np.ndarray) -> Split:
        if pictures.ndim == 3:
            pictures = pictures[..., None]
        return Split(np.ascontiguousarray(pictures, dtype=np.uint8), labels.astype(np.int64))

    one, two = split(*train), split(*val)
    arrays = [np.asarray(part) for part in (one.pictures, one.labels, two.pictures, two.labels)]
    return ImageDataset(one, two, classes, *stats, fingerprint=fingerprint_arrays(*arrays))
