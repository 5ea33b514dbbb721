"""Folders of image files: which files count, the fingerprint, and the errors of unusable ones."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablations import data
from ablations.config.resolve import resolve
from ablations.config.schema import DataConfig
from ablations.data import folder
from ablations.data.batches import TransformedImages
from ablations.errors import DataError


def test_the_layout_of_imagenet_is_read(image_folder):
    config = resolve("imagenet", {"data.root": str(image_folder), "model.num_classes": 3}).data
    dataset = folder.load_folder(config.root)
    assert dataset.classes == ("Pullover", "T-shirt-top", "Trouser")
    assert (len(dataset.train), len(dataset.val)) == (48, 24)


def test_the_classes_of_a_folder_are_counted_with_every_recipe_for_folders(image_folder):
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


def test_an_unusable_folder_is_an_error_that_says_why(image_folder, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(image_folder, root)
    config = DataConfig(name="folder", root=str(root), pipeline="timm")
    for path in (root / "train" / "Trouser").iterdir():
        path.unlink()
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
def folder_copy(image_folder, tmp_path) -> DataConfig:
    """A copy of the folder that a test may change."""
    root = shutil.copytree(image_folder, tmp_path / "copy")
    return DataConfig(name="folder", root=str(root), pipeline="timm")


def old_fingerprint(root: Path, classes: tuple[str, ...]) -> str:
    """The fingerprint that older versions computed, from torchvision's list of files."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    digest = hashlib.sha256()
    for split in ("train", "val"):
        indices = {name: index for index, name in enumerate(classes)}
        for path, _ in make_dataset(str(root / split), indices, extensions=IMG_EXTENSIONS):
            size = Path(path).stat().st_size
            digest.update(f"{Path(path).relative_to(root)}\0{size}\n".encode())
    return digest.hexdigest()[:16]


def test_ordinary_folders_have_the_fingerprint_and_order_of_older_versions(folder_copy):
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    root = Path(folder_copy.root)
    some = next((root / "train" / "Trouser").iterdir())
    for name in ("a-b/z.jpg", "a/z.JPG", "a/y.jpeg", "ä.jpg", "Ω🙂.png", "x.jpg/1.jpg"):
        target = root / "train" / "Trouser" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(some, target)
    (root / "val" / "linked").symlink_to(root / "val" / "Trouser")
    (root / "train" / "linked").symlink_to(root / "train" / "Trouser")
    dataset = folder.load_folder(folder_copy.root)
    assert dataset.fingerprint == old_fingerprint(root, dataset.classes)
    indices = {name: index for index, name in enumerate(dataset.classes)}
    old = make_dataset(str(root / "train"), indices, extensions=IMG_EXTENSIONS)
    assert [(str(path)) for path in dataset.train.images] == [path for path, _ in old]
    assert dataset.train.labels.tolist() == [label for _, label in old]


def test_the_fingerprint_differs_from_older_versions_where_decoding_has_changed(folder_copy):
    root = Path(folder_copy.root)
    before = folder.load_folder(folder_copy.root).fingerprint
    path = root / "train" / "Trouser" / "wide.png"
    for values, changes in (
        (np.zeros((9, 9), np.uint8), False),
        (np.ones((9, 9), np.uint16), True),
    ):
        Image.fromarray(values).save(path)
        now = folder.load_folder(folder_copy.root)
        assert (now.fingerprint != old_fingerprint(root, now.classes)) == changes
    path.unlink()
    assert folder.load_folder(folder_copy.root).fingerprint == before


def test_files_of_systems_and_programs_are_skipped_with_a_warning(folder_copy, caplog):
    root = Path(folder_copy.root)
    before = folder.load_folder(folder_copy.root)
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
    now = folder.load_folder(folder_copy.root)
    assert now.fingerprint == before.fingerprint
    assert now.classes == before.classes == folder.class_names(folder_copy.root)
    (record,) = caplog.records
    message = record.getMessage()
    assert "\n" not in message
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
        assert part in message


def test_all_formats_that_pillow_decodes_are_images(folder_copy):
    trouser = Path(folder_copy.root) / "train" / "Trouser"
    before = len(folder.load_folder(folder_copy.root).train)
    image = Image.open(next(trouser.iterdir()))
    for suffix in ("gif", "avif", "jp2", "webp", "TIF", "jfif"):
        image.save(trouser / f"more.{suffix}")
    assert len(folder.load_folder(folder_copy.root).train) == before + 6


@pytest.mark.parametrize("content", [b"", None])
def test_empty_files_and_broken_links_are_reported_when_loading(folder_copy, content):
    trouser = Path(folder_copy.root) / "train" / "Trouser"
    for name in ("lost.jpg", "lost2.jpg"):
        if content is None:
            (trouser / name).symlink_to(trouser / "nowhere.jpg")
        else:
            (trouser / name).write_bytes(content)
    why = "is empty" if content == b"" else "cannot be read: No such file"
    with pytest.raises(DataError, match=f"lost.jpg {why}.*, and 1 more: `ablations data check"):
        folder.load_folder(folder_copy.root)


def test_a_class_without_images_reports_the_skipped_files(folder_copy):
    trouser = Path(folder_copy.root) / "train" / "Trouser"
    for path in trouser.iterdir():
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"train/Trouser has no images; left out: 16 \.heic"):
        folder.load_folder(folder_copy.root)


def test_a_folder_without_permission_is_reported_by_name(folder_copy, monkeypatch):
    real, within = os.scandir, str(Path(folder_copy.root, "train", "Trouser"))

    def refuse(path):
        if os.fspath(path) == within:
            raise PermissionError(13, "Permission denied", within)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="train/Trouser cannot be read: Permission denied"):
        folder.load_folder(folder_copy.root)


def test_file_names_that_are_not_utf_8_work(folder_copy, caplog):
    trouser = os.fsencode(Path(folder_copy.root) / "train" / "Trouser")
    some = os.path.join(trouser, os.listdir(trouser)[0])
    shutil.copy(some, os.path.join(trouser, b"caf\xe9.jpg"))
    shutil.copy(some, os.path.join(trouser, b"caf\xe9\n.txt"))
    dataset = folder.load_folder(folder_copy.root)
    assert len(dataset.train) == 49
    assert caplog.records[-1].getMessage().encode()
    index = [path.name for path in dataset.train.images].index(os.fsdecode(b"caf\xe9.jpg"))
    train = TransformedImages(dataset.train, dataset, folder_copy, seed=0, training=True)
    assert train.image(index).size == (40, 40)
    dataset.train.images[index].write_bytes(b"broken")
    with pytest.raises(DataError, match=r"caf\\udce9.jpg cannot be decoded") as caught:
        train.image(index)
    assert str(caught.value).encode()
