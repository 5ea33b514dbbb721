"""Progress of torchvision's downloads: a bar on a terminal; first and last lines in a log."""

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
    """All files that are downloaded in a block.

    Args:
        name: The data set.
        root: The folder it is downloaded to.
    """

    def __init__(self, name: str, root: str | Path) -> None:
        self.name, self.root = name, root
        self.bytes, self.started = 0, 0.0

    def file(self, total: int | None = None, **_: Any) -> _FileProgress:
        """Start a file; replaces ``tqdm``."""
        if not self.started:
            self.started = time.monotonic()
            if not can_redraw(screen.stderr_console()):
                screen.note(f"downloading {self.name} to {self.root}")
        return _FileProgress(self, total or 0)

    def finish(self) -> None:
        """Print the size and duration, unless nothing was downloaded."""
        if self.started:
            took = format_duration(time.monotonic() - self.started)
            screen.note(f"downloaded {decimal(self.bytes)} of {self.name} in {took}")


class _FileProgress:
    """One file, with the interface of ``tqdm`` that torchvision uses."""

    def __init__(self, files: _DownloadedFiles, total: int) -> None:
        self.files, self.total, self.bytes = files, total, 0
        self.started = time.monotonic()
        self.bar = ProgressBar(f"downloading {files.name}", line=lambda _: None)

    def __enter__(self) -> Self:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.__exit__(*error)

    def update(self, count: int) -> None:
        """Add ``count`` downloaded bytes."""
        self.bytes += count
        self.files.bytes += count
        speed = self.bytes / max(time.monotonic() - self.started, 1e-9)
        words = f"downloading {self.files.name}: {decimal(self.bytes)}"
        if self.total:
            left = format_duration((self.total - self.bytes) / max(speed, 1e-9))
            words += f" of {decimal(self.total)}, {decimal(int(speed))}/s, {left} left"
        else:
            words += f", {decimal(int(speed))}/s"
        self.bar.update(self.bytes / self.total if self.total else 0.0, words)


@contextlib.contextmanager
def show_download_progress(name: str, root: str | Path) -> Iterator[None]:
    """Show the progress of torchvision's downloads in the block, instead of its own output.

    Args:
        name: The data set, for messages.
        root: The folder it is downloaded to.
    """
    from torchvision.datasets import utils

    files, original = _DownloadedFiles(name, root), utils.tqdm
    utils.tqdm = files.file
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints "Extracting ..."
            yield
    finally:
        utils.tqdm = original
        files.finish()
