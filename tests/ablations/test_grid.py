"""Tables on a terminal show their cells as they are, at any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ablations.escape import shortened, terminal
from ablations.grid import Grid
from tests.ablations.hostile import HOSTILE


def printed(grid: Grid, width: int) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor"
    )
    console.print(grid)
    return console.file.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_cells_and_headings_are_shown_as_they_are(text):
    grid = Grid()
    grid.add_column(text)
    grid.add_row(text)
    shown = printed(grid, 10_000).replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert [line.strip() for line in shown] == [shortened(terminal(text)).strip()] * 2


def test_a_narrow_screen_loses_nothing():
    grid = Grid()
    for name in ("run", "cell", "state"):
        grid.add_column(name)
    grid.add_row("0123456789ab", "token_mixers=[pool,pool,attention,attention]", "finished")
    shown = "".join(printed(grid, 20).split())
    assert all(letter in shown for letter in "0123456789ab")
    assert "…" not in shown
