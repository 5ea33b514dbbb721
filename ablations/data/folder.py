"""Images in folders: ``train/<class>/*.jpg`` and ``val/<class>/*.jpg``, such as ImageNet."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

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
from ablations.text.escape import terminal

log = logging.getLogger("ablations")
SAMPLED_FILES = 4096  # files whose first bytes are part of ``contents``
SAMPLED_BYTES = 2**16  # of each


def class_names(root: str | None, split: str = "train") -> tuple[str, ...]:
    """The classes of a data set: the sorted names of the folders in its train or val folder.

    Raises:
        DataError: There is no such folder, or it has no classes.
    """
    if not root:
        raise DataError(f"data.name folder needs --data.root DIR with {FOLDER_LAYOUT}")
    return list_class_folders(Path(root, split))


def load_folder(root: str | None, training: bool = True) -> ImageDataset:
    """The image files of both splits (without ``training`` of val); none is decoded yet.

    The fingerprint covers the relative path and size of every file, and ``contents`` the first
    bytes of up to ``SAMPLED_FILES``, evenly spaced: reading all of ImageNet for it would take
    longer than an epoch. Older versions ignored orientation and 16 bits of grey: where such a file
    is decoded otherwise now, the fingerprint changes. Skipped files are logged.

    Raises:
        DataError: A missing folder, an empty file, a class without images, or splits with different
            classes.
    """
    classes = class_names(root, "train" if training else "val")
    folder = Path(str(root))
    if training and (val_classes := list_class_folders(folder / "val")) != classes:
        odd = sorted(set(classes) ^ set(val_classes))
        raise DataError(f"{folder}: train and val differ in the class {odd[0]}")
    splits = ["train", "val"] if training else ["val"]
    found = [find_image_files(folder / name, classes) for name in splits]
    for split in found:
        _raise_if_unusable(split)
    _warn_about_skipped(found, folder)
    images = [(path, size) for split in found for _, path, size in split.images]
    paths = [path for path, _ in images]
    digest = hashlib.sha256()
    for path, size in images:
        digest.update(os.fsencode(path.relative_to(folder)) + f"\0{size}\n".encode())
    if any_decoding_changed(paths):
        digest.update(b"upright, 16 bits of grey scaled to 8\n")
    return ImageDataset(
        _split(found[0]) if training else Split([], np.zeros(0, np.int64)),
        _split(found[-1]),
        classes,
        *IMAGENET_STATS,
        fingerprint=digest.hexdigest()[:16],
        contents=_contents_digest(paths) if training else "",  # an evaluation compares nothing
    )


def _contents_digest(paths: Sequence[Path]) -> str:
    """16 hex digits over the first bytes of up to ``SAMPLED_FILES`` files, evenly spaced."""
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
        raise DataError(f"{path} {why}{more}: `ablations data check DIR` lists all such files")
    if empty := {*range(len(found.classes))} - {label for label, _, _ in found.images}:
        skipped = describe_skipped(found.skipped, found.folder)
        raise DataError(
            f"{found.folder / found.classes[min(empty)]} has no images"
            + (f"; left out: {skipped}" if skipped else "")
        )


def _warn_about_skipped(found: Sequence[ImageFiles], root: Path) -> None:
    skipped: dict[str, list[Path]] = defaultdict(list)
    for split in found:
        for why, paths in split.skipped.items():
            skipped[why] += paths
    if skipped:
        log.warning("%s", terminal(f"{root}: left out {describe_skipped(skipped, root)}"))
