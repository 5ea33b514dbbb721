"""Studies -> the text of their tables in a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ablations.analysis.rows import Study
from ablations.analysis.study import studies
from ablations.store import load
from ablations.store.records import Record
from ablations.tables import columns, reference
from ablations.tables.ablation import NARROW, WIDTH, ablation, tidy
from ablations.tables.claims import claims, claims_tidy
from ablations.tables.formats import latex, markdown
from ablations.tables.narrow import breadth
from ablations.tables.table import Table
from ablations.text import escape

FORMATS = ["md", "csv", "tex", "html"]
WIDE = "tex*"  # LaTeX over both columns of a page
OF = ["ablation", "imagenet", "sizes", *load.TASKS]


@dataclass(frozen=True)
class View:
    """What is shown of ablation tables.

    Args:
        style: One of STYLES.
        columns: Headings of the columns; None for those that suit the format.
        whole: Whether rows of the paper that a study lacks are shown too.
    """

    style: str = "full"
    columns: Sequence[str] | None = None
    whole: bool = False

    def table(self, study: Study, form: str) -> Table:
        """The table of a study."""
        if self.columns is not None or self.style != "full":
            table = ablation(study, self.style, self.columns or NARROW, self.whole)
            if self.columns is None and breadth(table.frame) > WIDTH:
                table.width = WIDTH
            return table
        if form == "html":
            return ablation(study, whole=self.whole)
        return ablation(study, columns=NARROW, whole=self.whole, width=WIDTH)


def render(
    records: Sequence[Record],
    form: str,
    style: str = "full",
    of: str = OF[0],
    columns: Sequence[str] | None = None,
    whole: bool = False,
) -> str:
    """The tables of all studies among records, or another of the paper's tables.

    Args:
        records: Usable runs of any studies.
        form: One of FORMATS.
        style: One of STYLES; csv has all columns in either.
        of: One of OF; all but the first have the paper's rows, and need no records.
        columns: As ``View`` has them.
        whole: The same.
    """
    found = studies(records)
    if of != OF[0]:
        return written_reference(of, found, records, form)
    return written(found, form, View(style, columns, whole))


def written(found: Sequence[Study], form: str, view: View = View()) -> str:
    """The tables of studies, as ``render``; csv is all of them in one, raw numbers."""
    if form == "csv":
        return csv([tidy(study, view.whole) for study in found])
    return text([view.table(study, form) for study in found], form)


def written_claims(found: Sequence[Study], form: str) -> str:
    """The paper's claims held against studies; csv is all of them in one, raw numbers."""
    if form == "csv":
        return csv([claims_tidy(study) for study in found])
    return text([claims(study) for study in found], form)


def written_reference(of: str, found: Sequence[Study], records: Sequence[Record], form: str) -> str:
    """Another of the paper's tables, with our rows among the published ones.

    Args:
        of: One of OF but the first.
        found: Studies of ImageNet or of sizes.
        records: Runs of other tasks.
        form: One of FORMATS.
    """
    if of == "imagenet":
        tidied, shown = [reference.imagenet_tidy(found)], [reference.imagenet(found)]
    elif of == "sizes":
        tidied = [reference.sizes_tidy(found)]
        shown = [reference.sizes(study) for study in found] or [reference.sizes()]
    else:
        tidied = [reference.downstream_tidy(of, records)]
        shown = [reference.downstream(of, records)]
    return csv(tidied) if form == "csv" else text(shown, form)


def csv(frames: Sequence[pd.DataFrame]) -> str:
    """Raw numbers as CSV, all in one; empty for none."""
    if not frames:
        return ""
    whole = pd.concat(frames, ignore_index=True)
    for name, column in whole.items():
        if column.dtype in (float, object):  # counts are whole numbers
            short = [columns.rounded(c) if isinstance(c, float) else c for c in column]
            whole[name] = pd.Series(short, column.index, column.dtype)
    return escape.csv(whole)


def text(tables: Sequence[Table], form: str) -> str:
    """Tables one below the other.

    Args:
        tables: The tables.
        form: md, tex, WIDE or html.
    """
    if form == "html":
        from ablations.tables.html_page import page  # great_tables takes a second

        return page(tables)
    if form in ("tex", WIDE):
        return latex(tables, wide=form == WIDE)
    return "\n".join(map(markdown, tables))
