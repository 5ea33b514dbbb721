"""Every data source with real images, and the errors of missing or broken files."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablations import data
from ablations.config.resolve import resolve
from ablations.config.schema import DataConfig
from ablations.data import cifar, fashion, folder, imagenette, mini
from ablations.data.batches import TransformedImages
from ablations.errors import DataError
from ablations.store import records
from ablations.store.records import Record

originals = pytest.mark.skipif(
    fashion.find_fashion_files(None) is None,
    reason="needs the Fashion-MNIST files (Debian: dataset-fashion-mnist)",
)


def test_mini_is_balanced_small_and_pinned():
    dataset = mini.load_mini()
    assert dataset.train.images.shape == (8000, 28, 28, 1)
    assert dataset.val.images.shape == (2000, 28, 28, 1)
    assert set(Counter(dataset.train.labels.tolist()).values()) == {800}
    assert set(Counter(dataset.val.labels.tolist()).values()) == {200}
    assert len(dataset.classes) == 10
    assert dataset.fingerprint == "88d62a25161371fc"
    assert mini.MINI_FILE.stat().st_size < 5_000_000
    assert "Zalando" in mini.MINI_FILE.with_name("mini.LICENSE").read_text()


@originals
def test_mini_is_drawn_from_the_originals():
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


@pytest.fixture
def idx_folder(tmp_path) -> Path:
    """The embedded images as the four IDX files of the originals, gzipped."""
    dataset = mini.load_mini()
    for name, split in (("train", dataset.train), ("t10k", dataset.val)):
        images, labels = split.images[:300].squeeze(-1), split.labels[:300].astype(np.uint8)
        for kind, array in (("images", images), ("labels", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            path = tmp_path / f"{name}-{kind}-idx{array.ndim}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))
    return tmp_path


def test_fashion_reads_debians_layout_and_torchvisions(idx_folder):
    flat = fashion.load_fashion(str(idx_folder))
    assert np.array_equal(flat.train.images, mini.load_mini().train.images[:300])
    raw = idx_folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in idx_folder.glob("*.gz"):  # torchvision keeps them unpacked
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert fashion.load_fashion(str(idx_folder)).fingerprint == flat.fingerprint


def test_torchvision_reads_the_same_layout(idx_folder):
    from torchvision.datasets import FashionMNIST

    raw = idx_folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in idx_folder.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    theirs = FashionMNIST(str(idx_folder), train=True, download=False)
    ours = fashion.load_fashion(str(idx_folder))
    assert np.array_equal(theirs.data.numpy()[..., None], ours.train.images)
    assert theirs.targets.tolist() == ours.train.labels.tolist()
    assert tuple(theirs.classes) == ours.classes


@pytest.mark.parametrize("damage", [b"", b"not an idx file", b"\x00\x00\x08\x03\x00\x00"])
def test_a_broken_idx_file_is_named(idx_folder, damage):
    path = idx_folder / "train-images-idx3-ubyte.gz"
    for content in (gzip.compress(damage), path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="train-images"):
            fashion.load_fashion(str(idx_folder))


@pytest.mark.parametrize("which", ["train-images", "t10k-images", "t10k-labels"])
@pytest.mark.parametrize("shape", [(), (0,), (0, 28, 28), (300, 28), (299, 28, 28), (7, 7)])
def test_arrays_that_are_not_fashion_mnist_are_named(idx_folder, which, shape):
    array = np.zeros(shape, np.uint8)
    header = bytes([0, 0, 8, array.ndim]) + np.array(shape, ">u4").tobytes()
    path = next(idx_folder.glob(f"{which}*"))
    path.write_bytes(gzip.compress(header + array.tobytes()))
    with pytest.raises(DataError, match=which.partition("-")[0]):
        fashion.load_fashion(str(idx_folder))


def test_a_damaged_file_of_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "MINI_FILE", tmp_path / "mini.npz")
    whole = Path(mini.__file__).with_name("mini.npz").read_bytes()
    for content in (b"", b"version https://git-lfs.github.com/spec/v1", whole[:100_000], None):
        if content is not None:
            mini.MINI_FILE.write_bytes(content)
        else:
            np.savez(mini.MINI_FILE, other=np.zeros(3))
        with pytest.raises(DataError, match="mini.npz is damaged: install"):
            mini.load_mini()


def refused(*_, **__):
    raise OSError("no network")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fashion", "no Fashion-MNIST in .*none: put the four"),
        ("cifar10", "no cifar10 in .*none: unpack its python version"),
        ("cifar100", "no cifar100 in .*none: unpack its python version"),
        ("imagenette", "no Imagenette in .*none: unpack imagenette2-320.tgz"),
        ("folder", "no folder .*none/train: put the images there as train/<class>"),
    ],
)
def test_the_error_of_a_missing_data_set_says_what_to_do(tmp_path, monkeypatch, name, told):
    # As on a cluster node: nothing can be downloaded.
    monkeypatch.setattr("urllib.request.urlopen", refused)
    pipeline = "timm" if name in ("imagenette", "folder") else "tensor"
    config = DataConfig(name=name, root=str(tmp_path / "none"), pipeline=pipeline)
    with pytest.raises(DataError, match=told) as caught:
        data.load_dataset(config)
    assert "\n" not in str(caught.value)


def write_cifar(root: Path, name: str) -> None:
    """The embedded images in CIFAR's own file format: pickled rows of 3 x 1024 bytes."""
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
def test_cifar_reads_its_files(tmp_path, monkeypatch, name, train, classes):
    write_cifar(tmp_path, name)
    monkeypatch.setattr("urllib.request.urlopen", refused)
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
def test_missing_and_damaged_files_of_cifar_are_named(tmp_path, monkeypatch, name):
    monkeypatch.setattr("urllib.request.urlopen", refused)
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


def test_a_damaged_archive_of_imagenette_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", refused)
    (tmp_path / "imagenette2-320.tgz").write_bytes(b"no archive")
    config = DataConfig(name="imagenette", root=str(tmp_path), pipeline="timm")
    with pytest.raises(DataError, match="imagenette2-320.tgz is not unpacked, and is damaged"):
        imagenette.load_imagenette(config.root)


def test_folder_reads_imagenets_layout(image_folder):
    config = resolve("imagenet", {"data.root": str(image_folder), "model.num_classes": 3}).data
    dataset = folder.load_folder(config.root)
    assert dataset.classes == ("Pullover", "T-shirt-top", "Trouser")
    assert (len(dataset.train), len(dataset.val)) == (48, 24)


def test_the_number_of_classes_of_a_folder_is_counted_also_for_imagenets_recipe(image_folder):
    for recipe in ("imagenet", "imagenet-fast", "imagenette"):
        overrides = {"data.root": str(image_folder), "data.name": "folder"}
        config = resolve(recipe, overrides, count_classes=data.count_classes)
        assert config.model.num_classes == 3
    assert resolve("imagenet").model.num_classes == 1000


def test_the_fingerprint_of_a_folder_changes_with_an_image(image_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(image_folder, root)
    config = DataConfig(name="folder", root=str(root), pipeline="timm")
    before = folder.load_folder(config.root).fingerprint
    assert folder.load_folder(str(image_folder)).fingerprint == before
    changed = next((root / "train").rglob("*.jpg"))
    changed.write_bytes(changed.read_bytes() + b"x")
    assert folder.load_folder(config.root).fingerprint != before


def test_the_error_of_an_unusable_folder_says_why(image_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(image_folder, root)
    config = DataConfig(name="folder", root=str(root), pipeline="timm")
    for picture in (root / "train" / "Trouser").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match="train/Trouser has no images"):
        folder.load_folder(config.root)
    shutil.rmtree(root / "val" / "Trouser")
    with pytest.raises(DataError, match="differ in the class Trouser"):
        folder.load_folder(config.root)
    shutil.rmtree(root / "val")
    with pytest.raises(DataError, match="no folder .*val"):
        folder.load_folder(config.root)
    shutil.rmtree(root / "train")
    (root / "train").mkdir()
    with pytest.raises(DataError, match="has no class folders"):
        folder.load_folder(config.root)
    with pytest.raises(DataError, match="needs --data.root"):
        folder.load_folder(None)


@pytest.fixture
def copied(image_folder, tmp_path) -> DataConfig:
    """A copy of the folder, to be spoilt."""
    root = shutil.copytree(image_folder, tmp_path / "copy")
    return DataConfig(name="folder", root=str(root), pipeline="timm")


def fingerprint_of_old(root: Path, classes: tuple[str, ...]) -> str:
    """As records that are kept have it: torchvision's list of files."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    digest = hashlib.sha256()
    for split in ("train", "val"):
        indices = {name: index for index, name in enumerate(classes)}
        for path, _ in make_dataset(str(root / split), indices, extensions=IMG_EXTENSIONS):
            size = Path(path).stat().st_size
            digest.update(f"{Path(path).relative_to(root)}\0{size}\n".encode())
    return digest.hexdigest()[:16]


def test_ordinary_folders_keep_their_fingerprint_and_their_order(copied):
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    root = Path(copied.root)
    some = next((root / "train" / "Trouser").iterdir())
    for name in ("a-b/z.jpg", "a/z.JPG", "a/y.jpeg", "ä.jpg", "Ω🙂.png", "x.jpg/1.jpg"):
        target = root / "train" / "Trouser" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(some, target)
    (root / "val" / "linked").symlink_to(root / "val" / "Trouser")
    (root / "train" / "linked").symlink_to(root / "train" / "Trouser")
    dataset = folder.load_folder(copied.root)
    assert dataset.fingerprint == fingerprint_of_old(root, dataset.classes)
    indices = {name: index for index, name in enumerate(dataset.classes)}
    old = make_dataset(str(root / "train"), indices, extensions=IMG_EXTENSIONS)
    assert [(str(path)) for path in dataset.train.images] == [path for path, _ in old]
    assert dataset.train.labels.tolist() == [label for _, label in old]


def test_the_fingerprint_changes_where_decoding_has_changed(copied):
    root = Path(copied.root)
    before = folder.load_folder(copied.root).fingerprint
    path = root / "train" / "Trouser" / "wide.png"
    for values, changes in (
        (np.zeros((9, 9), np.uint8), False),
        (np.ones((9, 9), np.uint16), True),
    ):
        Image.fromarray(values).save(path)
        now = folder.load_folder(copied.root)
        assert (now.fingerprint != fingerprint_of_old(root, now.classes)) == changes
    path.unlink()
    assert folder.load_folder(copied.root).fingerprint == before


def test_files_of_systems_and_programs_are_left_out_and_reported(copied, caplog):
    root = Path(copied.root)
    before = folder.load_folder(copied.root)
    some = next((root / "train" / "Trouser").iterdir())
    for name in (
        "train/.ipynb_checkpoints/a.jpg",
        "train/__MACOSX/a.jpg",
        "val/@eaDir/a.jpg",
        "train/Trouser/.ipynb_checkpoints/a.jpg",
        "train/Trouser/@eaDir/deeper/a.jpg",
        "train/Trouser/._1.jpg",
        "train/Pullover/.DS_Store",
        "train/Pullover/Thumbs.db",
        "train/Pullover/notes.txt",
        "train/Pullover/more.txt",
        "train/Pullover/README",
        "train/beside.jpg",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(some, root / name)
    os.mkfifo(root / "train" / "Pullover" / "pipe.jpg")
    (root / "train" / "Trouser" / "round").symlink_to(root / "train")
    (root / "train" / "lost").symlink_to(root / "nowhere")
    caplog.clear()
    now = folder.load_folder(copied.root)
    assert now.fingerprint == before.fingerprint
    assert now.classes == before.classes == folder.class_names(copied.root)
    (record,) = caplog.records
    told = record.getMessage()
    assert "\n" not in told
    for part in (
        "1 .db (train/Pullover/Thumbs.db)",
        "2 .txt (such as train/Pullover/more.txt)",
        "1 without suffix (train/Pullover/README)",
        "2 beside the class folders",
        "4 hidden",
        "3 of a system or program",
        "1 no regular file (train/Pullover/pipe.jpg)",
        "1 a link to a folder above it (train/Trouser/round)",
    ):
        assert part in told


def test_every_format_that_pillow_decodes_is_taken(copied):
    trouser = Path(copied.root) / "train" / "Trouser"
    before = len(folder.load_folder(copied.root).train)
    image = Image.open(next(trouser.iterdir()))
    for suffix in ("gif", "avif", "jp2", "webp", "TIF", "jfif"):
        image.save(trouser / f"more.{suffix}")
    assert len(folder.load_folder(copied.root).train) == before + 6


@pytest.mark.parametrize("content", [b"", None])
def test_empty_files_and_dangling_links_are_named_before_training(copied, content):
    trouser = Path(copied.root) / "train" / "Trouser"
    for name in ("lost.jpg", "lost2.jpg"):
        if content is None:
            (trouser / name).symlink_to(trouser / "nowhere.jpg")
        else:
            (trouser / name).write_bytes(content)
    why = "is empty" if content == b"" else "cannot be read: No such file"
    with pytest.raises(DataError, match=f"lost.jpg {why}.*, and 1 more: `ablations data check"):
        folder.load_folder(copied.root)


def test_a_class_without_usable_files_names_them(copied):
    trouser = Path(copied.root) / "train" / "Trouser"
    for path in trouser.iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"train/Trouser has no images; left out: 16 \.heic"):
        folder.load_folder(copied.root)


def test_a_folder_that_cannot_be_listed_is_named(copied, monkeypatch):
    real, within = os.scandir, str(Path(copied.root, "train", "Trouser"))

    def refuse(path):
        if os.fspath(path) == within:
            raise PermissionError(13, "Permission denied", within)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="train/Trouser cannot be read: Permission denied"):
        folder.load_folder(copied.root)


def test_file_names_that_are_not_utf_8_work(copied, caplog):
    trouser = os.fsencode(Path(copied.root) / "train" / "Trouser")
    some = os.path.join(trouser, os.listdir(trouser)[0])
    shutil.copy(some, os.path.join(trouser, b"caf\xe9.jpg"))
    shutil.copy(some, os.path.join(trouser, b"caf\xe9\n.txt"))
    dataset = folder.load_folder(copied.root)
    assert len(dataset.train) == 49
    assert caplog.records[-1].getMessage().encode()
    index = [path.name for path in dataset.train.images].index(os.fsdecode(b"caf\xe9.jpg"))
    train = TransformedImages(dataset.train, dataset, copied, seed=0, training=True)
    assert train.image(index).size == (40, 40)
    dataset.train.images[index].write_bytes(b"broken")
    with pytest.raises(DataError, match=r"caf\\udce9.jpg cannot be decoded") as caught:
        train.image(index)
    assert str(caught.value).encode()


def test_a_root_that_is_not_utf_8_leaves_a_record_that_can_be_read(tmp_path):
    root = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    config = resolve("mini", {"data.root": root})
    assert config.data.root == root
    why = {"kind": "data", "message": "x"}
    Record(config.run_id, "failed", config.to_json(), failure=why).write(tmp_path)
    record = records.find_record(tmp_path, config.run_id)
    assert record.config["data"]["root"] == f"{tmp_path}/caf\\udce9"


def test_imagenette_finds_its_folder_and_counts_its_classes(image_folder, tmp_path):
    config = DataConfig(name="imagenette", root=str(tmp_path), pipeline="timm")
    shutil.copytree(image_folder, tmp_path / "imagenette2-320")
    with pytest.raises(DataError, match="3 classes, Imagenette has 10"):
        imagenette.load_imagenette(config.root)
    for split in ("train", "val"):
        for number in range(7):
            source = tmp_path / "imagenette2-320" / split
            shutil.copytree(source / "Trouser", source / f"n{number}")
    assert len(imagenette.load_imagenette(config.root).classes) == 10


def test_a_batch_above_the_data_set_is_refused():
    with pytest.raises(DataError, match="batch_size 9000 is above the 8000 training images"):
        data.load_dataset(DataConfig(batch_size=9000))


@originals
def test_the_build_script_gives_the_committed_file(tmp_path, monkeypatch):
    from scripts import build_mini

    monkeypatch.setattr(build_mini, "MINI_FILE", tmp_path / "mini.npz")
    build_mini.main(fashion.find_fashion_files(None)["train-images"].parent)
    with np.load(tmp_path / "mini.npz") as built, np.load(mini.MINI_FILE) as committed:
        assert built.files == committed.files
        for name in built.files:
            assert hashlib.sha256(built[name]).digest() == hashlib.sha256(committed[name]).digest()
