"""The files that the README shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ablations.data.mini import load_mini

README = Path("README.md").read_text()


def write_files(folder: Path) -> None:
    """The files that the README shows and names, the sweep files, and images for its data set."""
    (folder / "sweeps").symlink_to(Path("sweeps").resolve())
    mini = load_mini(None, True)
    np.savez(
        folder / "my_images.npz",
        train_images=mini.train.images[:500],
        train_labels=mini.train.labels[:500],
        val_images=mini.val.images[:100],
        val_labels=mini.val.labels[:100],
    )
    for name, text in re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", README, re.DOTALL):
        (folder / name).write_text(text)
