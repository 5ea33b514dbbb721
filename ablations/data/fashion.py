"""Fashion-MNIST: 70,000 grey 28x28 images of ten kinds of clothing (Zalando SE, MIT licence).

Read from a folder of the four original files (Debian's package dataset-fashion-mnist, or
torchvision's FashionMNIST/raw), or downloaded through torchvision.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from ablations.data.dataset import FASHION_STATS, ImageDataset, dataset_from_arrays
from ablations.data.download_progress import try_download
from ablations.errors import DataError

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped or not.

    Raises:
        DataError: The file is truncated or is no IDX file.
    """
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        # Big-endian header: two zero bytes, the type (8 is uint8), the number of axes, each length.
        if raw[:3] != b"\x00\x00\x08":
            raise DataError(f"{path} is not an IDX file of bytes")
        axes = raw[3]
        shape = np.frombuffer(raw, ">u4", axes, offset=4)
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def find_fashion_files(root: str | None) -> dict[str, Path] | None:
    """The four files by their short names, or None where no folder has them all."""
    in_torchvision = Path(root or "data", "FashionMNIST", "raw")
    for folder in [Path(root), in_torchvision] if root else [in_torchvision, DEBIAN_FOLDER]:
        found = {}
        for split in ("train", "t10k"):
            for kind, axes in (("images", 3), ("labels", 1)):
                stem = f"{split}-{kind}-idx{axes}-ubyte"
                for path in (folder / stem, folder / f"{stem}.gz"):
                    if path.is_file():
                        found[f"{split}-{kind}"] = path
        if len(found) == 4:
            return found
    return None


def load_fashion(root: str | None, training: bool = True) -> ImageDataset:  # noqa: ARG001
    """All 60,000 training and 10,000 validation images.

    Raises:
        DataError: No files and no network, or a broken file.
    """
    files = find_fashion_files(root)
    if files is None:
        try_download("Fashion-MNIST", root or "data", "FashionMNIST")
        files = find_fashion_files(root)
    if files is None:
        raise DataError(
            f"no Fashion-MNIST in {root or 'data'}: put the four *-ubyte.gz files there "
            "(--data.root DIR), or install Debian's dataset-fashion-mnist"
        )
    arrays = {name: read_idx(path) for name, path in files.items()}
    for split in ("train", "t10k"):
        images, labels = arrays[f"{split}-images"], arrays[f"{split}-labels"]
        path = files[f"{split}-images"]
        if images.ndim != 3 or labels.ndim != 1 or not images.size:
            raise DataError(f"{path} or its labels hold no images of Fashion-MNIST")
        if len(images) != len(labels) or labels.max() > 9:
            raise DataError(f"{path} and its labels do not fit each other")
    return dataset_from_arrays(
        (arrays["train-images"], arrays["train-labels"]),
        (arrays["t10k-images"], arrays["t10k-labels"]),
        CLASSES,
        FASHION_STATS,
    )
