"""Forest plot: each variant's difference from the baseline, with the paper's beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ablations.analysis.method_notes import method_note
from ablations.analysis.rows import Row
from ablations.analysis.scale import bulk_limit
from ablations.analysis.stats import ALPHA
from ablations.analysis.study import Study
from ablations.config import naming
from ablations.figures.drawing import (
    BLUE,
    GREY,
    VERMILLION,
    StyledFigure,
    draw_estimate,
    figure_style,
    legend,
    legend_entry,
    new_figure,
    padded,
)
from ablations.figures.labels import (
    dagger_notes,
    plot_label,
    row_label,
    signed_points,
    stack_labels,
    text_width,
    write_beside,
)
from ablations.text.phrases import pluralize

OURS, PAPER = BLUE, VERMILLION
OURS_HEADING = "ours [95% CI]"
LABEL_SIZE = 8.0  # points
SMALL, GAP = 7.5, 7.0  # size and distance of the numbers beside the axes, in points
Lines = Sequence[tuple[float, Row | str]]  # the position of each row and section title


@figure_style()
def forest_plot(study: Study) -> StyledFigure:
    """Each variant's difference from the baseline in percentage points, with its 95% interval.

    The paper's difference is drawn below ours. A row of one seed is an open mark without an
    interval; a row without a result says so.
    """
    rows = [row for row in study.rows if row is not study.baseline]
    lines = _with_section_titles(rows)
    labels, positions, height = stack_labels([*map(_label, lines)], LABEL_SIZE)
    figure = new_figure(1.5 + 0.205 * max(4, height), _title(study, rows), _notes(study, rows))
    axes = figure.add_subplot()
    _set_limits(axes, rows)
    axes.set_ylim(max(1, height) - 0.4, -0.6)
    placed = [*zip(positions, lines, strict=True)]
    for y, line in placed:
        if isinstance(line, Row):
            _draw_row(axes, y, line)
    _write_labels(axes, labels, placed)
    axes.axvline(0, color="black", linewidth=0.9, zorder=1)
    axes.set_xlabel("Difference from the baseline's top-1 (percentage points)")
    axes.grid(visible=False, axis="y")
    if rows:
        _write_numbers(axes, placed)
    legend(figure, _legend_entries(axes), columns=4)
    return figure


def _with_section_titles(rows: Sequence[Row]) -> list[Row | str]:
    """Rows, with the title of each section before its first row."""
    lines: list[Row | str] = []
    for before, row in zip([None, *rows], rows, strict=False):
        if before is None or before.axis != row.axis:
            lines.append(row.axis)
        lines.append(row)
    return lines


def _set_limits(axes: Axes, rows: Sequence[Row]) -> None:
    """Limits of the x axis over the bulk of all differences and interval ends."""
    values = [0.0]
    for row in rows:
        delta = row.delta
        found = [delta.mean, delta.low, delta.high] if delta else []
        values += [value for value in (*found, _paper_delta(row)) if value is not None]
    limit = bulk_limit(values)
    kept = [value for value in values if abs(value) <= limit]
    axes.set_xlim(*padded(min(kept), max(kept), 0.07))


def _draw_row(axes: Axes, y: float, row: Row) -> None:
    """Our difference a little above the row's line, the paper's a little below."""
    if row.delta is not None:
        mean, low, high = row.delta.mean, row.delta.low, row.delta.high
        interval = None if low is None or high is None else (low, high)
        look: dict[str, Any] = {"color": OURS, "marker": "o", "mfc": OURS if interval else "white"}
        look |= {"arrow_shift": -0.1, "bar": {"linewidth": 1.8}}
        side = draw_estimate(axes, mean, y - 0.12, interval, f"ours: {row.label}", **look)
        _write_at_edge(axes, side, y - 0.22, signed_points(mean), OURS)
    if (paper := _paper_delta(row)) is not None:
        look = {"color": PAPER, "marker": "D", "mfc": "white", "markersize": 4.2}
        look |= {"arrow_shift": 0.06}
        side = draw_estimate(axes, paper, y + 0.2, None, f"paper: {row.label}", **look)
        _write_at_edge(axes, side, y + 0.26, signed_points(paper, 1), PAPER)


def _write_at_edge(axes: Axes, side: int, y: float, text: str, color: str) -> None:
    """Write the number of an arrow at the left (-1) or right (1) edge of the axes; none for 0."""
    if side:
        axes.annotate(
            text,
            (axes.get_xlim()[side > 0], y),
            (-7 * side, 0),
            textcoords="offset points",
            ha="left" if side < 0 else "right",
            va="center_baseline",
            fontsize=6.5,
            color=color,
        )


def _label(line: Row | str) -> str:
    return plot_label(line) if isinstance(line, str) else f"   {row_label(line)}"


def _write_labels(axes: Axes, labels: Sequence[str], placed: Lines) -> None:
    axes.set_yticks([y for y, _ in placed], labels, ha="left")
    lines = [line for label in labels for line in label.split("\n")]
    pad = text_width(lines, LABEL_SIZE, bold=True) + 8
    axes.tick_params(axis="y", labelsize=LABEL_SIZE, length=0, pad=pad)
    for (_, line), text in zip(placed, axes.get_yticklabels(), strict=True):
        text.set_linespacing(1.0)
        if isinstance(line, str):
            text.set_fontweight("bold")


def _write_numbers(axes: Axes, placed: Lines) -> None:
    """Our numbers and the paper's, right of the axes."""
    rows = [(y, line) for y, line in placed if isinstance(line, Row)]
    texts = [_numbers(row) for _, row in rows]
    second = GAP + text_width([*texts, OURS_HEADING], SMALL, bold=True) + 8
    papers = [_paper_delta(row) for _, row in rows]
    write_beside(axes, 0, OURS_HEADING, GAP, color=OURS, fontweight="bold")
    if any(paper is not None for paper in papers):
        write_beside(axes, 0, "paper", second, color=PAPER, fontweight="bold")
    for (y, row), text, paper in zip(rows, texts, papers, strict=True):
        write_beside(axes, y, text, GAP, fontweight="bold" if _differs(row) else "normal")
        if paper is not None:
            write_beside(axes, y, signed_points(paper, 1), second)


def _numbers(row: Row) -> str:
    if row.delta is None:
        return "" if row.top1 else "no result"
    if row.delta.low is None or row.delta.high is None:
        why = "no spread" if row.delta.constant else "one seed"
        return f"{signed_points(row.delta.mean)} [{why}]"
    mean, low, high = map(signed_points, (row.delta.mean, row.delta.low, row.delta.high))
    return f"{mean} [{low}, {high}]"


def _paper_delta(row: Row) -> float | None:
    return row.paper.delta if row.paper and row.axis != naming.BASELINE else None


def _title(study: Study, rows: Sequence[Row]) -> str:
    base = study.baseline
    if base is None or base.top1 is None:
        return "No baseline in this study, so no differences of ours"
    if not rows:
        return "Only the baseline in this study, so no differences"
    std = "" if base.top1.std is None else f" ± {base.top1.std:.2f}"
    usual = f"the baseline ({base.top1.mean:.2f}{std}% top-1, n = {base.top1.n})"
    if not any(row.delta and row.delta.p is not None for row in rows):
        return f"Differences from {usual}, without an interval"
    count = sum(map(_differs, rows))
    verb = "differs" if count < 2 else "differ"
    return f"{count or 'None'} of {pluralize(len(rows), 'variant')} {verb} from {usual}"


def _differs(row: Row) -> bool:
    """Whether a row differs from the baseline."""
    return row.delta is not None and row.delta.significant


def _notes(study: Study, rows: Sequence[Row]) -> list[str]:
    paper = " The paper: ImageNet-1K, 300 epochs." if any(row.paper for row in rows) else ""
    notes = [f"Ours: {study.name}.{paper}", method_note(study.comparisons, "all rows")]
    if any(map(_differs, rows)):
        notes.append(f"Bold: it differs, p < {ALPHA}.")
    return notes + dagger_notes(rows)


def _legend_entries(axes: Axes) -> list[Line2D]:
    """An entry for each kind of mark in the plot."""
    lines = [(str(line.get_gid() or ""), line) for line in axes.get_lines()]
    names = [name for name, _ in lines]
    faces = {line.get_markerfacecolor() for name, line in lines if name.startswith("ours")}
    hollow: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white"}
    entries = []
    if any(name.startswith("interval") for name in names):
        label = "ours: mean difference and 95% interval"
        entries.append(legend_entry(label, marker="o", color=OURS))
    if "white" in faces:
        entries.append(legend_entry("ours, no interval", marker="o", color=OURS, **hollow))
    if any(name.startswith("paper") for name in names):
        entries.append(legend_entry("the paper's", marker="D", color=PAPER, **hollow))
    if any(name.endswith("off the axis") for name in names):
        look = {"marker": "<", "color": GREY, "linestyle": "none"}
        entries.append(legend_entry("off the axis, with its value", **look))
    return entries
