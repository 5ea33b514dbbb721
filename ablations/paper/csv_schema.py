"""CSV files kept by hand -> typed lines, and a sentence for each line that is nonsense.

What a file must be is declared (``Sheet``); a line that is not is left out and told, never guessed
and never raised. Standard library only.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PLAIN = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)  # neither nan nor 1_000
LONGEST = 40  # letters of an odd value that are repeated


@dataclass(frozen=True)
class Number:
    """A cell that is a number from ``low`` to ``high``.

    Args:
        whole: Whether it must be without a fraction.
        empty: Whether it may be empty, which gives None.
    """

    low: float
    high: float
    whole: bool = False
    empty: bool = False

    def __call__(self, text: str) -> float | None:
        """The number; ValueError with what is valid."""
        if not text and self.empty:
            return None
        value = float(text) if PLAIN.fullmatch(text) else None
        if value is None or not self.low <= value <= self.high or (self.whole and value % 1):
            what = "a whole number" if self.whole else "a number"
            rest = " or nothing" if self.empty else ""
            raise ValueError(f"{what} from {self.low:g} to {self.high:g}{rest}")
        return int(value) if self.whole else value


@dataclass(frozen=True)
class Words:
    """A cell of words.

    Args:
        among: The valid ones; none: any.
        empty: Whether it may be empty.
    """

    among: tuple[str, ...] = ()
    empty: bool = False

    def __call__(self, text: str) -> str:
        """The words; ValueError with what is valid."""
        if not text and self.empty:
            return text
        if self.among and text not in self.among:
            raise ValueError(f"one of {', '.join(self.among)}")
        if not text or not text.isprintable():  # a line break would break every table
            raise ValueError("words on one line")
        return text


Kind = Number | Words


@dataclass(frozen=True)
class Near:
    """Two columns that state one thing twice, rounded; both may be empty.

    Args:
        by: How far apart rounding may bring them.
    """

    one: str
    other: str
    by: float


@dataclass(frozen=True)
class Sheet:
    """What a file must be.

    Args:
        columns: The kind of each column that is read; a file may have more. Without one of them it
            is left out, or read without that where cells may be empty; either is told.
        key: Columns that tell lines apart: no two lines agree in all of them.
        near: What must agree within a line.
        lines: How many lines it has at least.
    """

    columns: Mapping[str, Kind]
    key: tuple[str, ...]
    near: tuple[Near, ...] = ()
    lines: int = 0


@dataclass(frozen=True)
class Line:
    """A line that is as declared.

    Args:
        place: The file and the number of the line, for messages.
        values: Column -> number, words or None.
    """

    place: str
    values: dict[str, Any]


def read(path: Path, sheet: Sheet) -> tuple[list[Line], list[str]]:
    """The good lines of a file, and a sentence for each that is left out.

    Args:
        path: The file; one that is missing or cannot be read has no lines and is told.
        sheet: What it must be.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin with a mark
    except OSError as error:
        return [], [f"{path} cannot be read: {error.strerror}"]
    except UnicodeDecodeError as error:
        return [], [f"{path} cannot be read: byte {error.start} is not UTF-8"]
    problems: list[str] = []
    rows = _rows(path, text, problems)
    _, header = next(rows, ("", []))
    header = [name.strip() for name in header]
    lacking = [name for name in sheet.columns if header.count(name) == 0]
    double = [name for name in sheet.columns if header.count(name) > 1]
    odd = [f"has the column {name} more than once" for name in double]
    if lacking:
        odd.append(f"lacks the column{'s' * (len(lacking) > 1)} {', '.join(lacking)}")
    if odd:
        problems.append(f"{path} {' and '.join(odd)}")
    if double or any(name in sheet.key or not sheet.columns[name].empty for name in lacking):
        return [], problems
    found: list[Line] = []
    known: dict[tuple[Any, ...], str] = {}
    seen = 0
    for place, cells in rows:
        seen += 1
        line = Line(place, dict.fromkeys(lacking))
        odd = _fill(line, header, cells, sheet)
        key = tuple(line.values.get(name) for name in sheet.key)
        if not odd and key in known:
            names = ", ".join(map(quoted, key))
            odd = [f"{', '.join(sheet.key)} {names} stands in {known[key]} already"]
        if odd:
            problems.append(f"{place}: {'; '.join(odd)}")
        else:
            known[key] = place.removeprefix(f"{path}, ")
            found.append(line)
    if seen < sheet.lines:
        problems.append(f"{path} has {seen} lines and must have {sheet.lines} or more")
    return found, problems


def _rows(path: Path, text: str, problems: list[str]) -> Iterator[tuple[str, list[str]]]:
    """The lines that are not blank as cells, with their place; what is no CSV is told."""
    reader = csv.reader(io.StringIO(text), strict=True)
    while True:
        place = f"{path}, line {reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            to = "" if place.endswith(f" {reader.line_num}") else f" to {reader.line_num}"
            problems.append(f"{place}{to}: {error}")
            continue
        if any(map(str.strip, cells)):
            yield place, cells


def _fill(line: Line, header: list[str], cells: list[str], sheet: Sheet) -> list[str]:
    """Put a line's values in; what is wrong with them."""
    if len(cells) != len(header):
        return [f"{len(cells)} cells where the header has {len(header)}"]
    odd = []
    for name, cell in zip(header, cells, strict=True):
        if kind := sheet.columns.get(name):
            try:
                line.values[name] = kind(cell.strip())
            except ValueError as valid:
                odd.append(f"{name} {quoted(cell)} must be {valid}")
    for pair in sheet.near:
        one, other = line.values.get(pair.one), line.values.get(pair.other)
        if one is not None and other is not None and abs(one - other) > pair.by + 1e-9:
            odd.append(f"{pair.one} {one:g} must be within {pair.by:g} of {pair.other} {other:g}")
    return odd


def quoted(value: object) -> str:
    """A value in quotes on one line, its end left out where it is long."""
    text = str(value)
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")
