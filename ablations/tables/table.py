"""Table: what a reader sees of a table, before it is Markdown, LaTeX or HTML."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

SUPERSCRIPT = {
    ord(digit): ord(raised) for digit, raised in zip("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True)
}
MISSING = "–"
UNITS = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1}


@dataclass(frozen=True)
class PlottedDifference:
    """A difference as HTML draws it, in percentage points.

    Args:
        mean: Ours; None where it was not measured.
        low: Lower end of its interval; None without one.
        high: Upper end.
        paper: The paper's difference, where it has one.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None


@dataclass
class Table:
    """A table of text and what belongs to it.

    Args:
        title: One line: what it shows and what it was measured on.
        frame: The cells, all text; the column names are the headings.
        words: Columns of words, which stand to the left; all others hold numbers.
        section: The column whose equal neighbours are one section; it is in ``words``.
        bold: Cells (row, column) that the statistics single out.
        notes: Footnotes to marked rows with the number of their mark.
        foot: What a reader must know beside the table, a line each.
        drawn: A difference a row, for formats that can draw; empty where there are none.
        badges: A verdict a row on what the paper claims of it, "" for none; empty without any.
        runs: Ids of the runs of each row, for formats that can link: a list of them, or two where
            the row holds one variant against another. Empty where none are known.
        width: Columns of a screen that Markdown keeps to; None for as many as it takes.
    """

    title: str
    frame: pd.DataFrame
    words: list[str]
    section: str | None = None
    bold: set[tuple[int, str]] = field(default_factory=set)
    notes: dict[str, int] = field(default_factory=dict)
    foot: list[str] = field(default_factory=list)
    drawn: list[PlottedDifference] = field(default_factory=list)
    badges: list[str] = field(default_factory=list)
    runs: list[list[list[str]]] = field(default_factory=list)
    width: int | None = None

    @property
    def lines(self) -> list[str]:
        """Footnotes with their marks, then the rest."""
        return [f"{superscript(mark)} {note}" for note, mark in self.notes.items()] + self.foot

    def note(self, text: str) -> str:
        """Add a footnote, once; its mark."""
        return superscript(self.notes.setdefault(text, len(self.notes) + 1))


def superscript(number: int) -> str:
    """12 -> ¹²."""
    return str(number).translate(SUPERSCRIPT)


def number_text(value: object, unit: float, digits: int) -> str:
    """A number in a unit, or a dash where it is missing."""
    if not isinstance(value, (int, float)) or pd.isna(value):
        return MISSING
    return f"{value / unit:.{digits}f}"


def signed_text(value: object, digits: int = 1) -> str:
    """A number with its sign, zero without one; a dash where it is missing."""
    if not isinstance(value, (int, float)) or pd.isna(value):
        return MISSING
    text = f"{value:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def quantity_text(value: object, unit: str) -> str:
    """A count in k, M or G, to three digits: ``422k``, ``0.32M``, ``1.82G``; a dash for none."""
    if not isinstance(value, (int, float)) or pd.isna(value):
        return MISSING
    return f"{value / UNITS[unit]:#.3g}".rstrip(".") + unit


def significant_text(value: object, unit: float) -> str:
    """A number in a unit to one decimal, as the paper prints it; small ones to three digits."""
    if not isinstance(value, (int, float)) or pd.isna(value):
        return MISSING
    return f"{value / unit:.1f}" if value / unit >= 0.95 else f"{value / unit:.3g}"


def p_value_text(value: float | None) -> str:
    """A p-value to three decimals; empty where there is none."""
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"
