"""Images in folders: ``train/<class>/*.jpg`` and ``val/<class>/*.jpg``. ImageNet is this."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from ablations.config.schema import DataConfig
from ablations.data.dataset import IMAGENET_STATS, ImageDataset, Split
from ablations.data.decode import any_decoding_changed
from ablations.data.image_files import (
    FOLDER_LAYOUT,
    ImageFiles,
    describe_skipped,
    find_image_files,
    list_class_folders,
)
from ablations.errors import DataError
from ablations.machine import env_vars
from ablations.text.escape import terminal

log = logging.getLogger("ablations")
SAMPLED_FILES = 4096  # files whose beginning counts
SAMPLED_BYTES = 2**16  # bytes of each
_CHECK_HINT = "`ablations data check DIR` lists all such files"


def class_names(data: DataConfig, split: str = "train") -> tuple[str, ...]:
    """The classes of a folder: the names of the folders in its train (or val) folder, sorted.

    Raises:
        DataError: There is no such folder, or it has no classes.
    """
    if not data.root:
        raise DataError(f"data.name {data.name} needs --data.root DIR with {FOLDER_LAYOUT}")
    return list_class_folders(env_vars.expand_path(data.root) / split)


def load_folder(data: DataConfig, training: bool = True) -> ImageDataset:
    """The image files of both splits (without ``training`` of val); nothing is decoded yet.

    The fingerprint covers every file's relative path and size, and ``contents`` the beginnings of
    up to ``SAMPLED`` of them, evenly spaced: reading a whole ImageNet for it would cost more than
    an epoch. Where a file is decoded otherwise than by versions that heeded neither orientation
    nor 16 bits of grey, it says so: their records are of other images. What is left out is logged.

    Raises:
        DataError: A missing folder, an empty file, a class without images, or splits with different
            classes.
    """
    classes = class_names(data, "train" if training else "val")
    root = Path(str(data.root))
    if training and (val_classes := list_class_folders(root / "val")) != classes:
        odd = sorted(set(classes) ^ set(val_classes))
        raise DataError(f"{root}: train and val differ in the class {odd[0]}")
    found = [
        find_image_files(root / name, classes)
        for name in (["train", "val"] if training else ["val"])
    ]
    for each in found:
        _raise_if_unusable(each)
    _warn_about_skipped(found, root)
    digest = hashlib.sha256()
    for each in found:
        for _, path, size in each.images:
            digest.update(os.fsencode(path.relative_to(root)) + f"\0{size}\n".encode())
    if any_decoding_changed([path for each in found for _, path, _ in each.images]):
        digest.update(b"upright, 16 bits of grey scaled to 8\n")
    train = _split(found[0]) if training else Split([], np.zeros(0, np.int64))
    fingerprint = digest.hexdigest()[:16]
    # Who only validates compares nothing.
    contents = (
        _contents_digest([path for each in found for _, path, _ in each.images]) if training else ""
    )
    stats = IMAGENET_STATS
    return ImageDataset(train, _split(found[-1]), classes, *stats, fingerprint, contents)


def _contents_digest(paths: list[Path]) -> str:
    """16 hex digits over the beginnings of up to ``SAMPLED`` files, evenly spaced."""
    digest = hashlib.sha256()
    for path in paths[:: -(-len(paths) // SAMPLED_FILES)]:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.sha256(file.read(SAMPLED_BYTES)).digest())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:16]


def _split(found: ImageFiles) -> Split:
    labels = np.array([label for label, _, _ in found.images], dtype=np.int64)
    return Split([path for _, path, _ in found.images], labels)


def _raise_if_unusable(found: ImageFiles) -> None:
    if found.broken:
        path, why = found.broken[0]
        more = f", and {len(found.broken) - 1:,} more" if found.broken[1:] else ""
        raise DataError(f"{path} {why}{more}: {_CHECK_HINT}")
    if empty := found.empty():
        out = describe_skipped(found.left_out, found.folder)
        raise DataError(
            f"{found.folder / empty[0]} has no images" + (f"; left out: {out}" if out else "")
        )


def _warn_about_skipped(found: list[ImageFiles], root: Path) -> None:
    left_out: dict[str, list[Path]] = defaultdict(list)
    for each in found:
        for why, paths in each.left_out.items():
            left_out[why] += paths
    if left_out:
        log.warning("%s", terminal(f"{root}: left out {describe_skipped(left_out, root)}"))
