"""Tables on a terminal show their cells unchanged, and stay readable at any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ablations.console import screen
from ablations.console.grid import TextTable
from ablations.text.escape import shorten, terminal
from tests.factories.hostile import HOSTILE

CELLS = ("8371e69ff805", "[Pool,Pool,Pool,Attention], seed 1", "hybrid_stages", "finished")


def drawn(width: int) -> list[str]:
    grid = TextTable()
    for name in ("run", "name", "sweeps", ""):
        grid.add_column(name)
    grid.add_row(*CELLS)
    return printed(grid, width)


def printed(table: TextTable, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 120])
def test_long_cells_are_wrapped_not_cut(width):
    lines = drawn(width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    if width < 60 or width > 100:
        whole = "".join("".join(lines).split())
        assert all("".join(cell.split()) in whole for cell in CELLS)


def test_a_narrow_terminal_shows_each_row_as_a_block():
    lines = drawn(40)
    assert lines[0].rstrip() == "run: 8371e69ff805"
    assert "finished" in lines
    assert drawn(120)[0].split() == ["run", "name", "sweeps"]


@pytest.mark.parametrize("text", HOSTILE)
def test_cells_and_headings_are_shown_unchanged(text):
    grid = TextTable()
    grid.add_column(text)
    grid.add_row(text)
    out = io.StringIO()
    Console(file=out, width=10_000).print(grid)
    shown = [line.strip() for line in out.getvalue().splitlines()]
    wanted = [shorten(terminal(text)).strip()] * 2
    assert shown == wanted if text else not any(shown)


def test_lines_below_a_table_stay_lines(capsys):
    screen.print_table(TextTable(), "\n- one\x1b[2J\n- two")
    assert capsys.readouterr().out.endswith("\n- one\n- two\n")


@pytest.mark.parametrize(("width", "shown"), [(75, False), (80, True)])
def test_a_spare_column_is_left_out_where_lines_are_too_short(width, shown):
    table = TextTable("run", "name", "images/s", spare=["images/s"])
    table.add_row("8371e69ff805", "[Pool,Pool,Attention,Attention], batch size 32, seed 1", "3207")
    assert ("images/s" in printed(table, width)[0]) == shown


def test_a_column_without_text_is_left_out():
    table = TextTable()
    for name in ("run", "left", "note"):
        table.add_column(name)
    table.add_row("a", "", "")
    table.add_row("b", "", "failed")
    lines = printed(table, 80)
    assert [line.split() for line in lines] == [["run", "note"], ["a"], ["b", "failed"]]
