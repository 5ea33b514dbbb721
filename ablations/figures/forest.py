"""Each variant's difference from the baseline, the paper's beside it: the table as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

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
    legend,
    legend_entry,
    new_figure,
    plot_label,
    signed_points,
    stack_labels,
    text_width,
    with_style,
)
from ablations.text.phrases import pluralize

OURS, PAPER = BLUE, VERMILLION
OURS_HEADING = "ours [95% CI]"
Placed = tuple[float, Row | str]
NAMES = 8.0  # size of names in points
SMALL, GAP = 7.5, 7.0  # size and distance of numbers beside an axes, in points


@with_style
def forest_plot(study: Study) -> StyledFigure:
    """Each variant's difference from the baseline in percentage points, with its 95% interval.

    The paper's difference stands beside it. A row of one seed is an open mark without an interval;
    a row without a result says so.
    """
    rows = [row for row in study.rows if row is not study.baseline]
    lines = _sectioned(rows)
    notes = _notes(study, rows)
    names, places, height = stack_labels([*map(_name, lines)], NAMES)
    made = new_figure(1.5 + 0.205 * max(4, height), _title(study, rows), notes)
    axes = made.add_subplot()
    _window(axes, rows)
    axes.set_ylim(max(1, height) - 0.4, -0.6)
    placed = [*zip(places, lines, strict=True)]
    for place, line in placed:
        if isinstance(line, Row):
            _compared(axes, place, line)
    _named(axes, names, placed)
    axes.axvline(0, color="black", linewidth=0.9, zorder=1)
    axes.set_xlabel("Difference from the baseline's top-1 (percentage points)")
    axes.grid(visible=False, axis="y")
    if rows:
        _columns(axes, placed)
    legend(made, _keys(axes), columns=4)
    return made


def _sectioned(rows: Sequence[Row]) -> list[Row | str]:
    """Rows, each section's name before its first."""
    lines: list[Row | str] = []
    for before, row in zip([None, *rows], rows, strict=False):
        if before is None or before.axis != row.axis:
            lines.append(row.axis)
        lines.append(row)
    return lines


def _window(axes: Axes, rows: Sequence[Row]) -> None:
    values = [0.0]
    for row in rows:
        if row.delta:
            ends = (row.delta.mean, row.delta.low, row.delta.high)
            values += [value for value in ends if value is not None]
        if (paper := _of_paper(row)) is not None:
            values.append(paper)
    limit = bulk_limit(values)
    kept = [value for value in values if abs(value) <= limit]
    margin = 0.07 * (max(kept) - min(kept)) or 1.0
    axes.set_xlim(min(kept) - margin, max(kept) + margin)


def _compared(axes: Axes, place: float, row: Row) -> None:
    """One row: ours a little above its line, the paper's a little below, so that both are seen."""
    if row.delta is not None:
        mean, low, high = row.delta.mean, row.delta.low, row.delta.high
        face = "white" if low is None else OURS
        if low is not None and high is not None:
            _interval(axes, place - 0.12, low, high, row.label)
        _mark(axes, mean, place - 0.12, f"ours: {row.label}", 2, OURS, marker="o", mfc=face)
    if (paper := _of_paper(row)) is not None:
        look = {"marker": "D", "mfc": "white", "markersize": 4.2}
        _mark(axes, paper, place + 0.2, f"paper: {row.label}", 1, PAPER, **look)


def _interval(axes: Axes, height: float, low: float, high: float, label: str) -> None:
    """A bar from low to high; where it goes on beyond the axis, an arrow at the edge."""
    left, right = axes.get_xlim()
    if low >= right or high <= left:
        return
    span = [max(low, left), min(high, right)]
    axes.plot(span, [height] * 2, color=OURS, linewidth=1.8, gid=f"interval: {label}")
    for edge, toward, beyond in ((left, "<", low < left), (right, ">", high > right)):
        if beyond:
            axes.plot(edge, height, marker=toward, color=OURS, clip_on=False, gid="goes on")


def _mark(
    axes: Axes, value: float, height: float, name: str, digits: int, colour: str, **look: Any
) -> None:
    """A mark at a value; off the axis, an arrow at its edge and the number."""
    left, right = axes.get_xlim()
    if left <= value <= right:
        axes.plot(value, height, color=colour, linestyle="none", gid=name, zorder=3, **look)
        return
    height += -0.1 if colour == OURS else 0.06  # two numbers, one above the other
    edge, toward, away = (left, "<", 7) if value < left else (right, ">", -7)
    arrow: dict[str, Any] = {"marker": toward, "color": colour, "clip_on": False, "zorder": 4}
    axes.plot(edge, height, linestyle="none", gid=f"{name} off the axis", **arrow)
    axes.annotate(
        signed_points(value, digits),
        (edge, height),
        (away, 0),
        textcoords="offset points",
        ha="left" if away > 0 else "right",
        va="center_baseline",
        fontsize=6.5,
        color=colour,
    )


def _name(line: Row | str) -> str:
    if isinstance(line, str):
        return plot_label(line)
    return f"   {plot_label(line.label)}{'†' * bool(line.also_changes)}"


def _named(axes: Axes, names: Sequence[str], placed: Sequence[Placed]) -> None:
    axes.set_yticks([place for place, _ in placed], names, ha="left")
    wide = text_width([line for name in names for line in name.split("\n")], NAMES, bold=True)
    axes.tick_params(axis="y", labelsize=NAMES, length=0, pad=wide + 8)
    for (_, line), text in zip(placed, axes.get_yticklabels(), strict=True):
        text.set_linespacing(1.0)
        if isinstance(line, str):
            text.set_fontweight("bold")


def _columns(axes: Axes, placed: Sequence[Placed]) -> None:
    """The numbers beside the marks, ours and the paper's."""
    texts = [_numbers(line) for _, line in placed if isinstance(line, Row)]
    second = GAP + text_width([*texts, OURS_HEADING], SMALL, bold=True) + 8
    theirs = {place: _of_paper(line) for place, line in placed if isinstance(line, Row)}
    _beside(axes, 0, GAP, OURS_HEADING, color=OURS, fontweight="bold")
    if any(paper is not None for paper in theirs.values()):
        _beside(axes, 0, second, "paper", color=PAPER, fontweight="bold")
    for place, line in placed:
        if isinstance(line, Row):
            weight = "bold" if _sure(line) else "normal"
            _beside(axes, place, GAP, _numbers(line), fontweight=weight)
            if (paper := theirs[place]) is not None:
                _beside(axes, place, second, signed_points(paper, 1))


def _beside(axes: Axes, place: float, offset: float, text: str, **look: Any) -> None:
    axes.annotate(
        text,
        (1, place),
        (offset, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=SMALL,
        annotation_clip=False,
        **look,
    )


def _numbers(row: Row) -> str:
    if row.delta is None:
        return "" if row.top1 else "no result"
    if row.delta.low is None or row.delta.high is None:
        why = "no spread" if row.delta.constant else "one seed"
        return f"{signed_points(row.delta.mean)} [{why}]"
    mean, low, high = map(signed_points, (row.delta.mean, row.delta.low, row.delta.high))
    return f"{mean} [{low}, {high}]"


def _of_paper(row: Row) -> float | None:
    return row.paper.delta if row.paper and row.axis != naming.BASELINE else None


def _title(study: Study, rows: Sequence[Row]) -> str:
    base = study.baseline
    if base is None or base.top1 is None:
        return "No baseline in this study, so no differences of ours"
    if not rows:
        return "Only the baseline in this study, so no differences"
    std = "" if base.top1.std is None else f" ± {base.top1.std:.2f}"
    usual = f"the baseline ({base.top1.mean:.2f}{std}% top-1, n = {base.top1.n})"
    if not any(row.p_holm is not None for row in rows):
        return f"Differences from {usual}, without an interval"
    sure = sum(map(_sure, rows))
    verb = "differs" if sure < 2 else "differ"
    return f"{sure or 'None'} of {pluralize(len(rows), 'variant')} {verb} from {usual}"


def _sure(row: Row) -> bool:
    """Whether a row differs from the baseline after the correction over its table."""
    return row.p_holm is not None and row.p_holm < ALPHA


def _notes(study: Study, rows: Sequence[Row]) -> list[str]:
    theirs = " The paper: ImageNet-1K, 300 epochs." if any(row.paper for row in rows) else ""
    told = [f"Ours: {study.name}.{theirs}"]
    if any(map(_sure, rows)):
        told.append(f"Bold: it differs, p < {ALPHA} after Holm's correction over the table.")
    if any(row.also_changes for row in rows):
        told.append("† Changes more than its axis: the footnotes of the table say what.")
    return told


def _keys(axes: Axes) -> list[Line2D]:
    """An entry for each kind of mark that is there."""
    drawn = axes.get_lines()
    names = [str(line.get_gid() or "") for line in drawn]
    hollow: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white"}
    entries = [
        (
            "interval",
            legend_entry("ours: mean difference and 95% t interval", marker="o", color=OURS),
        ),
        ("open", legend_entry("ours, no interval", marker="o", color=OURS, **hollow)),
        ("paper", legend_entry("the paper's", marker="D", color=PAPER, **hollow)),
        (
            "off",
            legend_entry("off the axis, with its value", marker="<", color=GREY, linestyle="none"),
        ),
    ]
    there = {
        "interval": any(name.startswith("interval") for name in names),
        "open": any(
            name.startswith("ours") and line.get_markerfacecolor() == "white"
            for name, line in zip(names, drawn, strict=True)
        ),
        "paper": any(name.startswith("paper") for name in names),
        "off": any(name.endswith("off the axis") for name in names),
    }
    return [entry for name, entry in entries if there[name]]
