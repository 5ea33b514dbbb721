"""The embedded images, and the script that draws them from Fashion-MNIST."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ablations.data import fashion, mini
from ablations.errors import DataError

needs_fashion_mnist = pytest.mark.skipif(
    fashion.find_fashion_files(None) is None,
    reason="needs the Fashion-MNIST files (Debian: dataset-fashion-mnist)",
)


def test_the_embedded_images_are_balanced_and_unchanged():
    dataset = mini.load_mini()
    assert dataset.train.images.shape == (8000, 28, 28, 1)
    assert dataset.val.images.shape == (2000, 28, 28, 1)
    assert set(Counter(dataset.train.labels.tolist()).values()) == {800}
    assert set(Counter(dataset.val.labels.tolist()).values()) == {200}
    assert len(dataset.classes) == 10
    assert dataset.fingerprint == "88d62a25161371fc"
    assert mini.MINI_FILE.stat().st_size < 5_000_000
    assert "Zalando" in mini.MINI_FILE.with_name("mini.LICENSE").read_text()


@needs_fashion_mnist
def test_the_embedded_images_are_those_of_fashion_mnist():
    dataset, whole = mini.load_mini(), fashion.load_fashion(None)
    with np.load(mini.MINI_FILE) as arrays:
        for split, part, source in (
            ("train", dataset.train, whole.train),
            ("val", dataset.val, whole.val),
        ):
            index = arrays[f"{split}_index"]
            assert len(set(index.tolist())) == len(index)
            assert np.array_equal(part.images, source.images[index])
            assert np.array_equal(part.labels, source.labels[index])


@needs_fashion_mnist
def test_the_build_script_reproduces_the_committed_file(tmp_path, monkeypatch):
    from scripts import build_mini

    monkeypatch.setattr(build_mini, "MINI_FILE", tmp_path / "mini.npz")
    build_mini.main(fashion.find_fashion_files(None)["train-images"].parent)
    with np.load(tmp_path / "mini.npz") as built, np.load(mini.MINI_FILE) as committed:
        assert built.files == committed.files
        for name in built.files:
            assert hashlib.sha256(built[name]).digest() == hashlib.sha256(committed[name]).digest()


def test_a_damaged_file_of_embedded_images_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "MINI_FILE", tmp_path / "mini.npz")
    whole = Path(mini.__file__).with_name("mini.npz").read_bytes()
    for content in (b"", b"version https://git-lfs.github.com/spec/v1", whole[:100_000], None):
        if content is not None:
            mini.MINI_FILE.write_bytes(content)
        else:
            np.savez(mini.MINI_FILE, other=np.zeros(3))
        with pytest.raises(DataError, match="mini.npz is damaged: install"):
            mini.load_mini()
