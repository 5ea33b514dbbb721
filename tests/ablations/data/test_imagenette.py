"""Imagenette: its folder, and the errors of a damaged or incomplete download."""

from __future__ import annotations

import shutil

import pytest

from ablations.config.schema import DataConfig
from ablations.data import imagenette
from ablations.errors import DataError


def test_a_damaged_archive_is_reported_by_name(tmp_path, no_network):
    (tmp_path / "imagenette2-320.tgz").write_bytes(b"no archive")
    config = DataConfig(name="imagenette", root=str(tmp_path), pipeline="timm")
    with pytest.raises(DataError, match="imagenette2-320.tgz is not unpacked, and is damaged"):
        imagenette.load_imagenette(config.root)


def test_the_folder_is_found_and_must_have_ten_classes(image_folder, tmp_path):
    config = DataConfig(name="imagenette", root=str(tmp_path), pipeline="timm")
    shutil.copytree(image_folder, tmp_path / "imagenette2-320")
    with pytest.raises(DataError, match="3 classes, Imagenette has 10"):
        imagenette.load_imagenette(config.root)
    for split in ("train", "val"):
        for number in range(7):
            source = tmp_path / "imagenette2-320" / split
            shutil.copytree(source / "Trouser", source / f"n{number}")
    assert len(imagenette.load_imagenette(config.root).classes) == 10
