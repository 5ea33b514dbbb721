"""Studies -> the text of their tables in a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablations.analysis.build import build_studies
from ablations.analysis.study import Study
from ablations.store.load import TASK_METRICS
from ablations.store.records import Record
from ablations.tables.ablation import NARROW, PAGE, WIDTH, study_table
from ablations.tables.downstream import downstream_table
from ablations.tables.folding import table_width
from ablations.tables.formats import render_csv, render_latex, render_markdown
from ablations.tables.imagenet import imagenet_table
from ablations.tables.selection import ALL_ROWS, RowSelection
from ablations.tables.sizes import sizes_table
from ablations.tables.table import Table

FORMATS = ["md", "csv", "tex", "html"]
WIDE_LATEX = "tex*"  # LaTeX over both columns of a page
KINDS = ["ablation", "imagenet", "sizes", *TASK_METRICS]


@dataclass(frozen=True)
class View:
    """What ablation tables show.

    Args:
        style: One of STYLES.
        columns: Headings of the columns; None for those that suit the format.
        all_rows: Whether to add the rows of the paper that a study lacks.
        selection: Which rows, in which order, under which names.
    """

    style: str = "full"
    columns: Sequence[str] | None = None
    all_rows: bool = False
    selection: RowSelection = ALL_ROWS

    def table(self, study: Study, form: str) -> Table:
        """The table of a study."""
        columns = self.columns or (PAGE if form == "html" else NARROW)
        table = study_table(study, self.style, columns, self.all_rows, self.selection)
        if self.columns is None and (self.style == "full" or table_width(table.frame) > WIDTH):
            table.width = WIDTH
        return table


def render(
    records: Sequence[Record], form: str, style: str = "full", of: str = KINDS[0], **view: Any
) -> str:
    """The tables of all studies among records, or another of the paper's tables.

    Args:
        records: Usable runs of any studies.
        form: One of FORMATS.
        style: One of STYLES; csv has all columns in either.
        of: One of KINDS; all but the first show the paper's rows too, and need no records.
        view: The other fields of ``View``.
    """
    studies = build_studies(records)
    if of != KINDS[0]:
        return render_published(of, studies, records, form)
    return render_studies(studies, form, View(style, **view))


def render_studies(studies: Sequence[Study], form: str, view: View = View()) -> str:
    """The ablation tables of studies."""
    return render_tables([view.table(study, form) for study in studies], form)


def render_published(
    of: str, studies: Sequence[Study], records: Sequence[Record], form: str
) -> str:
    """Another of the paper's tables, with our rows among the published ones.

    Args:
        of: One of KINDS but the first.
        studies: Studies of ImageNet or of sizes.
        records: Runs of other tasks.
        form: One of FORMATS.
    """
    match of:
        case "imagenet":
            tables = [imagenet_table(studies)]
        case "sizes":
            tables = [sizes_table(study) for study in studies]
            if form == "csv" or not studies:
                tables.append(sizes_table())
        case _:
            tables = [downstream_table(of, records)]
    return render_tables(tables, form)


def render_tables(tables: Sequence[Table], form: str) -> str:
    """Tables one below the other; csv is raw numbers, all in one.

    Args:
        tables: The tables.
        form: One of FORMATS, or WIDE_LATEX.
    """
    match form:
        case "csv":
            return render_csv(tables)
        case "html":
            from ablations.tables.html_tables import html_page  # great_tables takes a second

            return html_page(tables)
        case "tex" | "tex*":
            return render_latex(tables, wide=form == WIDE_LATEX)
        case _:
            return "\n".join(map(render_markdown, tables))
