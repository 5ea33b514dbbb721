"""Markdown tables that fit a screen: section names on their own lines, long cells folded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd
from rich.cells import cell_len

from ablations.text import escape

MIN_WIDTH = 14  # of a folded column, in characters
# In cells: after blanks and commas, before arrows, and not before the mark of a footnote.
CELL_BREAKS = r"(?<=[ ,])(?<!-> )(?![⁰¹²³⁴-⁹])"
BORDERS = 3  # characters of a column: a bar and two blanks; one more bar ends the table


def fold_table(
    frame: pd.DataFrame, text_columns: Sequence[str], section: str | None, width: int
) -> pd.DataFrame:
    """The frame without its section column, folded to ``width`` as far as possible.

    A folded cell continues in the lines below. A cell that cannot be folded keeps its width.

    Args:
        frame: Escaped cells, each section named once.
        text_columns: The first besides the section has the names of the rows.
        section: The column of the sections; each name becomes a line above its rows. None without.
        width: Characters of a line.
    """
    name = next(column for column in text_columns if column != section)
    shown = [column for column in frame.columns if column != section]
    limits = {column: _least(column, frame[column]) for column in shown if column != name}
    rest = width - sum(limits.values()) - BORDERS * len(shown) - 1
    limits[name] = max(MIN_WIDTH, min(rest, _most(name, frame)))
    for column in shown[1:]:  # the width that the names leave
        room = width - sum(limits.values()) - BORDERS * len(shown) - 1
        limits[column] = max(limits[column], min(limits[column] + room, _most(column, frame)))
    lines: list[dict[str, str]] = []
    for row in frame.to_dict("records"):
        if section and row[section] not in ("", row[name]):
            lines += _folded({name: f"**{row[section]}**"}, limits)
        lines += _folded({column: row[column] for column in shown}, limits)
    return pd.DataFrame(lines, columns=shown).fillna("")


def align_table(frame: pd.DataFrame, text_columns: Sequence[str]) -> str:
    """The frame as a GitHub table with aligned columns.

    Args:
        frame: Escaped cells.
        text_columns: Columns to align left; all others are aligned right.
    """
    columns = [(str(name), [str(name), *frame[name]]) for name in frame]
    parts = []
    for name, cells in columns:
        width = max(map(cell_len, cells))
        gaps = [" " * (width - cell_len(cell)) for cell in cells]
        left = name in text_columns
        rule = f":{'-' * (width + 1)}" if left else f"{'-' * (width + 1)}:"
        pairs = zip(cells, gaps, strict=True)
        heading, *rest = [f" {cell}{gap} " if left else f" {gap}{cell} " for cell, gap in pairs]
        parts.append([heading, rule, *rest])
    return "\n".join(f"|{'|'.join(line)}|" for line in zip(*parts, strict=True))


def fold_footnote(note: str, width: int | None) -> str:
    """A footnote as a list item, folded to a width; one with code stays on one line.

    Folded code could begin a line with markup, such as ``<script>``, which ends it.
    """
    line = escape.markdown(note, cell=False)
    if width is None or "`" in line:
        return f"- {line}"
    pieces = _pieces(" ".join(line.split()), width - 2, "(?<= )")
    return "- " + "\n  ".join(map(escape.escape_line_start, pieces))


def table_width(frame: pd.DataFrame) -> int:
    """The width of an unfolded table in characters."""
    widest = (max(map(cell_len, [str(name), *frame[name]])) for name in frame)
    return sum(width + BORDERS for width in widest) + 1


def _least(column: str, cells: pd.Series[str]) -> int:
    """The least width of a column of numbers, whose text in parentheses may be folded."""
    numbers = [cell_len(text.split(" (", 1)[0]) for text in cells]
    folded = any(" (" in text for text in cells)
    return max(cell_len(column), *numbers, MIN_WIDTH * folded)


def _most(column: str, frame: pd.DataFrame) -> int:
    """The width of an unfolded column."""
    return max(cell_len(column), *map(cell_len, frame[column]))


def _folded(row: Mapping[str, str], limits: Mapping[str, int]) -> list[dict[str, str]]:
    """A row as one or more lines."""
    parts = {column: _pieces(text, limits[column]) for column, text in row.items()}
    count = max(map(len, parts.values()))
    return [
        {column: found[line] if line < len(found) else "" for column, found in parts.items()}
        for line in range(count)
    ]


def _pieces(text: str, width: int, breaks: str = CELL_BREAKS) -> list[str]:
    """Text in lines, broken at a pattern, and within words that are longer than a line."""
    if len(text) > 4 and text.startswith("**") and text.endswith("**"):
        return [f"**{piece}**" for piece in _pieces(text[2:-2], max(1, width - 4))]
    if cell_len(text) <= width:
        return [text.rstrip()]
    lines = [""]
    for word in re.split(breaks, text):
        if cell_len(lines[-1] + word.rstrip()) > width and lines[-1]:
            lines.append("")
        if cell_len(word.rstrip()) <= width:
            lines[-1] += word
            continue
        for letter in re.findall(r"\\.|.", word):
            if lines[-1] and cell_len(lines[-1] + letter.rstrip()) > width:
                lines.append("")
            lines[-1] += letter
    return [line.rstrip() for line in lines]
