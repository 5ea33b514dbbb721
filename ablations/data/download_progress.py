"""Downloads by torchvision: a bar on a terminal, a line at the start and the end in a log."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from rich.filesize import decimal

from ablations.console import screen
from ablations.console.display import ProgressBar, can_redraw
from ablations.text.phrases import format_duration


class _DownloadedFiles:
    """What is downloaded in a block, told by a file's bytes at a time.

    Args:
        name: The data set.
        root: Where it goes.
    """

    def __init__(self, name: str, root: str | Path) -> None:
        self.name, self.root = name, root
        self.bytes, self.begun = 0, 0.0

    def file(self, total: int | None = None, **_: Any) -> _FileProgress:
        """A file begins; in place of ``tqdm``."""
        if not self.begun:
            self.begun = time.monotonic()
            if not can_redraw(screen.stderr_console()):
                screen.note(f"downloading {self.name} to {self.root}")
        return _FileProgress(self, total or 0)

    def ended(self) -> None:
        """Say how much it was, where it was something."""
        if self.begun:
            took = format_duration(time.monotonic() - self.begun)
            screen.note(f"downloaded {decimal(self.bytes)} of {self.name} in {took}")


class _FileProgress:
    """A file that is being downloaded, as torchvision uses a ``tqdm``."""

    def __init__(self, files: _DownloadedFiles, total: int) -> None:
        self.files, self.total, self.bytes = files, total, 0
        self.begun = time.monotonic()
        self.bar = ProgressBar(f"downloading {files.name}", line=lambda _: None)

    def __enter__(self) -> Self:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.__exit__(*error)

    def update(self, count: int) -> None:
        """So many bytes more have come."""
        self.bytes += count
        self.files.bytes += count
        speed = self.bytes / max(time.monotonic() - self.begun, 1e-9)
        words = f"downloading {self.files.name}: {decimal(self.bytes)}"
        if self.total:
            left = format_duration((self.total - self.bytes) / max(speed, 1e-9))
            words += f" of {decimal(self.total)}, {decimal(int(speed))}/s, {left} left"
        else:
            words += f", {decimal(int(speed))}/s"
        self.bar.update(self.bytes / self.total if self.total else 0.0, words)


@contextlib.contextmanager
def show_download_progress(name: str, root: str | Path) -> Iterator[None]:
    """Show what torchvision downloads in the block, in place of what it prints itself.

    Args:
        name: The data set, as a message names it.
        root: The folder that it goes to.
    """
    from torchvision.datasets import utils

    files, theirs = _DownloadedFiles(name, root), utils.tqdm
    utils.tqdm = files.file
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # "Extracting ...", among results of ours
            yield
    finally:
        utils.tqdm = theirs
        files.ended()
