"""Draw ablations/data/mini.npz from the original Fashion-MNIST files.

    python scripts/build_mini.py [FOLDER]

FOLDER has the four *-ubyte.gz files (default: the folder of Debian's dataset-fashion-mnist). The
script draws 800 training images and 200 validation images per class with a fixed seed, from the
training file and the test file, and keeps their order. The same files give the same bytes. Where
the originals are installed, a test compares every embedded image with its original.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ablations.data.fashion import DEBIAN_FOLDER, read_idx
from ablations.data.mini import MINI_FILE

SEED = 20211122  # the day of arXiv 2111.11418 v1


def draw(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Sorted indices of ``per_class`` images of every class."""
    chosen = [
        rng.choice(np.flatnonzero(labels == label), per_class, replace=False) for label in range(10)
    ]
    return np.sort(np.concatenate(chosen))


def main(folder: Path) -> None:
    """Write mini.npz."""
    rng = np.random.default_rng(SEED)
    arrays = {}
    for split, file, per_class in (("train", "train", 800), ("val", "t10k", 200)):
        images = read_idx(folder / f"{file}-images-idx3-ubyte.gz")
        labels = read_idx(folder / f"{file}-labels-idx1-ubyte.gz")
        index = draw(labels, per_class, rng)
        arrays[f"{split}_images"] = images[index]
        arrays[f"{split}_labels"] = labels[index]
        arrays[f"{split}_index"] = index.astype(np.uint16)
    np.savez_compressed(MINI_FILE, allow_pickle=False, **arrays)
    print(f"{MINI_FILE.name}: {MINI_FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEBIAN_FOLDER)
