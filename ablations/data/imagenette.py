"""Imagenette: ten ImageNet classes as folders of photographs, downloaded through torchvision."""

from __future__ import annotations

from pathlib import Path

from ablations.data.dataset import ImageDataset
from ablations.data.download_progress import try_download
from ablations.data.folder import load_folder
from ablations.errors import DataError

FOLDER_NAMES = ("imagenette2-320", "imagenette2-160", "imagenette2")


def load_imagenette(root: str | None, training: bool = True) -> ImageDataset:
    """The folder ``imagenette2*`` in ``root`` (or ``root`` itself), else a download.

    Raises:
        DataError: No files and no network, or a folder that does not have ten classes.
    """
    where = Path(root or "data")
    folder = find_imagenette(root)
    if folder is None:
        try_download("Imagenette", where, "Imagenette", size="320px")
        folder = find_imagenette(root)
    if folder is None:
        for archive in filter(Path.is_file, (where / f"{name}.tgz" for name in FOLDER_NAMES)):
            raise DataError(
                f"{archive} is not unpacked, and is damaged or no archive of Imagenette: put it "
                "there again, or unpack it"
            )
        raise DataError(
            f"no Imagenette in {where}: unpack imagenette2-320.tgz there (--data.root DIR)"
        )
    dataset = load_folder(str(folder), training)
    if len(dataset.classes) != 10:
        raise DataError(f"{folder} has {len(dataset.classes)} classes, Imagenette has 10")
    return dataset


def find_imagenette(root: str | None) -> Path | None:
    """The folder of both splits in ``root``, or ``root`` itself; None where there is none."""
    folders = (Path(root or "data", name) for name in ("", *FOLDER_NAMES))
    return next((folder for folder in folders if (folder / "train").is_dir()), None)
