"""Table -> HTML by great_tables, with a plot of each difference and a badge for each verdict.

Importing great_tables takes a second, so other formats do not import this module.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import great_tables
import pandas as pd
from great_tables import GT, loc, style
from markupsafe import Markup

from ablations.analysis.scale import Scale
from ablations.page import arrows, fill_template, html_document
from ablations.tables.cells import EMPTY
from ablations.tables.interval_plots import axis_svg, common_scale, interval_svg, legend
from ablations.tables.table import Badge, Table
from ablations.text.escape import html as escape
from ablations.text.escape import terminal

VERDICT, PLOT, RUNS = "Verdict", "Difference, points", "Runs"  # columns of this format only
INTERVALS, COUNTS = ["95% CI", "Δ"], ["n"]  # the columns to whose right they are inserted
# The number that a cell begins with, to sort by. "missing (1 failed)" has none.
NUMBER = re.compile(r"[<\[]?([+-]?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Link:
    """A link within the page.

    Args:
        text: Its text.
        target: The id of an element.
        title: A description of the target.
    """

    text: str
    target: str
    title: str = ""


Links = Sequence[Sequence[Link]]  # to the runs of a row: one list, or one for each of two variants


def html_page(tables: Sequence[Table]) -> str:
    """A self-contained page of tables."""
    parts = [html_table(table, f"table-{number}") for number, table in enumerate(tables, start=1)]
    return html_document("Ablation tables", fill_template("tables.html", tables=map(Markup, parts)))


def html_table(table: Table, name: str = "table", links: Sequence[Links] = ()) -> str:
    """A table with its title and footnotes, as a part of a page of ``ablations.page``.

    Args:
        table: The table.
        name: Its id, unique in the page.
        links: Links to the runs of each row, in the order of ``Table.runs``; empty without links.
    """
    scale = common_scale(table.differences)
    html = fill_template(
        "table.html",
        name=name,
        title=table.title,
        table=_great_table(table, _frame(table, scale, links), scale, f"{name}-cells"),
        notes=[*_notes(table, scale), *table.all_footnotes],
    )
    return str(html)


def _notes(table: Table, scale: Scale) -> list[str]:
    """How to read the columns of this format only."""
    notes = [legend(table.differences, scale)] if table.differences else []
    if table.badges and VERDICT not in {column.heading for column in table.columns}:
        note = (
            f"{VERDICT}: whether these runs agree with the paper's claim about a row and the "
            "baseline, each claim tested at 5% (`ablations claims`)."
        )
        if any(badge and badge.uncorrected for badge in table.badges):
            note += " Uncorrected: not below 5% for all claims together."
        notes.append(note)
    return notes


def _frame(table: Table, scale: Scale, links: Sequence[Links]) -> pd.DataFrame:
    """The cells as markup, with the columns of this format only."""
    frame = table.frame
    for column in frame.columns:
        cells = [_cell(text, column not in table.text_columns) for text in frame[column]]
        frame[column] = _sections(table) if column == table.section else cells
    if table.badges:
        badges = list(map(_badge, table.badges))
        if VERDICT in frame:  # a column of text in other formats
            frame[VERDICT] = badges
        else:
            frame.insert(_right_of(frame, INTERVALS), VERDICT, badges)
    if table.differences:
        plots = [_sortable(interval_svg(row, scale), row.mean) for row in table.differences]
        frame.insert(_right_of(frame, INTERVALS), PLOT, plots)
    if links:
        frame.insert(_right_of(frame, COUNTS), RUNS, [_runs(row) for row in links])
    return frame


def _sections(table: Table) -> list[str]:
    """Section names, which great_tables escapes; none for a section of one row of that name."""
    names = list(table.frame[table.section])
    rows = table.frame[[name for name in table.text_columns if name != table.section]]
    count = Counter(names)
    return [
        "" if count[name] == 1 and name in words else arrows(terminal(name))
        for name, words in zip(names, rows.itertuples(index=False), strict=True)
    ]


def _right_of(frame: pd.DataFrame, names: Sequence[str]) -> int:
    """The position to the right of the first of these columns, or the last position."""
    columns = list(frame.columns)
    return next((columns.index(name) + 1 for name in names if name in columns), len(columns))


def _great_table(table: Table, frame: pd.DataFrame, scale: Scale, name: str) -> Markup:
    """The table as great_tables renders it, without its style sheet: the page has its own."""
    words = [column for column in table.text_columns if column != table.section]
    cells = [column for column in frame.columns if column != table.section]
    right = [column for column in cells if column not in (*words, VERDICT, PLOT, RUNS)]
    headings = {column: escape(column) for column in cells}
    if table.differences:
        headings[PLOT] += Markup("<br>") + axis_svg(scale)
    # great_tables reads two braces as a unit.
    raw: dict[str, Any] = {
        column: great_tables.html(heading.replace("{", Markup("&#123;")))
        for column, heading in headings.items()
    }
    built = GT(
        frame,
        rowname_col=words[0] if words else None,
        groupname_col=table.section,
        auto_align=False,
        id=name,
    )
    built = built.fmt(str, columns=cells)  # formatted cells are not escaped again
    built = built.cols_label(raw).cols_align("right", columns=right)
    built = built.tab_stubhead(raw[words[0]]) if words else built
    for row, column in sorted(table.bold):
        built = built.tab_style(style.text(weight="bold"), loc.body(columns=[column], rows=[row]))
    html = built.as_raw_html()
    return Markup(html[html.index("<table") : html.index("</table>") + len("</table>")])


def _cell(text: str, numeric: bool) -> Markup:
    """A cell, with the number to sort it by if it has one."""
    found = NUMBER.match(text) if numeric else None
    if not found:
        return escape(arrows(text))
    value = 0 if text.startswith("<") else found[1]
    return Markup('<span data-sort="{}">{}</span>').format(value, escape(text))


def _sortable(plot: Markup, mean: float | None) -> Markup:
    """A plot, with the mean to sort it by."""
    if mean is None:
        return plot
    return Markup('<span data-sort="{}">{}</span>').format(f"{mean:.6g}", plot)


def _badge(badge: Badge | None) -> Markup:
    """A verdict, coloured by its CSS class, and the marks of its footnotes."""
    if badge is None:
        return Markup()
    kind = re.sub(r"[^a-z]+", "-", badge.text)
    markup = Markup('<span class="badge badge-{}">{}</span>{}')
    return markup.format(kind, escape(badge.text), escape(badge.marks))


def _runs(links: Links) -> Markup:
    """The links of a row; of both variants, if it compares two."""
    sides = [Markup(" ").join(map(_link, side)) or Markup(EMPTY) for side in links]
    return Markup(" against ").join(sides) if any(links) else Markup()


def _link(link: Link) -> Markup:
    parts = map(escape, (link.target, link.title, link.text))
    return Markup('<a href="#{}" title="{}">{}</a>').format(*parts)
