"""Pictures in folders: ``train/<class>/*.jpg`` and ``val/<class>/*.jpg``. ImageNet is this."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ablations.config import DataConfig
from ablations.data.base import IMAGENET_STATS, DataError, Pictures, Split

LAYOUT = "train/<class>/*.jpg and val/<class>/*.jpg"


def class_names(data: DataConfig, split: str = "train") -> tuple[str, ...]:
    """The classes of a folder: the names of the folders in its train (or val) folder, sorted.

    Raises:
        DataError: There is no such folder, or it has no classes.
    """
    if data.root is None:
        raise DataError(f"data.name {data.name} needs --data.root DIR with {LAYOUT}")
    return _subfolders(Path(data.root, split))


def _subfolders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: put the pictures there as {LAYOUT}")
    found = [path.name for path in folder.iterdir() if path.is_dir()]
    names = tuple(sorted(name for name in found if not name.startswith(".")))
    if not names:
        raise DataError(f"{folder} has no class folders: put the pictures there as {LAYOUT}")
    return names


def load(data: DataConfig, training: bool = True) -> Pictures:
    """The picture files of both splits (without ``training`` of val); nothing is decoded yet.

    The fingerprint covers every file's relative path and size, not its bytes: reading a whole
    ImageNet for it would cost more than an epoch.

    Raises:
        DataError: A missing folder, a class without pictures, or splits with different classes.
    """
    classes = class_names(data, "train" if training else "val")
    root = Path(str(data.root))
    train = Split([], np.zeros(0, np.int64))
    if training:
        val_classes = _subfolders(root / "val")
        if val_classes != classes:
            odd = sorted(set(classes) ^ set(val_classes))
            raise DataError(f"{root}: train and val differ in the class {odd[0]}")
        train = _split(root / "train", classes)
    val = _split(root / "val", classes)
    digest = hashlib.sha256()
    for split in (train, val):
        for path in split.pictures:
            assert isinstance(path, Path)
            try:
                size = path.stat().st_size
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}") from error
            digest.update(f"{path.relative_to(root)}\0{size}\n".encode())
    return Pictures(train, val, classes, *IMAGENET_STATS, fingerprint=digest.hexdigest()[:16])


def _split(folder: Path, classes: tuple[str, ...]) -> Split:
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    indices = {name: index for index, name in enumerate(classes)}
    found = make_dataset(str(folder), indices, extensions=IMG_EXTENSIONS, allow_empty=True)
    labels = np.array([label for _, label in found], dtype=np.int64)
    counts = np.bincount(labels, minlength=len(classes))
    if not counts.all():
        empty = folder / classes[int(np.argmin(counts))]
        raise DataError(f"{empty} has no pictures ({', '.join(IMG_EXTENSIONS)})")
    return Split([Path(path) for path, _ in found], labels)
