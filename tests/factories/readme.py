"""The files that the README shows."""

from __future__ import annotations

import re
from pathlib import Path

README = Path("README.md").read_text()


def write_files(folder: Path) -> None:
    """The README's own files, each a block whose first line is its name, and the sweep files."""
    (folder / "sweeps").symlink_to(Path("sweeps").resolve())
    for name, text in re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", README, re.DOTALL):
        (folder / name).write_text(text)
