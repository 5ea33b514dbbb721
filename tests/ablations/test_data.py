"""Every source of pictures, on real pictures, and what a missing or broken one says."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablations import data
from ablations.config import DataConfig
from ablations.data import DataError, cifar, fashion, folder, imagenette, mini
from ablations.resolve import resolve

originals = pytest.mark.skipif(
    fashion.find_files(None) is None,
    reason="needs the Fashion-MNIST files (Debian: dataset-fashion-mnist)",
)


def test_mini_is_balanced_small_and_pinned():
    pictures = mini.load()
    assert pictures.train.pictures.shape == (8000, 28, 28, 1)
    assert pictures.val.pictures.shape == (2000, 28, 28, 1)
    assert set(Counter(pictures.train.labels.tolist()).values()) == {800}
    assert set(Counter(pictures.val.labels.tolist()).values()) == {200}
    assert len(pictures.classes) == 10
    assert pictures.fingerprint == "88d62a25161371fc"
    assert mini.FILE.stat().st_size < 5_000_000
    assert "Zalando" in mini.FILE.with_name("mini.LICENSE").read_text()


@originals
def test_mini_is_drawn_from_the_originals():
    pictures, whole = mini.load(), fashion.load(None)
    with np.load(mini.FILE) as arrays:
        for split, part, source in (
            ("train", pictures.train, whole.train),
            ("val", pictures.val, whole.val),
        ):
            index = arrays[f"{split}_index"]
            assert len(set(index.tolist())) == len(index)
            assert np.array_equal(part.pictures, source.pictures[index])
            assert np.array_equal(part.labels, source.labels[index])


@pytest.fixture
def idx_folder(tmp_path) -> Path:
    """The embedded pictures as the four IDX files of the originals, gzipped."""
    pictures = mini.load()
    for name, split in (("train", pictures.train), ("t10k", pictures.val)):
        images, labels = split.pictures[:300].squeeze(-1), split.labels[:300].astype(np.uint8)
        for kind, array in (("images", images), ("labels", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            path = tmp_path / f"{name}-{kind}-idx{array.ndim}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))
    return tmp_path


def test_fashion_reads_debians_layout_and_torchvisions(idx_folder):
    flat = fashion.load(str(idx_folder))
    assert np.array_equal(flat.train.pictures, mini.load().train.pictures[:300])
    raw = idx_folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in idx_folder.glob("*.gz"):  # torchvision keeps them unpacked
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert fashion.load(str(idx_folder)).fingerprint == flat.fingerprint


def test_torchvision_itself_reads_the_layout_that_we_read(idx_folder):
    from torchvision.datasets import FashionMNIST

    raw = idx_folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in idx_folder.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    theirs = FashionMNIST(str(idx_folder), train=True, download=False)
    ours = fashion.load(str(idx_folder))
    assert np.array_equal(theirs.data.numpy()[..., None], ours.train.pictures)
    assert theirs.targets.tolist() == ours.train.labels.tolist()
    assert tuple(theirs.classes) == ours.classes


@pytest.mark.parametrize("damage", [b"", b"not an idx file", b"\x00\x00\x08\x03\x00\x00"])
def test_a_broken_idx_file_is_named(idx_folder, damage):
    path = idx_folder / "train-images-idx3-ubyte.gz"
    for content in (gzip.compress(damage), path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="train-images"):
            fashion.load(str(idx_folder))


def refused(*_, **__):
    raise OSError("no network")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fashion", "no Fashion-MNIST in .*none: put the four"),
        ("cifar10", "no cifar10 in .*none: unpack its python version"),
        ("cifar100", "no cifar100 in .*none: unpack its python version"),
        ("imagenette", "no Imagenette in .*none: unpack imagenette2-320.tgz"),
        ("folder", "no folder .*none/train: put the pictures there as train/<class>"),
    ],
)
def test_a_missing_data_set_says_what_to_put_where(tmp_path, monkeypatch, name, told):
    # As on a cluster node: nothing can be downloaded.
    monkeypatch.setattr("urllib.request.urlopen", refused)
    pipeline = "timm" if name in ("imagenette", "folder") else "tensor"
    config = DataConfig(name=name, root=str(tmp_path / "none"), pipeline=pipeline)
    with pytest.raises(DataError, match=told) as caught:
        data.load(config)
    assert "\n" not in str(caught.value)


def write_cifar(root: Path, name: str) -> None:
    """The embedded pictures in CIFAR's own file format: pickled rows of 3 x 1024 bytes."""
    from torchvision.datasets import CIFAR10, CIFAR100

    source = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    base = root / source.base_folder
    base.mkdir(parents=True)
    pictures = mini.load()
    rows = np.pad(pictures.train.pictures, ((0, 0), (2, 2), (2, 2), (0, 0))).repeat(3, axis=3)
    rows = rows.transpose(0, 3, 1, 2).reshape(8000, -1)
    key = "labels" if name == "cifar10" else "fine_labels"
    for number, (file, _) in enumerate([*source.train_list, *source.test_list]):
        part = slice(20 * number, 20 * number + 20)
        entry = {"data": rows[part], key: pictures.train.labels[part].tolist()}
        (base / file).write_bytes(pickle.dumps(entry))
    names = {"label_names": list("abcdefghij")}
    if name == "cifar100":
        names = {"fine_label_names": [str(number) for number in range(100)]}
    (base / source.meta["filename"]).write_bytes(pickle.dumps(names))


@pytest.mark.parametrize(
    ("name", "train", "classes"), [("cifar10", 100, 10), ("cifar100", 20, 100)]
)
def test_cifar_reads_its_files(tmp_path, monkeypatch, name, train, classes):
    write_cifar(tmp_path, name)
    monkeypatch.setattr("urllib.request.urlopen", refused)
    with pytest.raises(DataError, match=name):  # torchvision checks the published checksums
        cifar.load(name, str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    pictures = cifar.load(name, str(tmp_path))
    assert pictures.train.pictures.shape == (train, 32, 32, 3)
    assert len(pictures.val) == 20
    assert len(pictures.classes) == classes
    original = mini.load().train
    assert np.array_equal(pictures.train.pictures[5, 2:-2, 2:-2, :1], original.pictures[5])
    assert pictures.train.labels[5] == original.labels[5]


def test_folder_reads_imagenets_layout(picture_folder):
    config = resolve("imagenet", {"data.root": str(picture_folder), "model.num_classes": 3}).data
    pictures = folder.load(config)
    assert pictures.classes == ("Pullover", "T-shirt-top", "Trouser")
    assert (len(pictures.train), len(pictures.val)) == (48, 24)


def test_the_number_of_classes_of_a_folder_is_counted_also_for_imagenets_recipe(picture_folder):
    for recipe in ("imagenet", "imagenet-fast", "imagenette"):
        overrides = {"data.root": str(picture_folder), "data.name": "folder"}
        assert resolve(recipe, overrides).model.num_classes == 3
    assert resolve("imagenet").model.num_classes == 1000


def test_the_fingerprint_of_a_folder_sees_a_changed_picture(picture_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(picture_folder, root)
    config = DataConfig(name="folder", root=str(root), pipeline="timm")
    before = folder.load(config).fingerprint
    assert folder.load(replace(config, root=str(picture_folder))).fingerprint == before
    changed = next((root / "train").rglob("*.jpg"))
    changed.write_bytes(changed.read_bytes() + b"x")
    assert folder.load(config).fingerprint != before


def test_folders_that_cannot_be_used_say_why(picture_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(picture_folder, root)
    config = DataConfig(name="folder", root=str(root), pipeline="timm")
    for picture in (root / "train" / "Trouser").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match="train/Trouser has no pictures"):
        folder.load(config)
    shutil.rmtree(root / "val" / "Trouser")
    with pytest.raises(DataError, match="differ in the class Trouser"):
        folder.load(config)
    shutil.rmtree(root / "val")
    with pytest.raises(DataError, match="no folder .*val"):
        folder.load(config)
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    with pytest.raises(DataError, match="has no class folders"):
        folder.load(config)
    with pytest.raises(DataError, match="needs --data.root"):
        folder.load(replace(config, root=None))


def test_a_hidden_folder_is_no_class_and_a_dangling_link_is_named(picture_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(picture_folder, root)
    (root / "train" / ".ipynb_checkpoints").mkdir()
    config = DataConfig(name="folder", root=str(root), pipeline="timm")
    assert len(folder.load(config).classes) == 3
    (root / "train" / "Trouser" / "lost.jpg").symlink_to(root / "nowhere.jpg")
    with pytest.raises(DataError, match="lost.jpg cannot be read"):
        folder.load(config)


def test_imagenette_finds_its_folder_and_counts_its_classes(picture_folder, tmp_path):
    config = DataConfig(name="imagenette", root=str(tmp_path), pipeline="timm")
    shutil.copytree(picture_folder, tmp_path / "imagenette2-320")
    with pytest.raises(DataError, match="3 classes, Imagenette has 10"):
        imagenette.load(config)
    for split in ("train", "val"):
        for number in range(7):
            source = tmp_path / "imagenette2-320" / split
            shutil.copytree(source / "Trouser", source / f"n{number}")
    assert len(imagenette.load(config).classes) == 10


def test_a_batch_above_the_data_set_is_refused():
    with pytest.raises(DataError, match="batch_size 9000 is above the 8000 training pictures"):
        data.load(DataConfig(batch_size=9000))


@originals
def test_the_build_script_gives_the_committed_file(tmp_path, monkeypatch):
    from scripts import build_mini

    monkeypatch.setattr(build_mini, "FILE", tmp_path / "mini.npz")
    build_mini.main(fashion.find_files(None)["train-images"].parent)
    with np.load(tmp_path / "mini.npz") as built, np.load(mini.FILE) as committed:
        assert built.files == committed.files
        for name in built.files:
            assert hashlib.sha256(built[name]).digest() == hashlib.sha256(committed[name]).digest()
