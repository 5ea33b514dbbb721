"""Table: the columns and rows of a table, before it becomes Markdown, CSV, LaTeX or HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ablations.analysis.stats import Difference
from ablations.analysis.verdicts import Verdict

SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
Values = dict[str, Any]  # of a row, by their names
# Whole numbers, also beside rows that have none.
COUNTS = ["params", "frozen_params", "macs", "image_size", "s12_params", "s12_frozen_params"]
COUNTS += ["s12_macs", "seeds_needed"]


@dataclass(frozen=True)
class Column:
    """A column of text: one value of each line, formatted.

    Args:
        heading: Its heading.
        value: The name of the value.
        text: The text of a value.
        note: A footnote on how to read the column.
        name: What ``--columns`` calls it.
        words: Whether it has words, which are aligned left, and not numbers.
    """

    heading: str
    value: str
    text: Callable[[Any], str] = str
    note: str = ""
    name: str = ""
    words: bool = False

    def texts(self, lines: Sequence[Values]) -> list[str]:
        """Its cells."""
        return [self.text(line.get(self.value)) for line in lines]


def word_columns(**headings: str) -> list[Column]:
    """Columns of words: value -> heading."""
    return [Column(heading, value, words=True) for value, heading in headings.items()]


class CommandNote(str):
    """A footnote with a command to copy: Markdown does not fold it, and LaTeX leaves it out."""


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
        uncorrected: Whether it would not hold for all claims together.
        marks: The marks of its footnotes.
    """

    verdict: str
    uncorrected: bool = False
    marks: str = ""

    @classmethod
    def of(cls, verdict: Verdict | None, marks: str = "") -> Badge | None:
        """The badge of a verdict; None for none."""
        return cls(verdict.verdict, not verdict.survives_correction, marks) if verdict else None

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
    """A table with its title and footnotes.

    Args:
        title: One line: what it shows, and what it was measured on.
        columns: The columns that text formats show.
        lines: The values of each row. Those whose name starts with an underscore are for text only;
            four of them are not in a column: ``_difference``, ``_badge``, ``_runs``, ``_bold`` (the
            headings whose cells are bold).
        section: The heading of a column whose equal neighbours form a section; None without.
        csv_names: The values that CSV has, in this order; if empty, all.
        csv_lines: The rows of CSV, if they are others.
        row_notes: Footnotes to marked rows, with the number of their mark.
        footnotes: Footnotes to the whole table.
        width: The width in characters that Markdown keeps to; None for no limit.
    """

    title: str
    columns: Sequence[Column] = ()
    lines: list[Values] = field(default_factory=list)
    section: str | None = None
    csv_names: Sequence[str] = ()
    csv_lines: list[Values] | None = None
    row_notes: RowNotes = field(default_factory=RowNotes)
    footnotes: list[str] = field(default_factory=list)
    width: int | None = None

    @property
    def frame(self) -> pd.DataFrame:
        """The text of all cells below the headings."""
        cells = {column.heading: column.texts(self.lines) for column in self.columns}
        return pd.DataFrame(cells, dtype=object)

    @property
    def values(self) -> pd.DataFrame:
        """The raw values, as CSV has them."""
        lines = self.lines if self.csv_lines is None else self.csv_lines
        if self.csv_names:
            return pd.DataFrame(lines, columns=list(self.csv_names), dtype=object)
        found = pd.DataFrame([{k: v for k, v in line.items() if k[0] != "_"} for line in lines])
        return found.astype({name: "Int64" for name in COUNTS if name in found})

    @property
    def text_columns(self) -> list[str]:
        """The headings of the columns of words."""
        return [column.heading for column in self.columns if column.words]

    @property
    def bold(self) -> set[tuple[int, str]]:
        """The cells (row, heading) in bold."""
        shown = {column.heading for column in self.columns}
        return {
            (row, heading)
            for row, line in enumerate(self.lines)
            for heading in shown & line.get("_bold", set())
        }

    @property
    def differences(self) -> list[PlottedDifference]:
        """The difference of each row, for HTML to draw; empty if the table has none."""
        found = [line.get("_difference", PlottedDifference()) for line in self.lines]
        return found if any(each.values for each in found) else []

    @property
    def badges(self) -> list[Badge | None]:
        """The verdict on each row; None for a row without; empty if the table has none."""
        found = [line.get("_badge") for line in self.lines]
        return found if any(found) else []

    @property
    def runs(self) -> list[list[list[str]]]:
        """The ids of each row's runs, for HTML to link: one list, or two if it compares variants.

        Empty if not known.
        """
        return [line["_runs"] for line in self.lines if "_runs" in line]

    @property
    def all_footnotes(self) -> list[str]:
        """The footnotes to rows with their marks, then those to the whole table."""
        marked = [f"{superscript(number)} {note}" for note, number in self.row_notes.items()]
        return marked + self.footnotes


def superscript(number: int) -> str:
    """12 -> ¹²."""
    return str(number).translate(SUPERSCRIPT)
