"""Inspect a folder of images file by file, before training on it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ablations.data import image_files, imagenette
from ablations.data.decode import (
    ORIENTATION_TRANSPOSES,
    decode_error_reason,
    ignore_warnings,
    is_sixteen_bit,
    orientation,
    try_decode,
)
from ablations.errors import DataError
from ablations.machine.cores import usable_cores
from ablations.text.escape import terminal
from ablations.text.phrases import pluralize

SPLITS = ("train", "val")
_BLOCK_FILES = 256  # files that are queued for the threads at a time


class ImageInfo(NamedTuple):
    """One image file.

    Args:
        format: Pillow's name of its format.
        mode: Pillow's name of its mode.
        size: (width, height) in pixels, before it is turned.
        turned: Whether its EXIF data turns it.
        black: Whether it has 16 bits and only values below 256, which are black in 8 bits.
        digest: SHA-256 of the file.
    """

    format: str
    mode: str
    size: tuple[int, int]
    turned: bool
    black: bool
    digest: bytes


@dataclass
class SplitSurvey:
    """What is in ``train`` or ``val``.

    Args:
        classes: Class -> number of images that can be decoded.
        sizes: (width, height) in pixels, before images are turned -> number of images.
        formats: Pillow's name of a format -> number of images.
        modes: Pillow's name of a mode -> number of images.
        turned: Number of images that their EXIF data turns.
        black: Number of images with 16 bits and only values below 256, which are black in 8 bits.
        file_bytes: Size of all image files.
        broken: Files that cannot be used, and why.
        skipped: Why files or folders are skipped -> their paths.
    """

    classes: dict[str, int]
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    turned: int = 0
    black: int = 0
    file_bytes: int = 0
    broken: list[tuple[Path, str]] = field(default_factory=list)
    skipped: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """The number of images that can be decoded."""
        return sum(self.classes.values())

    def size_range(self) -> list[tuple[int, int]]:
        """The sizes of the images with the fewest, the median and the most pixels."""
        order = sorted(self.sizes.elements(), key=lambda size: (size[0] * size[1], size))
        return [order[0], order[(len(order) - 1) // 2], order[-1]] if order else []


@dataclass
class Survey:
    """What is in a data set.

    Args:
        root: Its folder.
        splits: The splits that exist, by name.
        problems: Reasons why it cannot be trained on, besides broken files.
        duplicates: Pairs of files with the same bytes, one of ``train``, one of ``val``.
    """

    root: Path
    splits: dict[str, SplitSurvey] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    duplicates: list[tuple[Path, Path]] = field(default_factory=list)

    @property
    def broken(self) -> list[tuple[Path, str]]:
        """Broken files of all splits, and why."""
        return [each for split in self.splits.values() for each in split.broken]

    @property
    def usable(self) -> bool:
        """Whether it can be trained on."""
        return not self.problems and not self.broken

    def to_json(self) -> dict[str, Any]:
        """JSON values; files by their paths relative to the data set."""

        def within(path: Path) -> str:
            return str(path.relative_to(self.root))

        return {
            "root": str(self.root),
            "sound": self.usable,
            "problems": self.problems,
            "splits": {
                name: {
                    "images": split.images,
                    "classes": split.classes,
                    "sizes": dict(
                        zip(("smallest", "median", "largest"), split.size_range(), strict=False)
                    ),
                    "formats": dict(split.formats.most_common()),
                    "modes": dict(split.modes.most_common()),
                    "turned": split.turned,
                    "black": split.black,
                    "bytes": split.file_bytes,
                    "broken": [{"file": within(path), "why": why} for path, why in split.broken],
                    "left_out": {
                        why: [*map(within, paths)] for why, paths in split.skipped.items()
                    },
                }
                for name, split in self.splits.items()
            },
            "twice": [[within(one), within(other)] for one, other in self.duplicates],
        }


def survey_folder(root: Path, progress: Callable[[int, int, int], None]) -> Survey:
    """Decode every image of a folder as training does, and count what is there.

    Args:
        root: A folder with ``train`` and ``val``, or with ``imagenette2*``.
        progress: Called with the numbers of files that are done, of all files, of broken files.

    Raises:
        DataError: It is no such folder.
    """
    there = [name for name in SPLITS if (root / name).is_dir()]
    if not there and (tree := imagenette.find_imagenette(str(root))):
        return survey_folder(tree, progress)
    if not there:
        raise DataError(
            f"no folder {root / 'train'} or {root / 'val'}: put the images there as "
            f"{image_files.FOLDER_LAYOUT}"
        )
    found = {name: image_files.find_image_files(root / name) for name in there}
    total = sum(len(each.images) + len(each.broken) for each in found.values())
    done, broken, survey = 0, 0, Survey(root)
    digests: dict[bytes, Path] = {}
    for name, each in found.items():
        split = SplitSurvey(dict.fromkeys(each.classes, 0), skipped=dict(each.skipped))
        split.broken += each.broken
        survey.splits[name] = split
        done, broken = done + len(each.broken), broken + len(each.broken)
        for (label, path, size), info in zip(each.images, _inspect_all(each.images), strict=True):
            if isinstance(info, str):
                split.broken.append((path, info))
                broken += 1
            else:
                split.classes[each.classes[label]] += 1
                split.sizes[info.size] += 1
                split.formats[info.format] += 1
                split.modes[info.mode] += 1
                split.turned += info.turned
                split.black += info.black
                split.file_bytes += size
                if name == "train":
                    digests.setdefault(info.digest, path)
                elif info.digest in digests:
                    survey.duplicates.append((digests[info.digest], path))
            done += 1
            progress(done, total, broken)
    survey.problems += _problems(survey)
    return survey


def _inspect_all(images: list[tuple[int, Path, int]]) -> Iterator[ImageInfo | str]:
    """Inspect files in as many threads as there are cores; the results are in order."""
    pool = ThreadPoolExecutor(usable_cores())
    try:
        with ignore_warnings():  # threads save and restore the filters: ignore them here too
            for start in range(0, len(images), _BLOCK_FILES):
                yield from pool.map(
                    inspect_image, [path for _, path, _ in images[start : start + _BLOCK_FILES]]
                )
    finally:
        pool.shutdown(cancel_futures=True)


def inspect_image(path: Path) -> ImageInfo | str:
    """The facts of an image file, or why it is broken."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"cannot be read: {decode_error_reason(error)}"
    rgb = try_decode(path, content)
    if isinstance(rgb, str):
        return terminal(rgb)
    with Image.open(io.BytesIO(content)) as image:
        turned = image.format != "TIFF" and orientation(image) in ORIENTATION_TRANSPOSES
        wide = is_sixteen_bit(image)
        mode = f"{image.mode} (16 bits)" if wide else image.mode
        black = wide and rgb.getbbox() is None
        digest = hashlib.sha256(content).digest()
        return ImageInfo(image.format or "?", mode, image.size, turned, black, digest)


def _problems(survey: Survey) -> Iterator[str]:
    for name in SPLITS:
        if name not in survey.splits:
            use = "evaluate" if name == "val" else "train"
            yield f"there is no {name} folder, so there is nothing to {use} on"
            continue
        split = survey.splits[name]
        others = [other for key, other in survey.splits.items() if key != name]
        if odd := [
            each for each in split.classes if any(each not in other.classes for other in others)
        ]:
            yield f"{_list_classes(odd)} only in {name}"
        if empty := [each for each, count in split.classes.items() if not count]:
            yield f"{_list_classes(empty)} without images in {name}"


def _list_classes(names: list[str]) -> str:
    shown = ", ".join(terminal(name) for name in names[:10])
    return f"{pluralize(len(names), 'class', 'classes')} ({shown}{', ...' if names[10:] else ''})"
