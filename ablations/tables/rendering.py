"""Studies -> the text of their tables in a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ablations.analysis.build import build_studies
from ablations.analysis.study import Study
from ablations.store.load import TASK_METRICS
from ablations.store.records import Record
from ablations.tables.ablation import NARROW, PAGE, WIDTH, ablation_frame, ablation_table
from ablations.tables.claims import claims_frame, claims_table
from ablations.tables.csv_values import without_noise
from ablations.tables.downstream import downstream_frame, downstream_table
from ablations.tables.folding import table_width
from ablations.tables.formats import render_latex, render_markdown
from ablations.tables.imagenet import imagenet_frame, imagenet_table
from ablations.tables.sizes import sizes_frame, sizes_table
from ablations.tables.table import Table
from ablations.text import escape

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
    """

    style: str = "full"
    columns: Sequence[str] | None = None
    all_rows: bool = False

    def table(self, study: Study, form: str) -> Table:
        """The table of a study."""
        columns = self.columns or (PAGE if form == "html" else NARROW)
        table = ablation_table(study, self.style, columns, self.all_rows)
        if self.columns is None and (self.style == "full" or table_width(table.frame) > WIDTH):
            table.width = WIDTH
        return table


def render(
    records: Sequence[Record],
    form: str,
    style: str = "full",
    of: str = KINDS[0],
    columns: Sequence[str] | None = None,
    all_rows: bool = False,
) -> str:
    """The tables of all studies among records, or another of the paper's tables.

    Args:
        records: Usable runs of any studies.
        form: One of FORMATS.
        style: One of STYLES; csv has all columns in either.
        of: One of KINDS; all but the first show the paper's rows too, and need no records.
        columns: As in ``View``.
        all_rows: As in ``View``.
    """
    studies = build_studies(records)
    if of != KINDS[0]:
        return render_published(of, studies, records, form)
    return render_studies(studies, form, View(style, columns, all_rows))


def render_studies(studies: Sequence[Study], form: str, view: View = View()) -> str:
    """The ablation tables of studies; csv is all of them in one, raw numbers."""
    if form == "csv":
        return render_csv([ablation_frame(study, view.all_rows) for study in studies])
    return render_tables([view.table(study, form) for study in studies], form)


def render_claims(studies: Sequence[Study], form: str) -> str:
    """The verdicts on the paper's claims for studies; csv is all of them in one, raw numbers."""
    if form == "csv":
        return render_csv([claims_frame(study) for study in studies])
    return render_tables([claims_table(study) for study in studies], form)


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
            frame, tables = imagenet_frame(studies), [imagenet_table(studies)]
        case "sizes":
            frame = sizes_frame(studies)
            tables = [sizes_table(study) for study in studies] or [sizes_table()]
        case _:
            frame, tables = downstream_frame(of, records), [downstream_table(of, records)]
    return render_csv([frame]) if form == "csv" else render_tables(tables, form)


def render_csv(frames: Sequence[pd.DataFrame]) -> str:
    """Raw numbers as CSV, all in one; empty for none."""
    if not frames:
        return ""
    whole = pd.concat(frames, ignore_index=True)
    for name, column in whole.items():
        if column.dtype in (float, object):  # counts are whole numbers
            short = [without_noise(c) if isinstance(c, float) else c for c in column]
            whole[name] = pd.Series(short, column.index, column.dtype)
    return escape.csv(whole)


def render_tables(tables: Sequence[Table], form: str) -> str:
    """Tables one below the other.

    Args:
        tables: The tables.
        form: md, tex, WIDE_LATEX or html.
    """
    if form == "html":
        from ablations.tables.html_tables import html_page  # great_tables takes a second

        return html_page(tables)
    if form in ("tex", WIDE_LATEX):
        return render_latex(tables, wide=form == WIDE_LATEX)
    return "\n".join(map(render_markdown, tables))
