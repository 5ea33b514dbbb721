"""Tables on a terminal, whose cells are text and never markup."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from ablations.escape import rich_text, shortened, terminal


class Grid(Table):
    """A table of rich without rules.

    A ``str`` in it is shown as it is, square brackets and all; what is too wide goes on below.
    """

    def __init__(self) -> None:
        super().__init__(box=None, padding=(0, 2, 0, 0))

    def add_column(self, header: Any = "", *args: Any, **options: Any) -> None:
        """Add a column; as ``rich.table.Table``."""
        super().add_column(_text(header), *args, **{"overflow": "fold", **options})

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row; as ``rich.table.Table``."""
        super().add_row(*map(_text, cells), **options)


def _text(cell: Any) -> Any:
    return rich_text(shortened(terminal(cell))) if isinstance(cell, str) else cell
