"""Differences as small SVG plots, all rows of a table on one scale.

A value beyond the scale is an arrow at its edge; the title of the plot has the number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from ablations.analysis.scale import Scale, fit_scale
from ablations.analysis.stats import CONFIDENCE
from ablations.page import svg
from ablations.tables.cells import signed
from ablations.tables.table import PlottedDifference

WIDTH, HEIGHT, MARGIN = 216, 22, 14  # pixels; the margin has room for arrows
MIDDLE = HEIGHT / 2
# Colours of Okabe and Ito, which most colour-blind readers distinguish; shapes differ too.
OURS, PAPER, ZERO, GRID = "#0072b2", "#d55e00", "#555", "#ddd"


def _x(value: float, scale: Scale) -> float:
    """A value's position in pixels; that of the nearer end for one beyond the scale."""
    return round(MARGIN + scale.fraction(value) * (WIDTH - 2 * MARGIN), 2)


def common_scale(rows: Sequence[PlottedDifference]) -> Scale:
    """One scale for all rows."""
    return fit_scale([value for row in rows for value in row.values])


def description(drawn: PlottedDifference) -> str:
    """What a plot shows, for screen readers."""
    if drawn.mean is None:
        text = "no difference of ours"
    else:
        text = f"{signed(drawn.mean, 2)} points"
        if drawn.low is not None and drawn.high is not None:
            ends = f"{signed(drawn.low, 2)} to {signed(drawn.high, 2)}"
            text += f", {CONFIDENCE:.0%} interval {ends}"
    return text if drawn.paper is None else f"{text}; the paper: {signed(drawn.paper)}"


def interval_svg(drawn: PlottedDifference, scale: Scale) -> Markup:
    """A row as SVG: its interval as a bar, its mean as a dot, the paper's value as a diamond."""
    canvas = svg.canvas("bar", WIDTH, HEIGHT, description(drawn))
    svg.add(canvas, "path", "grid", d=_ticks(scale, 0), stroke=GRID)
    svg.add(canvas, "path", "zero", d=f"M{_x(0, scale):g} 0V{HEIGHT}", stroke=ZERO)
    ours = [value for value in (drawn.low, drawn.mean, drawn.high) if value is not None]
    if drawn.low is not None and drawn.high is not None:
        left, right = _x(drawn.low, scale), _x(drawn.high, scale)
        box = {"x": left, "y": MIDDLE - 3, "width": round(right - left, 2), "height": 6}
        svg.add(canvas, "rect", "interval", **box, fill=OURS, opacity=0.4)
    if drawn.mean is not None and not scale.side(drawn.mean):
        centre = {"cx": _x(drawn.mean, scale), "cy": MIDDLE, "r": 3.5}
        svg.add(canvas, "circle", "mean", **centre, fill=OURS)
    for side in sorted({scale.side(value) for value in ours} - {0}):
        svg.add(canvas, "polygon", "beyond ours", points=_arrow(side, 4), fill=OURS)
    if drawn.paper is not None:
        side = scale.side(drawn.paper)  # its arrow is larger than ours, so that both are seen
        points = _arrow(side, 7) if side else _diamond(_x(drawn.paper, scale))
        style = {"points": points, "fill": "none", "stroke": PAPER, "stroke_width": "1.5"}
        svg.add(canvas, "polygon", "beyond paper" if side else "paper", **style)
    return svg.markup(canvas)


def axis_svg(scale: Scale) -> Markup:
    """The scale as SVG, for the head of the column."""
    ends = f"scale from {_name(scale.low, scale)} to {_name(scale.high, scale)} points"
    canvas = svg.canvas("axis", WIDTH, HEIGHT, ends)
    svg.add(canvas, "path", "line", d=_ticks(scale, HEIGHT - 5), stroke=ZERO)
    for tick in scale.ticks:
        svg.write_text(canvas, _name(tick, scale), _x(tick, scale), HEIGHT - 8, "middle")
    return svg.markup(canvas)


def legend(rows: Sequence[PlottedDifference], scale: Scale) -> str:
    """How to read the plots of these rows."""
    parts = []
    if any(row.mean is not None for row in rows):
        parts.append("a dot is the difference from the baseline in points")
    if any(row.low is not None for row in rows):
        parts.append(f"the bar around it its {CONFIDENCE:.0%} interval")
    if any(row.paper is not None for row in rows):
        parts.append("a hollow diamond the paper's difference")
    parts.append("the dark line zero")
    line = f"Drawn on one scale: {', '.join(parts)}."
    if any(scale.side(value) for row in rows for value in row.values):
        line += " An arrow points at a value beyond the scale: ours full, the paper's hollow."
    return line


def _name(tick: float, scale: Scale) -> str:
    return signed(tick, max(0, -math.floor(math.log10(scale.step))))


def _ticks(scale: Scale, top: float) -> str:
    return "".join(f"M{_x(tick, scale):g} {top:g}V{HEIGHT}" for tick in scale.ticks)


def _arrow(side: int, half: float) -> str:
    """A triangle in the margin, its tip at the left (-1) or right (1) edge."""
    tip = WIDTH - 1 if side > 0 else 1
    back = tip - 9 * side
    return f"{tip},{MIDDLE:g} {back},{MIDDLE - half:g} {back},{MIDDLE + half:g}"


def _diamond(x: float) -> str:
    corners = [(x - 5.5, MIDDLE), (x, MIDDLE - 5.5), (x + 5.5, MIDDLE), (x, MIDDLE + 5.5)]
    return " ".join(f"{a:g},{b:g}" for a, b in corners)
