"""Table -> Markdown, CSV, LaTeX; HTML has a module of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pandas as pd

from ablations.tables.csv_values import without_noise
from ablations.tables.folding import align_table, fold_footnote, fold_table
from ablations.tables.table import CommandNote, Table
from ablations.text import escape


def render_markdown(table: Table) -> str:
    """A GitHub table with its footnotes, below its title if it has one."""
    frame = _formatted(table, escape.markdown, "**{}**")
    if table.width and table.text_columns:
        frame = fold_table(frame, table.text_columns, table.section, table.width)
    body = align_table(frame, table.text_columns)
    footnotes = "\n".join(fold_footnote(note, table.width) for note in table.all_footnotes)
    heading = f"### {escape.markdown(table.title, cell=False)}\n\n" if table.title else ""
    return f"{heading}{body}\n\n{footnotes}\n"


def render_csv(tables: Sequence[Table]) -> str:
    """The raw values of tables, all in one; empty for none."""
    if not tables:
        return ""
    whole = pd.concat([table.values for table in tables], ignore_index=True)
    for name, column in whole.items():
        if column.dtype in (float, object):  # counts are whole numbers
            short = [without_noise(c) if isinstance(c, float) else c for c in column]
            whole[name] = pd.Series(short, column.index, column.dtype)
    return escape.csv(whole)


# The file can be \input into a paper that loads booktabs, or compiled alone: within a document,
# \@nodocument is \relax.
PREAMBLE = r"""% \input this into a document with booktabs, or compile it alone.
\makeatletter\ifx\@nodocument\relax\def\ablationsend{}\else\def\ablationsend{\end{document}}
\documentclass{article}\usepackage[margin=1.5cm,landscape]{geometry}
\usepackage{booktabs}\begin{document}\fi\makeatother"""
# The width of a column of an article, and of a page with two columns, in points; font sizes.
COLUMN, PAGE = 345.0, 505.0
SIZES = {"normalsize": 10, "small": 9, "footnotesize": 8, "scriptsize": 7, "tiny": 5}
LETTER, GAP = 0.5, 12.0  # the width of a letter in font sizes; the gap between columns in points
TIGHT = r"\setlength{\tabcolsep}{2pt}"


def render_latex(tables: Sequence[Table], wide: bool = False) -> str:
    """Booktabs tables that compile alone or within a document.

    Args:
        tables: The tables.
        wide: Whether they span both columns of a page: ``table*``.
    """
    names: list[str] = []
    for table in tables:
        name = re.sub(r"[^a-z0-9]+", "-", re.split("[:(,]", table.title)[0].lower()).strip("-")
        names.append(f"{name}-{len(names) + 1}" if name in names else name)
    parts = [_latex(table, name, wide) for table, name in zip(tables, names, strict=True)]
    return "\n".join([PREAMBLE, *parts, r"\ablationsend", ""])


def _latex(table: Table, name: str, wide: bool) -> str:
    frame = _formatted(table, escape.latex, r"\textbf{{{}}}")
    columns = "".join("l" if name in table.text_columns else "r" for name in table.frame.columns)
    body = frame.style.hide(axis="index").to_latex(hrules=True, column_format=columns)
    notes = [note for note in table.all_footnotes if not isinstance(note, CommandNote)]
    lines = [escape.latex(note) for note in notes]
    kind = "table*" if wide else "table"
    return "\n".join(
        [
            rf"\begin{{{kind}}}",
            r"\centering",
            rf"\caption{{{escape.latex(table.title.rstrip('.'))}.}}",
            rf"\label{{tab:{name}}}",
            _size(table.frame, PAGE if wide else COLUMN),
            body.strip(),
            *([r"\par\smallskip\raggedright\scriptsize", " \\\\\n".join(lines)] if lines else []),
            rf"\end{{{kind}}}",
        ]
    )


def _size(frame: pd.DataFrame, room: float) -> str:
    """The largest font size in which a table fits a width in points, about."""
    letters = sum(max(map(len, [name, *frame[name]])) for name in frame.columns)
    gaps = GAP * len(frame.columns)
    for name, size in SIZES.items():
        if LETTER * size * letters + gaps <= room:
            return rf"\{name}"
    return rf"\{name}{TIGHT}"


def _formatted(table: Table, safe: Callable[[str], str], bold: str) -> pd.DataFrame:
    """The cells as a format shows them: escaped, with bold cells, and each section named once."""
    frame = table.frame.map(lambda text: safe(escape.shorten(text)))
    for row, column in table.bold:
        frame.loc[row, column] = bold.format(frame.loc[row, column])
    if table.section:
        names = frame[table.section]
        frame[table.section] = names.where(names != names.shift(), "")
    return frame.rename(columns=safe)
