"""CIFAR-10 and CIFAR-100: reading their files, and the errors of missing or damaged ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from ablations.data import cifar, mini
from ablations.errors import DataError


def write_cifar(root: Path, name: str) -> None:
    """Write embedded images in CIFAR's file format: pickled rows of 3 x 1024 bytes."""
    from torchvision.datasets import CIFAR10, CIFAR100

    source = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    base = root / source.base_folder
    base.mkdir(parents=True)
    dataset = mini.load_mini()
    rows = np.pad(dataset.train.images, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=3)
    rows = rows.transpose(0, 3, 1, 2).reshape(8000, -1)
    key = "labels" if name == "cifar10" else "fine_labels"
    for number, (file, _) in enumerate([*source.train_list, *source.test_list]):
        part = slice(20 * number, 20 * number + 20)
        entry = {"data": rows[part], key: dataset.train.labels[part].tolist()}
        (base / file).write_bytes(pickle.dumps(entry))
    names = {"label_names": list("abcdefghij")}
    if name == "cifar100":
        names = {"fine_label_names": [str(number) for number in range(100)]}
    (base / source.meta["filename"]).write_bytes(pickle.dumps(names))


@pytest.mark.parametrize(
    ("name", "train", "classes"), [("cifar10", 100, 10), ("cifar100", 20, 100)]
)
def test_the_files_of_cifar_are_read(tmp_path, monkeypatch, no_network, name, train, classes):
    write_cifar(tmp_path, name)
    with pytest.raises(DataError, match=name):  # torchvision checks the published checksums
        cifar.load_cifar(name, str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    dataset = cifar.load_cifar(name, str(tmp_path))
    assert dataset.train.images.shape == (train, 32, 32, 3)
    assert len(dataset.val) == 20
    assert len(dataset.classes) == classes
    original = mini.load_mini().train
    assert np.array_equal(dataset.train.images[5, 2:-2, 2:-2, :1], original.images[5])
    assert dataset.train.labels[5] == original.labels[5]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_missing_and_damaged_files_are_reported_by_name(tmp_path, no_network, name):
    tree = cifar.cifar_folder(name, str(tmp_path))
    archive = tmp_path / cifar._torchvision_class(name).filename
    archive.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=f"{archive.name} is damaged, .*: put it there again"):
        cifar.load_cifar(name, str(tmp_path))
    tree.mkdir()
    first = cifar._torchvision_class(name).train_list[0][0]
    with pytest.raises(DataError, match=f"{tree / first} is missing: unpack {archive.name}"):
        cifar.load_cifar(name, str(tmp_path))
    for content in (b"", b"cut"):
        (tree / first).write_bytes(content)
        with pytest.raises(DataError, match=f"{tree / first} is damaged, its checksum is not"):
            cifar.load_cifar(name, str(tmp_path))
