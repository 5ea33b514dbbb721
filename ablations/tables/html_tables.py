"""Table -> HTML: great_tables sets it, each difference is drawn, each verdict is a badge.

Importing this takes a second that the other formats need not spend.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import great_tables
import pandas as pd
from great_tables import GT, loc, style
from markupsafe import Markup

from ablations.analysis.scale import Scale
from ablations.page import arrows, fill_template, html_document
from ablations.tables.cells import EMPTY
from ablations.tables.interval_plots import axis, bar, legend, scale_of
from ablations.tables.table import Badge, Table
from ablations.text.escape import html as escape
from ablations.text.escape import terminal

VERDICT, DRAWN, RUNS = "Verdict", "Difference, points", "Runs"  # what only this format has
INTERVALS, COUNTS = ["95% CI", "Δ"], ["n"]  # and right of which columns it has them
# By which a cell is sorted: the number that it begins with. "missing (1 failed)" has none.
NUMBER = re.compile(r"[<\[]?([+-]?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Link:
    """A link within the page.

    Args:
        text: What is clicked on.
        target: The id of an element.
        title: What is there, in words.
    """

    text: str
    target: str
    title: str = ""


Links = Sequence[Sequence[Link]]  # the runs of a row, or of one variant and of another


def html_page(tables: Sequence[Table]) -> str:
    """A whole page of tables that needs nothing besides itself."""
    parts = [html_table(table, f"table-{number}") for number, table in enumerate(tables, start=1)]
    return html_document("Ablation tables", fill_template("tables.html", tables=map(Markup, parts)))


def html_table(table: Table, name: str = "table", links: Sequence[Links] = ()) -> str:
    """A table with its heading and footnotes, as a part of a page of ``ablations.page``.

    Args:
        table: The table.
        name: Its id, unlike those of all other elements of the page.
        links: The runs of each row as ``Table.runs`` has them, where the page has them.
    """
    if not any(each.values for each in table.differences):
        table = replace(table, differences=[])
    scale = scale_of(table.differences)
    made = fill_template(
        "table.html",
        name=name,
        title=table.title,
        table=_set(table, _frame(table, scale, links), scale, f"{name}-cells"),
        notes=[*_notes(table, scale), *table.all_footnotes],
    )
    return str(made)


def _notes(table: Table, scale: Scale) -> list[str]:
    """What a reader must know of the columns that only this format has."""
    notes = [legend(table.differences, scale)] if table.differences else []
    if table.badges and VERDICT not in table.frame:
        told = (
            f"{VERDICT}: what the paper says of a row against the baseline, held against these "
            "runs, each claim at 5% by itself (`ablations claims`)."
        )
        if any(badge and badge.uncorrected for badge in table.badges):
            told += " Uncorrected: not below 5% after Holm's correction."
        notes.append(told)
    return notes


def _frame(table: Table, scale: Scale, links: Sequence[Links]) -> pd.DataFrame:
    """The cells as markup, and the columns that only this format has."""
    frame = table.frame.copy()
    for column in frame.columns:
        cells = [_cell(text, column not in table.text_columns) for text in frame[column]]
        frame[column] = _sections(table) if column == table.section else cells
    if table.badges:
        badges = list(map(_badge, table.badges))
        if VERDICT in frame:  # a column of text in other formats
            frame[VERDICT] = badges
        else:
            frame.insert(_after(frame, INTERVALS), VERDICT, badges)
    if table.differences:
        drawn = [_drawn(bar(row, scale), row.mean) for row in table.differences]
        frame.insert(_after(frame, INTERVALS), DRAWN, drawn)
    if links:
        frame.insert(_after(frame, COUNTS), RUNS, [_runs(row) for row in links])
    return frame


def _sections(table: Table) -> list[str]:
    """Names as great_tables takes and escapes them; none for a section of one row of that name."""
    names = list(table.frame[table.section])
    rows = table.frame[[name for name in table.text_columns if name != table.section]]
    count = Counter(names)
    return [
        "" if count[name] == 1 and name in words else arrows(terminal(name))
        for name, words in zip(names, rows.itertuples(index=False), strict=True)
    ]


def _after(frame: pd.DataFrame, names: Sequence[str]) -> int:
    """The place right of the first of these columns that there is; the last one without any."""
    columns = list(frame.columns)
    return next((columns.index(name) + 1 for name in names if name in columns), len(columns))


def _set(table: Table, frame: pd.DataFrame, scale: Scale, name: str) -> Markup:
    """The table itself as great_tables sets it, without its style: the page has one for all."""
    words = [column for column in table.text_columns if column != table.section]
    cells = [column for column in frame.columns if column != table.section]
    right = [column for column in cells if column not in (*words, VERDICT, DRAWN, RUNS)]
    headings = {column: escape(column) for column in cells}
    if table.differences:
        headings[DRAWN] += Markup("<br>") + axis(scale)
    # Two braces would be a unit to great_tables.
    raw: dict[str, Any] = {
        column: great_tables.html(heading.replace("{", Markup("&#123;")))
        for column, heading in headings.items()
    }
    made = GT(
        frame,
        rowname_col=words[0] if words else None,
        groupname_col=table.section,
        auto_align=False,
        id=name,
    )
    made = made.fmt(str, columns=cells)  # what is formatted is not escaped again
    made = made.cols_label(raw).cols_align("right", columns=right)
    made = made.tab_stubhead(raw[words[0]]) if words else made
    for row, column in sorted(table.bold):
        made = made.tab_style(style.text(weight="bold"), loc.body(columns=[column], rows=[row]))
    whole = made.as_raw_html()
    return Markup(whole[whole.index("<table") : whole.index("</table>") + len("</table>")])


def _cell(text: str, numeric: bool) -> Markup:
    """A cell, with the number to sort it by where it has one."""
    found = NUMBER.match(text) if numeric else None
    if not found:
        return escape(arrows(text))
    value = 0 if text.startswith("<") else found[1]
    return Markup('<span data-sort="{}">{}</span>').format(value, escape(text))


def _drawn(picture: Markup, mean: float | None) -> Markup:
    if mean is None:
        return picture
    return Markup('<span data-sort="{}">{}</span>').format(f"{mean:.6g}", picture)


def _badge(badge: Badge | None) -> Markup:
    """A verdict, coloured by its CSS class, and the marks of its footnotes."""
    if badge is None:
        return Markup()
    kind = re.sub(r"[^a-z]+", "-", badge.text)
    markup = Markup('<span class="badge badge-{}">{}</span>{}')
    return markup.format(kind, escape(badge.text), escape(badge.marks))


def _runs(links: Links) -> Markup:
    """The links of a row; where it holds one variant against another, those of either."""
    sides = [Markup(" ").join(map(_link, side)) or Markup(EMPTY) for side in links]
    return Markup(" against ").join(sides) if any(links) else Markup()


def _link(link: Link) -> Markup:
    parts = map(escape, (link.target, link.title, link.text))
    return Markup('<a href="#{}" title="{}">{}</a>').format(*parts)
