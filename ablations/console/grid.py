"""Tables on a terminal. Cells are plain text, not markup."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ablations.text.escape import rich_text, shorten, terminal

# Below this width, columns would be only one or two characters wide.
NARROW = 60


class TextTable(Table):
    """A table without rules.

    Square brackets in text are shown, and wide cells are wrapped. On a terminal that is too narrow,
    each row becomes a block with one line per cell.

    Args:
        headers: The columns.
        right: Those of them that are aligned on the right.
        spare: Those that are left out where lines are too short for all.
    """

    def __init__(
        self, *headers: str, right: Collection[str] = (), spare: Collection[str] = ()
    ) -> None:
        super().__init__(box=None, padding=(0, 2, 0, 0))
        self.spare = spare
        for header in headers:
            self.add_column(header, justify="right" if header in right else "left")

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:
        """Add a column; as ``rich.table.Table``."""
        super().add_column(_text(header), *args, **{"overflow": "fold", **options})

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row; as ``rich.table.Table``."""
        super().add_row(*map(_text, cells), **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render columns that have text, or blocks if the columns do not fit."""
        if self.row_count:
            self.columns = [column for column in self.columns if any(map(str, column.cells))]
        natural = Measurement.get(console, options.update(width=1000, max_width=1000), self).maximum
        if options.max_width >= min(NARROW, natural):
            if options.max_width < natural:
                self.columns = [each for each in self.columns if str(each.header) not in self.spare]
            yield from super().__rich_console__(console, options)
            return
        columns = [list(column.cells) for column in self.columns]
        for row in zip(*columns, strict=True):
            for column, cell in zip(self.columns, row, strict=True):
                if str(cell):
                    yield Text.assemble(f"{column.header}: " if str(column.header) else "", cell)
            yield Text()


def _text(cell: Any) -> Any:
    return rich_text(shorten(terminal(cell))) if isinstance(cell, str) else cell
