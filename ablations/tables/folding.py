"""A table within the columns of a screen: sections as lines of their own, long cells folded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd
from rich.cells import cell_len

from ablations.text.escape import escape_line_start

LEAST = 14  # columns of a screen that a folded column keeps
BORDERS = 3  # of a column: a line and two blanks; one more line ends the table


def fold_table(frame: pd.DataFrame, words: Sequence[str], section: str, width: int) -> pd.DataFrame:
    """The frame without its section column, no wider than ``width`` where its words can be folded.

    A folded cell goes on in the lines below it. What cannot be folded is as wide as it is.

    Args:
        frame: Cells as Markdown has them, a section named once.
        words: Columns of words; the first besides the section is the rows' name.
        section: The column of the sections; each is named in a line above its rows.
        width: Columns of the screen.
    """
    name = next(column for column in words if column != section)
    shown = [column for column in frame.columns if column != section]
    limits = {column: _least(column, frame[column]) for column in shown if column != name}
    rest = width - sum(limits.values()) - BORDERS * len(shown) - 1
    limits[name] = max(LEAST, min(rest, _most(name, frame)))
    for column in shown[1:]:  # what the names leave
        room = width - sum(limits.values()) - BORDERS * len(shown) - 1
        limits[column] = max(limits[column], min(limits[column] + room, _most(column, frame)))
    lines: list[dict[str, str]] = []
    for row in frame.to_dict("records"):
        if row[section] not in ("", row[name]):
            lines += _folded({name: f"**{row[section]}**"}, limits)
        lines += _folded({column: row[column] for column in shown}, limits)
    return pd.DataFrame(lines, columns=shown).fillna("")


def align_table(frame: pd.DataFrame, words: Sequence[str]) -> str:
    """The frame as a GitHub table, no wider than its cells.

    Args:
        frame: Cells as Markdown has them.
        words: Columns that stand to the left; all others stand to the right.
    """
    columns = [(str(name), [str(name), *frame[name]]) for name in frame]
    parts = []
    for name, cells in columns:
        width = max(map(cell_len, cells))
        gaps = [" " * (width - cell_len(cell)) for cell in cells]
        left = name in words
        rule = f":{'-' * (width + 1)}" if left else f"{'-' * (width + 1)}:"
        pairs = zip(cells, gaps, strict=True)
        heading, *rest = [f" {cell}{gap} " if left else f" {gap}{cell} " for cell, gap in pairs]
        parts.append([heading, rule, *rest])
    return "\n".join(f"|{'|'.join(line)}|" for line in zip(*parts, strict=True))


def fold_footnote(line: str, width: int) -> str:
    """A footnote as an item of a list, folded; a command stays whole, to be copied."""
    if "`" in line:
        return f"- {line}"
    lines: list[str] = []
    used = width
    for word in line.split():
        for piece in _pieces(word, width - 2):
            used += 1 + cell_len(piece)
            if lines and used <= width - 2:
                lines[-1] += f" {piece}"
            else:
                lines.append(piece)
                used = cell_len(piece)
    return "- " + "\n  ".join(map(escape_line_start, lines))


def table_width(frame: pd.DataFrame) -> int:
    """The columns of a screen that a table takes unfolded."""
    widest = (max(map(cell_len, [str(name), *frame[name]])) for name in frame)
    return sum(width + BORDERS for width in widest) + 1


def _least(column: str, cells: pd.Series[str]) -> int:
    """The width that a column of numbers needs; what stands in parentheses there is folded."""
    numbers = [cell_len(text.split(" (", 1)[0]) for text in cells]
    folded = any(" (" in text for text in cells)
    return max(cell_len(column), *numbers, LEAST * folded)


def _most(column: str, frame: pd.DataFrame) -> int:
    """The width of a column that is not folded."""
    return max(cell_len(column), *map(cell_len, frame[column]))


def _folded(row: Mapping[str, str], limits: Mapping[str, int]) -> list[dict[str, str]]:
    """A row as lines."""
    parts = {column: _pieces(text, limits[column]) for column, text in row.items()}
    count = max(map(len, parts.values()))
    return [
        {column: found[line] if line < len(found) else "" for column, found in parts.items()}
        for line in range(count)
    ]


def _pieces(text: str, width: int) -> list[str]:
    """Text in lines, broken after blanks and commas, before an arrow, and in too long a word."""
    if len(text) > 4 and text.startswith("**") and text.endswith("**"):
        return [f"**{piece}**" for piece in _pieces(text[2:-2], max(1, width - 4))]
    if cell_len(text) <= width:
        return [text.rstrip()]
    lines = [""]
    for word in re.split(r"(?<=[ ,])(?<!-> )(?![⁰¹²³⁴-⁹])", text):
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
