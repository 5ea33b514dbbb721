"""Which files below a folder of classes are its images, and what is left out and why."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ablations.data.decode import supported_suffixes
from ablations.errors import DataError

FOLDER_LAYOUT = "train/<class>/*.jpg and val/<class>/*.jpg"
# Folders that systems and programs put beside files of others, in lower case.
_SYSTEM_FOLDERS = ["__macosx", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"]
_SYSTEM_FOLDERS += ["$recycle.bin", "system volume information", "lost+found", "__pycache__"]


@dataclass
class ImageFiles:
    """The files below a folder of classes.

    Args:
        folder: It: ``train`` or ``val`` of a data set.
        classes: The class folders in it, in order.
        images: Of each class (by its index), the files and their sizes in bytes, in order.
        broken: Files that are to be images and are not, folders that cannot be read, and why.
        left_out: Why files or folders are not taken -> which.
    """

    folder: Path
    classes: tuple[str, ...]
    images: list[tuple[int, Path, int]] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def empty(self) -> list[str]:
        """The classes without a usable image."""
        filled = {label for label, _, _ in self.images}
        return [name for label, name in enumerate(self.classes) if label not in filled]


def list_class_folders(folder: Path) -> tuple[str, ...]:
    """The names of the class folders in a folder, in order; not those of systems and programs.

    Raises:
        DataError: There is no such folder, or it has none.
    """
    try:
        found = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"no folder {folder}: put the images there as {FOLDER_LAYOUT}") from error
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    names = sorted((name for name in found if not ignored_reason(name)), key=os.fsencode)
    if not names:
        raise DataError(f"{folder} has no class folders: put the images there as {FOLDER_LAYOUT}")
    return tuple(names)


def ignored_reason(name: str) -> str | None:
    """Why a file or folder of this name is none of the data set's; None where it may be."""
    if name.startswith("."):
        return "hidden"
    return "of a system or program" if name.lower() in _SYSTEM_FOLDERS else None


def find_image_files(folder: Path, classes: tuple[str, ...] | None = None) -> ImageFiles:
    """All files below a folder of classes, also in folders within a class. None is decoded.

    Their order is that of the bytes of their names: the same under every locale.

    Args:
        folder: ``train`` or ``val`` of a data set.
        classes: Its class folders, where they are known.

    Raises:
        DataError: There is no such folder.
    """
    found = ImageFiles(folder, classes or list_class_folders(folder))
    for entry in os.scandir(folder):
        if entry.name not in found.classes:
            why = ignored_reason(entry.name) or "beside the class folders"
            found.left_out[why].append(folder / entry.name)
    for label, name in enumerate(found.classes):
        for root, names in _walk(folder / name, found):
            for file in names:
                _add_file(root / file, label, found)
    return found


def _walk(folder: Path, found: ImageFiles) -> list[tuple[Path, list[str]]]:
    """The folders below one and their files, in order; links are followed, but not in circles."""

    def keep(error: OSError) -> None:
        found.broken.append((Path(error.filename), f"cannot be read: {error.strerror}"))

    there = []
    for root, folders, names in os.walk(folder, followlinks=True, onerror=keep):
        there.append((root, sorted(names, key=os.fsencode)))
        for name in list(folders):
            path = os.path.join(root, name)
            circle = os.path.islink(path) and _links_to_parent(path, root)
            if why := "a link to a folder above it" if circle else ignored_reason(name):
                found.left_out[why].append(Path(path))
                folders.remove(name)
    there.sort(key=lambda each: os.fsencode(each[0]))
    return [(Path(root), names) for root, names in there]


def _links_to_parent(link: str, root: str) -> bool:
    target, here = os.path.realpath(link), os.path.realpath(root)
    return os.path.commonpath([target, here]) == target


def _add_file(path: Path, label: int, found: ImageFiles) -> None:
    """Put a file where it belongs."""
    suffix = os.path.splitext(path.name)[1].lower()
    if why := ignored_reason(path.name) or (
        None if suffix in supported_suffixes() else suffix or "without suffix"
    ):
        found.left_out[why].append(path)
        return
    try:
        status = path.stat()
    except OSError as error:
        found.broken.append((path, f"cannot be read: {error.strerror}"))
        return
    if not stat.S_ISREG(status.st_mode):
        found.left_out["no regular file"].append(path)
    elif not status.st_size:
        found.broken.append((path, "is empty"))
    else:
        found.images.append((label, path, status.st_size))


def describe_skipped(left_out: dict[str, list[Path]], root: Path) -> str:
    """What is left out in one line: ``3 .txt (such as train/a/notes.txt), 1 hidden (...)``.

    Args:
        left_out: Why -> which.
        root: The data set's folder, which is not repeated.
    """
    parts = []
    for why, paths in sorted(left_out.items()):
        such = "" if len(paths) == 1 else "such as "
        parts.append(f"{len(paths):,} {why} ({such}{paths[0].relative_to(root)})")
    return ", ".join(parts)
