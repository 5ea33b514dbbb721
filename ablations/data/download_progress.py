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


class _Download:
    """All files that are downloaded in a block, one after another.

    Called, it starts a file; it has the interface of ``tqdm`` that torchvision uses.

    Args:
        name: The data set.
        root: The folder it is downloaded to.
    """

    def __init__(self, name: str, root: str | Path) -> None:
        self.name, self.root = name, root
        self.total, self.all_bytes, self.started = 0, 0, 0.0

    @contextlib.contextmanager
    def __call__(self, total: int | None = None, **_: Any) -> Iterator[Self]:
        """Show the progress of a file of ``total`` bytes."""
        self.total, self.bytes, self.file_started = total or 0, 0, time.monotonic()
        if not self.started:
            self.started = self.file_started
            if not can_redraw(screen.stderr_console()):
                screen.note(f"downloading {self.name} to {self.root}")
        with ProgressBar(f"downloading {self.name}", line=lambda _: None) as self.bar:
            yield self

    def update(self, count: int) -> None:
        """Add ``count`` downloaded bytes."""
        self.bytes += count
        self.all_bytes += count
        speed = self.bytes / max(time.monotonic() - self.file_started, 1e-9)
        of_total, left = "", ""
        if self.total:
            of_total = f" of {decimal(self.total)}"
            left = f", {format_duration((self.total - self.bytes) / max(speed, 1e-9))} left"
        words = f"{decimal(self.bytes)}{of_total}, {decimal(int(speed))}/s{left}"
        share = self.bytes / self.total if self.total else 0.0
        self.bar.update(share, f"downloading {self.name}: {words}")

    def finish(self) -> None:
        """Print the size and duration, unless nothing was downloaded."""
        if self.started:
            took = format_duration(time.monotonic() - self.started)
            screen.note(f"downloaded {decimal(self.all_bytes)} of {self.name} in {took}")


@contextlib.contextmanager
def show_download_progress(name: str, root: str | Path) -> Iterator[None]:
    """Show the progress of torchvision's downloads in the block, instead of its own output.

    Args:
        name: The data set, for messages.
        root: The folder it is downloaded to.
    """
    from torchvision.datasets import utils

    download, original = _Download(name, root), utils.tqdm
    utils.tqdm = download
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints "Extracting ..."
            yield
    finally:
        utils.tqdm = original
        download.finish()


def try_download(name: str, root: str | Path, dataset: str, **options: Any) -> None:
    """Download a data set of torchvision to ``root``; any failure leaves no files there.

    Args:
        name: Its name in messages.
        root: The folder.
        dataset: Its class in ``torchvision.datasets``.
        options: Arguments of the class.
    """
    from torchvision import datasets

    # Networks and archives fail in many ways.
    with contextlib.suppress(Exception), show_download_progress(name, root):
        getattr(datasets, dataset)(str(root), download=True, **options)
