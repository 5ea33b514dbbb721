"""Your own data set from Python arrays: ``register_arrays``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ablations.config.data_sources import DataSource, register_data_source
from ablations.data.dataset import dataset_from_arrays
from ablations.errors import ConfigError


def register_arrays(
    name: str,
    train_images: ArrayLike,
    train_labels: ArrayLike,
    val_images: ArrayLike,
    val_labels: ArrayLike,
    classes: Sequence[str] | None = None,
) -> None:
    """Make images in memory a data set that configs can name: ``data.name: <name>``.

    Call it at the top level of a module of your own, and name that module in ``system.plugins``
    (``--plugins my_data``): every process of a study imports it. Images are normalised by the mean
    and standard deviation of the training images. A resolved config has the fingerprint of the
    images in ``data.name`` (``<name>@1a2b3c4d5e6f7a8b``), so that other images give other run ids.

    Args:
        name: Letters, digits and underscores.
        train_images: uint8 (N, H, W) for grey or (N, H, W, C) with C = 1 or 3, values 0 to 255.
        train_labels: Whole numbers (N,), each from 0 to the number of classes - 1.
        val_images: uint8 (M, H, W) or (M, H, W, C); the same H, W and C.
        val_labels: Whole numbers (M,).
        classes: Names of the classes, in the order of the labels; by default their numbers.

    Raises:
        ConfigError: The name is taken or invalid, or an array has another shape, type or range.
    """
    labels = [
        _labels(f"{name}: train_labels", train_labels),
        _labels(f"{name}: val_labels", val_labels),
    ]
    count = len(classes) if classes is not None else int(max(map(np.max, labels))) + 1
    train = _images(f"{name}: train_images", train_images, len(labels[0]))
    val = _images(f"{name}: val_images", val_images, len(labels[1]))
    if train.shape[1:] != val.shape[1:]:
        raise ConfigError(
            f"{name}: train_images are {_size(train)} and val_images {_size(val)}: use one size"
        )
    for own in labels:
        if own.min() < 0 or own.max() >= count:
            raise ConfigError(f"{name}: labels must be 0 to {count - 1}, one per class")
    scaled = train.reshape(-1, train.shape[-1]) / 255
    stats = [tuple(np.round(each, 4).tolist()) for each in (scaled.mean(0), scaled.std(0))]
    if min(stats[1]) == 0:
        raise ConfigError(f"{name}: train_images have a channel of one single value")
    dataset = dataset_from_arrays(
        (train, labels[0]),
        (val, labels[1]),
        tuple(classes) if classes is not None else tuple(map(str, range(count))),
        (stats[0], stats[1]),
    )
    height, width = train.shape[1:3]
    source = DataSource(
        name,
        channels=train.shape[-1],
        num_classes=count,
        load=lambda _root, _training: dataset,
        image_side=height if height == width else None,
        images=(len(train), len(val)),
        reads_root=False,
        fingerprint=dataset.fingerprint,
    )
    register_data_source(source, sys._getframe(1).f_globals.get("__name__", ""))


def _labels(what: str, values: ArrayLike) -> np.ndarray:
    labels = np.asarray(values)
    if labels.ndim != 1 or not labels.size or not np.issubdtype(labels.dtype, np.integer):
        raise ConfigError(
            f"{what} have shape {labels.shape} and type {labels.dtype}: give whole numbers (N,)"
        )
    return labels


def _images(what: str, values: ArrayLike, count: int) -> np.ndarray:
    """(N, H, W, C) of images (N, H, W) or (N, H, W, C), of which there are ``count``."""
    images = np.asarray(values)
    grey = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or grey.ndim != 4 or grey.shape[-1] not in (1, 3) or not grey.size:
        raise ConfigError(
            f"{what} have shape {images.shape} and type {images.dtype}: give uint8 (N, H, W) or "
            "(N, H, W, C) with 1 or 3 channels"
        )
    if len(grey) != count:
        raise ConfigError(f"{what} are {len(grey)} and have {count} labels: give one per image")
    return grey


def _size(images: np.ndarray) -> str:
    return "x".join(map(str, images.shape[1:]))
