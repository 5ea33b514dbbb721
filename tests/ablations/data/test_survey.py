"""`ablations data check` reports every problem of a folder, those that training refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablations.cli.data import _show_progress
from ablations.cli.main import main
from ablations.config.schema import DataConfig
from ablations.console.display import ProgressBar
from ablations.data import folder
from ablations.data.batches import TransformedImages
from ablations.data.survey import survey_folder
from ablations.errors import DataError


@pytest.fixture
def root(image_folder, tmp_path) -> Path:
    return Path(shutil.copytree(image_folder, tmp_path / "set"))


@pytest.fixture
def broken_folder(root) -> Path:
    """A folder with every kind of problem."""
    trouser = root / "train" / "Trouser"
    some = sorted(trouser.iterdir())[0]
    whole = some.read_bytes()
    (trouser / "empty.jpg").write_bytes(b"")
    (trouser / "text.jpg").write_text("no image")
    (trouser / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (trouser / "lost.jpg").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(trouser) + b"/caf\xe9\n.jpg")).write_bytes(whole[:300])
    Image.fromarray(np.zeros((9, 8), np.float32)).save(trouser / "float.tif")
    Image.new("1", (20_000, 20_000)).save(trouser / "huge.png")
    # Beside the broken files: usable ones, and files that are skipped.
    Image.fromarray(np.zeros((9, 8), np.uint16)).save(trouser / "wide.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (50, 60)).save(trouser / "turned.jpg", exif=exif)
    (trouser / "notes.txt").write_text("x")
    (trouser / "._1.jpg").write_bytes(b"x")
    shutil.copy(some, root / "val" / "Pullover" / "same.jpg")
    return root


def test_the_images_of_a_usable_folder_are_counted(root, capsys):
    assert main(["data", "check", str(root)]) == 0
    printed = capsys.readouterr()
    assert f"{root}: 72 images of 3 classes, none broken\n" in printed.out
    for words in (
        ["images", "48", "24"],
        ["Trouser", "16", "8"],
        ["modes", "RGB", "48", "RGB", "24"],
    ):
        assert words in [line.split() for line in printed.out.splitlines()]
    assert printed.err == ""


def test_every_broken_file_is_listed_with_its_reason(broken_folder, capsys):
    assert main(["data", "check", str(broken_folder)]) == 1
    output = capsys.readouterr().out.splitlines()
    within = f"broken: {broken_folder}/train/Trouser"
    assert sorted(line for line in output if line.startswith("broken: ")) == [
        rf"{within}/caf\udce9\n.jpg: cannot be decoded: Truncated File Read",
        f"{within}/cut.jpg: cannot be decoded: Truncated File Read",
        f"{within}/empty.jpg: is empty",
        f"{within}/float.tif: has Pillow's mode F (TIFF), whose values have no agreed scale: save "
        "it with 8 or 16 bits a channel, as PNG for example",
        f"{within}/huge.png: cannot be decoded: Image size (400000000 pixels) exceeds limit of "
        "178956970 pixels, could be decompression bomb DOS attack.",
        f"{within}/lost.jpg: cannot be read: No such file or directory",
        f"{within}/text.jpg: cannot be decoded: it is no image that Pillow can read",
    ]
    assert output[-1] == f"{broken_folder}: 75 images of 3 classes, 7 broken"
    assert any(
        line.startswith("left out of train: 1 .txt (train/Trouser/notes.txt), 1") for line in output
    )
    assert any(line.startswith("1 image of train with 16 bits will be black") for line in output)
    assert any(line.startswith("1 image of val also in train, byte by byte") for line in output)


def test_json_output_lists_every_file(broken_folder, capsys):
    assert main(["data", "check", str(broken_folder), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    train = found["splits"]["train"]
    assert found["sound"] is False
    assert train["images"] == 50
    assert train["modes"] == {"RGB": 49, "I;16 (16 bits)": 1}
    assert train["formats"] == {"JPEG": 49, "PNG": 1}
    assert train["turned"] == train["black"] == 1
    assert train["sizes"] == {"smallest": [8, 9], "median": [40, 40], "largest": [50, 60]}
    assert train["left_out"] == {
        ".txt": ["train/Trouser/notes.txt"],
        "hidden": ["train/Trouser/._1.jpg"],
    }
    assert len(train["broken"]) == 7
    assert all(os.path.lexists(broken_folder / each["file"]) for each in train["broken"])
    assert [each[1] for each in found["twice"]] == ["val/Pullover/same.jpg"]


def test_training_fails_on_exactly_the_broken_files(broken_folder):
    broken = {path for path, _ in survey_folder(broken_folder, lambda *_: None).broken}
    config = DataConfig(name="folder", root=str(broken_folder), pipeline="timm")
    with pytest.raises(DataError, match="is empty, and 1 more: `ablations data check"):
        folder.load_folder(config.root)
    for name in ("empty.jpg", "lost.jpg"):
        (broken_folder / "train" / "Trouser" / name).unlink()
    dataset = folder.load_folder(config.root)
    images = TransformedImages(dataset.train, dataset, config, seed=0, training=True)
    for index, path in enumerate(dataset.train.images):
        if path in broken:
            with pytest.raises(DataError):
                images.image(index)
        else:
            assert images.image(index).mode == "RGB"


def test_splits_with_different_classes_are_problems(root, capsys):
    (root / "train" / "more").mkdir()
    for path in (root / "val" / "Trouser").iterdir():
        path.unlink()
    assert main(["data", "check", str(root)]) == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem")]
    assert problems == [
        "problem: 1 class (more) only in train",
        "problem: 1 class (more) without images in train",
        "problem: 1 class (Trouser) without images in val",
    ]
    shutil.rmtree(root / "train")
    assert main(["data", "check", str(root)]) == 1
    assert "problem: there is no train folder" in capsys.readouterr().out


def test_an_invalid_folder_gives_exit_code_2(root, capsys):
    for name, message in (
        ("none", "no folder .*none/train or .*none/val: put the images there as train/<class>"),
        ("train/Trouser", "no folder .*Trouser/train"),
        ("", "an empty name is no folder"),
    ):
        assert main(["data", "check", str(root / name) if name else ""]) == 2
        line = capsys.readouterr().err
        assert line.startswith("ablations: ")
        assert line.count("\n") == 1
        assert re.search(message, line)
    (root / "val" / "a.jpg").touch()
    for path in (root / "val").iterdir():
        shutil.rmtree(path, ignore_errors=True)
    assert main(["data", "check", str(root)]) == 2
    assert "has no class folders" in capsys.readouterr().err
    assert main(["data", "check", str(root), "--seed", "1"]) == 2
    assert main(["data"]) == 2


def test_the_parent_folder_of_imagenette_works(root, capsys):
    around = root.parent / "around"
    around.mkdir()
    root.rename(around / "imagenette2-160")
    assert main(["data", "check", str(around)]) == 0
    assert "imagenette2-160: 72 images" in capsys.readouterr().out


def test_progress_counts_every_file(root):
    bar = ProgressBar()
    _show_progress(bar, 5, 10, 2)
    assert bar.words == "checked 5 of 10 files (50%), 2 broken"
    seen = []
    survey_folder(root, lambda *now: seen.append(now))
    assert seen == [(done, 72, 0) for done in range(1, 73)]
