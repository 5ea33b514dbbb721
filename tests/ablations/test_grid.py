"""Tables on a terminal stay readable at any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ablations.grid import Grid

CELLS = ("8371e69ff805", "[Pool,Pool,Pool,Attention], seed 1", "hybrid_stages", "finished")


def drawn(width: int) -> list[str]:
    grid = Grid()
    for name in ("run", "name", "sweeps", ""):
        grid.add_column(name)
    grid.add_row(*CELLS)
    out = io.StringIO()
    Console(file=out, width=width).print(grid)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 120])
def test_nothing_is_lost_and_nothing_is_a_row_of_dots(width):
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    if width < 60 or width > 100:
        whole = "".join("".join(lines).split())
        assert all("".join(cell.split()) in whole for cell in CELLS)


def test_a_narrow_terminal_has_a_block_of_lines_a_row():
    lines = drawn(40)
    assert lines[0].rstrip() == "run: 8371e69ff805"
    assert "finished" in lines
    assert drawn(120)[0].split() == ["run", "name", "sweeps"]
