"""Which files below a folder of classes are its images, and which are skipped and why."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablations.data.decode import supported_suffixes
from ablations.errors import DataError

FOLDER_LAYOUT = "train/<class>/*.jpg and val/<class>/*.jpg"
# Folders that systems and programs create beside the files of users, in lower case.
_SYSTEM_FOLDERS = ["__macosx", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"]
_SYSTEM_FOLDERS += ["$recycle.bin", "system volume information", "lost+found", "__pycache__"]


@dataclass
class ImageFiles:
    """The files below a folder of classes.

    Args:
        folder: ``train`` or ``val`` of a data set.
        classes: The names of its class folders, in order.
        images: The index of the class, the path and the size in bytes of each file, in order.
        broken: Files with the suffix of an image that cannot be used, unreadable folders, and why.
        skipped: Why files or folders are skipped -> their paths.
    """

    folder: Path
    classes: tuple[str, ...]
    images: list[tuple[int, Path, int]] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)
    skipped: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))


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
    names = sorted((name for name in found if not _ignored_reason(name)), key=os.fsencode)
    if not names:
        raise DataError(f"{folder} has no class folders: put the images there as {FOLDER_LAYOUT}")
    return tuple(names)


def _ignored_reason(name: str) -> str | None:
    """Why a file or folder of this name does not belong to a data set; None where it may."""
    if name.startswith("."):
        return "hidden"
    return "of a system or program" if name.lower() in _SYSTEM_FOLDERS else None


def find_image_files(folder: Path, classes: tuple[str, ...] | None = None) -> ImageFiles:
    """All files below a folder of classes, at any depth within a class; none is decoded.

    They are ordered by the bytes of their names, so the order is the same under every locale.

    Args:
        folder: ``train`` or ``val`` of a data set.
        classes: Its class folders, where they are known.

    Raises:
        DataError: There is no such folder.
    """
    found = ImageFiles(folder, classes or list_class_folders(folder))
    for entry in os.scandir(folder):
        if entry.name not in found.classes:
            why = _ignored_reason(entry.name) or "beside the class folders"
            found.skipped[why].append(folder / entry.name)
    for label, name in enumerate(found.classes):
        for path in _walk(folder / name, found):
            _add_file(path, label, found)
    return found


def _walk(folder: Path, found: ImageFiles) -> Iterator[Path]:
    """The files below a folder, in order; links are followed, except to a parent folder."""

    def keep_error(error: OSError) -> None:
        found.broken.append((Path(error.filename), f"cannot be read: {error.strerror}"))

    walked = []
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=keep_error):
        walked.append((parent, sorted(names, key=os.fsencode)))
        for name in list(folders):
            path = os.path.join(parent, name)
            cycle = os.path.islink(path) and _links_to_parent(path, parent)
            if why := "a link to a folder above it" if cycle else _ignored_reason(name):
                found.skipped[why].append(Path(path))
                folders.remove(name)
    walked.sort(key=lambda each: os.fsencode(each[0]))
    return (Path(parent, name) for parent, names in walked for name in names)


def _links_to_parent(link: str, parent: str) -> bool:
    target, here = os.path.realpath(link), os.path.realpath(parent)
    return os.path.commonpath([target, here]) == target


def _add_file(path: Path, label: int, found: ImageFiles) -> None:
    """Add a file to the images, the broken or the skipped files."""
    suffix = os.path.splitext(path.name)[1].lower()
    why = _ignored_reason(path.name)
    if not why and suffix not in supported_suffixes():
        why = suffix or "without suffix"
    if why:
        found.skipped[why].append(path)
        return
    try:
        status = path.stat()
    except OSError as error:
        found.broken.append((path, f"cannot be read: {error.strerror}"))
        return
    if not stat.S_ISREG(status.st_mode):
        found.skipped["no regular file"].append(path)
    elif not status.st_size:
        found.broken.append((path, "is empty"))
    else:
        found.images.append((label, path, status.st_size))


def describe_skipped(skipped: Mapping[str, Sequence[Path]], root: Path) -> str:
    """What is skipped, in one line: ``3 .txt (such as train/a/notes.txt), 1 hidden (...)``.

    Args:
        skipped: Why -> paths.
        root: The folder of the data set; paths are relative to it.
    """
    parts = []
    for why, paths in sorted(skipped.items()):
        example = "" if len(paths) == 1 else "such as "
        parts.append(f"{len(paths):,} {why} ({example}{paths[0].relative_to(root)})")
    return ", ".join(parts)
