"""Table: the text of a table, before it becomes Markdown, LaTeX or HTML; and its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ablations.analysis.stats import Difference
from ablations.analysis.verdicts import Verdict

SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
Line = Mapping[str, Any]  # the raw values of a row, by their names


@dataclass(frozen=True)
class Column:
    """A column of text: one value of each line, formatted.

    Args:
        heading: Its heading.
        value: The name of the value.
        text: The text of a value.
        note: A footnote on how to read the column.
        name: What ``--columns`` calls it.
    """

    heading: str
    value: str
    text: Callable[[Any], str] = str
    note: str = ""
    name: str = ""


def text_frame(columns: Iterable[Column], lines: Iterable[Line]) -> pd.DataFrame:
    """The text of lines below the headings."""
    lines = list(lines)
    texts = {c.heading: [c.text(line.get(c.value)) for line in lines] for c in columns}
    return pd.DataFrame(texts, dtype=object)


def csv_frame(lines: Iterable[Line], names: Sequence[str] = ()) -> pd.DataFrame:
    """The raw values of lines; values whose name begins with an underscore are for text only.

    Args:
        lines: The lines.
        names: The columns; by default all values of the lines.
    """
    if names:
        return pd.DataFrame(list(lines), columns=list(names), dtype=object)
    return pd.DataFrame([{k: v for k, v in line.items() if k[0] != "_"} for line in lines])


@dataclass(frozen=True)
class PlottedDifference:
    """A difference that HTML draws, in percentage points.

    Args:
        mean: Our difference; None if it was not measured.
        low: Lower end of its interval; None without one.
        high: Upper end.
        paper: The paper's difference; None without one.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None

    @classmethod
    def of(cls, delta: Difference | None, paper: float | None = None) -> PlottedDifference:
        """Our difference and its interval beside the paper's."""
        if delta is None:
            return cls(paper=paper)
        return cls(delta.mean, delta.low, delta.high, paper)

    @property
    def values(self) -> list[float]:
        """All that is drawn."""
        drawn = (self.low, self.mean, self.high, self.paper)
        return [value for value in drawn if value is not None]


@dataclass(frozen=True)
class Badge:
    """The verdict on a claim of the paper, as HTML shows it.

    Args:
        verdict: One of ``analysis.verdicts.VERDICTS``.
        uncorrected: Whether it would not hold after Holm's correction.
        marks: The marks of its footnotes.
    """

    verdict: str
    uncorrected: bool = False
    marks: str = ""

    @classmethod
    def of(cls, verdict: Verdict | None, marks: str = "") -> Badge | None:
        """The badge of a verdict; None for none."""
        return cls(verdict.verdict, not verdict.survives_holm, marks) if verdict else None

    @property
    def text(self) -> str:
        """The verdict, and whether it is without correction."""
        return f"{self.verdict}, uncorrected" if self.uncorrected else self.verdict


class RowNotes(dict[str, int]):
    """Footnotes to rows, numbered as they come; the same text is one note."""

    def mark(self, *notes: str) -> str:
        """The marks of notes, a blank before each; empty notes have none."""
        return "".join(
            f" {superscript(self.setdefault(note, len(self) + 1))}" for note in notes if note
        )


@dataclass
class Table:
    """The text of a table, with its title and footnotes.

    Args:
        title: One line: what it shows, and what it was measured on.
        frame: The cells, all text; the column names are the headings.
        text_columns: The columns that are aligned left; all others hold numbers.
        section: A text column whose equal neighbours form a section; None without sections.
        bold: The cells (row, column) in bold.
        row_notes: Footnotes to marked rows, with the number of their mark.
        footnotes: Footnotes to the whole table.
        differences: The difference of each row, for HTML to draw; empty if the table has none.
        badges: The verdict on each row; None for a row without; empty if the table has none.
        runs: The ids of the runs of each row, for HTML to link: one list, or two if the row
            compares two variants. Empty if not known.
        width: The width in characters that Markdown keeps to; None for no limit.
    """

    title: str
    frame: pd.DataFrame
    text_columns: list[str]
    section: str | None = None
    bold: set[tuple[int, str]] = field(default_factory=set)
    row_notes: RowNotes = field(default_factory=RowNotes)
    footnotes: list[str] = field(default_factory=list)
    differences: list[PlottedDifference] = field(default_factory=list)
    badges: list[Badge | None] = field(default_factory=list)
    runs: list[list[list[str]]] = field(default_factory=list)
    width: int | None = None

    @property
    def all_footnotes(self) -> list[str]:
        """The footnotes to rows with their marks, then those to the whole table."""
        marked = [f"{superscript(number)} {note}" for note, number in self.row_notes.items()]
        return marked + self.footnotes


def superscript(number: int) -> str:
    """12 -> ¹²."""
    return str(number).translate(SUPERSCRIPT)
