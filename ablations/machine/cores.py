"""The cores that this process may use, by its affinity and the quota of its container."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC = Path("/proc/self")


def usable_cores() -> int:
    """The number of cores that this process may use at once, at least one.

    A container with ``--cpus 1.5`` has all cores of its host in its affinity, and a quota of 1.5:
    two busy threads would each pause for a quarter of the time. So the quota is rounded down.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(int(share) for share in _quotas())]))


def count_oom_kills() -> int:
    """The number of processes that the kernel's OOM killer has ended in this control group.

    It reads the innermost group that counts them; 0 if none does.
    """
    for folder in control_groups("memory"):
        for name in ("memory.events", "memory.oom_control"):  # of version 2 and of version 1
            words = _words(folder / name)
            if "oom_kill" in words[:-1] and (count := words[words.index("oom_kill") + 1]).isdigit():
                return int(count)
    return 0


def _quotas() -> Iterator[float]:
    """The quotas, in cores, of the control group of this process and of its parents."""
    for folder in control_groups("cpu"):
        limit = _words(folder / "cpu.max")  # version 2: "150000 100000" or "max 100000"
        if not limit:  # version 1: -1 for no limit
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            limit = [word for name in names for word in _words(folder / name)]
        if len(limit) == 2 and all(word.isdigit() and int(word) > 0 for word in limit):
            yield int(limit[0]) / int(limit[1])


def control_groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups of this process, the innermost first.

    Args:
        controller: cpu or memory. Version 1 has a tree for each, version 2 one for all.
    """
    own: dict[str, str] = {}  # controller ("" for version 2) -> the group's path
    for line in _lines(PROC / "cgroup"):
        _, names, path = [*line.split(":", 2), "", ""][:3]
        own |= dict.fromkeys(names.split(","), path)
    for line in _lines(PROC / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, *_), options = before.split(), after.split() or [""], after.split()[-1:]
        if len(fields) < 5 or kind not in ("cgroup", "cgroup2"):
            continue
        if kind == "cgroup" and controller not in ",".join(options).split(","):
            continue
        group = own.get("" if kind == "cgroup2" else controller)
        if group is not None:
            yield from _upward(Path(_unescaped(fields[4])), _unescaped(fields[3]), group)


def _upward(mount: Path, root: str, path: str) -> Iterator[Path]:
    """The folders from the group at ``path`` up to the mount of ``root``."""
    inside = PurePosixPath(path)
    # A container may see its group by the host's path, but have only the end of it mounted.
    below = inside.relative_to(root) if inside.is_relative_to(root) else PurePosixPath()
    folder = mount / below
    if ".." in below.parts or not folder.is_dir():
        folder = mount
    yield folder
    while folder != mount:
        folder = folder.parent
        yield folder


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _unescaped(text: str) -> str:
    r"""Decode ``\040``, a space in ``mountinfo``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
