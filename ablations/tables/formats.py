"""Table -> Markdown, LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pandas as pd

from ablations.tables.table import SUPERSCRIPT, Table


def markdown(table: Table) -> str:
    """A GitHub table with its heading and footnotes."""
    frame = shown(table, lambda cell: cell.replace("|", r"\|"), "**{}**")
    align = ["left" if name in table.words else "right" for name in frame.columns]
    body = frame.to_markdown(index=False, colalign=align, disable_numparse=True)
    footnotes = "\n".join(f"- {line}" for line in table.lines)
    return f"### {table.title}\n\n{body}\n\n{footnotes}\n"


# To be \input into a paper that loads booktabs, and a document of its own where it is compiled
# alone: once a document has begun, \@nodocument is \relax. With graphicx it is as wide as the text.
PREAMBLE = r"""% \input this into a document with booktabs (and graphicx), or compile it as it is.
\makeatletter\ifx\@nodocument\relax\def\ablationsend{}\else\def\ablationsend{\end{document}}
\documentclass{article}\usepackage[margin=1.5cm,landscape]{geometry}
\usepackage{booktabs,graphicx}\begin{document}\fi\makeatother
\providecommand{\resizebox}[3]{#3}"""


def latex(tables: Sequence[Table]) -> str:
    """Booktabs tables that compile as they are, or where they are input into a document."""
    return "\n".join([PREAMBLE, *map(_latex, tables), r"\ablationsend", ""])


def _latex(table: Table) -> str:
    frame = shown(table, escaped, r"\textbf{{{}}}").rename(columns=escaped)
    columns = "".join("l" if name in table.words else "r" for name in table.frame.columns)
    body = frame.style.hide(axis="index").to_latex(hrules=True, column_format=columns)
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{escaped(table.title)}.}}",
            r"\resizebox{\textwidth}{!}{%",
            body.strip() + "}",
            r"\par\smallskip\raggedright\scriptsize",
            " \\\\\n".join(escaped(line) for line in table.lines),
            r"\end{table*}",
        ]
    )


def shown(table: Table, escape: Callable[[str], str], bold: str) -> pd.DataFrame:
    """The cells as a format has them, what is singled out in ``bold``, a section named once."""
    frame = table.frame.map(escape)
    for row, column in table.bold:
        frame.loc[row, column] = bold.format(frame.loc[row, column])
    if table.section:
        names = frame[table.section]
        frame[table.section] = names.where(names != names.shift(), "")
    return frame


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "ʷ": r"$^w$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
    "->": r"$\rightarrow$",
    **{chr(code): rf"$^{chr(digit)}$" for digit, code in SUPERSCRIPT.items()},
}


QUOTE = r"\textquotesingle{}"


def escaped(text: str) -> str:
    """Text as LaTeX shows it; what stands between backticks is a command, to be copied."""
    return re.sub("->|`[^`]*`|.", lambda found: _piece(found[0]), text)


def _piece(text: str) -> str:
    if len(text) > 1 and text[0] == "`":
        # As it must be typed: two hyphens are no dash, and quotes are straight.
        letters = [r"{-}" if letter == "-" else _piece(letter) for letter in text[1:-1]]
        return rf"\texttt{{{''.join(QUOTE if each == chr(39) else each for each in letters)}}}"
    known = LATEX.get(text, text)
    if known != text or ord(text[-1]) < 0x250:
        return known
    return rf"\texttt{{U+{ord(text):04X}}}"  # pdflatex knows the letters of Europe
