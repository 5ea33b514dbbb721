"""The paper's files, to be edited into nonsense."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from ablations.paper import published

if TYPE_CHECKING:
    pass


class PaperCopy:
    """The paper's files in a folder of their own, to be edited into nonsense."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lines(self, name: str) -> list[list[str]]:
        """A file's cells, header first."""
        with (self.folder / name).open(newline="") as file:
            return list(csv.reader(file))

    def edit(self, name: str, line: int, column: str | int, value: str) -> None:
        """Put a value into a cell; lines count from 1, which is the header."""
        rows = self.lines(name)
        place = column if isinstance(column, int) else rows[0].index(column)
        rows[line - 1][place] = value
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.write(name, text.getvalue())

    def write(self, name: str, text: str | bytes) -> None:
        """Put a text in a file's place."""
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        published.forget()
