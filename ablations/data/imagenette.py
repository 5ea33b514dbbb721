"""Imagenette: ten ImageNet classes as folders of photographs, downloaded through torchvision."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from ablations.config.schema import DataConfig
from ablations.data import download_progress, folder
from ablations.data.dataset import ImageDataset
from ablations.errors import DataError

FOLDER_NAMES = ("imagenette2-320", "imagenette2-160", "imagenette2")


def load_imagenette(data: DataConfig) -> ImageDataset:
    """The folder ``imagenette2*`` in ``data.root`` (or ``data.root`` itself), else a download.

    Raises:
        DataError: No files and no network, or a tree that is not ten classes.
    """
    root = Path(data.root or "data")
    tree = find_imagenette(data.root)
    if tree is None:
        _download(root)
        tree = find_imagenette(data.root)
    if tree is None:
        for archive in filter(Path.is_file, (root / f"{name}.tgz" for name in FOLDER_NAMES)):
            raise DataError(
                f"{archive} is not unpacked, and is damaged or no archive of Imagenette: put it "
                "there again, or unpack it"
            )
        raise DataError(
            f"no Imagenette in {root}: unpack imagenette2-320.tgz there (--data.root DIR)"
        )
    pictures = folder.load_folder(replace(data, root=str(tree)))
    if len(pictures.classes) != 10:
        raise DataError(f"{tree} has {len(pictures.classes)} classes, Imagenette has 10")
    return pictures


def find_imagenette(root: str | None) -> Path | None:
    """The folder of both splits in ``root``, or ``root`` itself; None where there is none."""
    places = (Path(root or "data", name) for name in ("", *FOLDER_NAMES))
    return next((place for place in places if (place / "train").is_dir()), None)


def _download(root: Path) -> None:
    """Through torchvision; without a network, or where the archive is damaged, nothing happens."""
    from torchvision.datasets import Imagenette

    # Networks and archives fail in many ways.
    with (
        contextlib.suppress(Exception),
        download_progress.show_download_progress("Imagenette", root),
    ):
        Imagenette(str(root), size="320px", download=True)
