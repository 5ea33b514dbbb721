"""Fashion-MNIST: its layouts of files, and the errors of broken ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from ablations.data import fashion, mini
from ablations.errors import DataError


@pytest.fixture
def idx_folder(tmp_path) -> Path:
    """Embedded images as the four gzipped IDX files of Fashion-MNIST."""
    dataset = mini.load_mini()
    for name, split in (("train", dataset.train), ("t10k", dataset.val)):
        images, labels = split.images[:300].squeeze(-1), split.labels[:300].astype(np.uint8)
        for kind, array in (("images", images), ("labels", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            path = tmp_path / f"{name}-{kind}-idx{array.ndim}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))
    return tmp_path


def test_the_layouts_of_debian_and_torchvision_are_read(idx_folder):
    flat = fashion.load_fashion(str(idx_folder))
    assert np.array_equal(flat.train.images, mini.load_mini().train.images[:300])
    raw = idx_folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in idx_folder.glob("*.gz"):  # torchvision keeps them unpacked
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert fashion.load_fashion(str(idx_folder)).fingerprint == flat.fingerprint


def test_torchvision_reads_the_same_images(idx_folder):
    from torchvision.datasets import FashionMNIST

    raw = idx_folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in idx_folder.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    reference = FashionMNIST(str(idx_folder), train=True, download=False)
    dataset = fashion.load_fashion(str(idx_folder))
    assert np.array_equal(reference.data.numpy()[..., None], dataset.train.images)
    assert reference.targets.tolist() == dataset.train.labels.tolist()
    assert tuple(reference.classes) == dataset.classes


@pytest.mark.parametrize("damage", [b"", b"not an idx file", b"\x00\x00\x08\x03\x00\x00"])
def test_a_broken_idx_file_is_reported_by_name(idx_folder, damage):
    path = idx_folder / "train-images-idx3-ubyte.gz"
    for content in (gzip.compress(damage), path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="train-images"):
            fashion.load_fashion(str(idx_folder))


@pytest.mark.parametrize("which", ["train-images", "t10k-images", "t10k-labels"])
@pytest.mark.parametrize("shape", [(), (0,), (0, 28, 28), (300, 28), (299, 28, 28), (7, 7)])
def test_arrays_of_other_shapes_are_reported_by_name(idx_folder, which, shape):
    array = np.zeros(shape, np.uint8)
    header = bytes([0, 0, 8, array.ndim]) + np.array(shape, ">u4").tobytes()
    path = next(idx_folder.glob(f"{which}*"))
    path.write_bytes(gzip.compress(header + array.tobytes()))
    with pytest.raises(DataError, match=which.partition("-")[0]):
        fashion.load_fashion(str(idx_folder))
