"""The embedded images: 8,000 + 2,000 of Fashion-MNIST, class-balanced, in the package itself.

Drawn by ``scripts/build_mini.py`` from the training and test files (Zalando SE, MIT licence: the
text is in mini.LICENSE beside the file).
"""

from __future__ import annotations

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ablations.data.dataset import FASHION_STATS, ImageDataset, dataset_from_arrays
from ablations.data.fashion import CLASSES
from ablations.errors import DataError

MINI_FILE = Path(__file__).with_name("mini.npz")


def load_mini(root: str | None = None, training: bool = True) -> ImageDataset:  # noqa: ARG001
    """8,000 training images (800 per class) and 2,000 validation images (200 per class).

    Raises:
        DataError: The file is damaged.
    """
    try:
        with MINI_FILE.open("rb") as raw, np.load(raw) as file:
            arrays = dict(file)
        return dataset_from_arrays(
            (arrays["train_images"], arrays["train_labels"]),
            (arrays["val_images"], arrays["val_labels"]),
            CLASSES,
            FASHION_STATS,
        )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{MINI_FILE} is damaged: install metaformer-ablations again") from error
