"""Differences as small SVG plots, all rows of a table on one scale.

What lies beyond the scale is an arrow at its edge, with its number in words.
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

WIDTH, HEIGHT, MARGIN = 216, 22, 14  # pixels; arrows and half of a mark stand in the margin
MIDDLE = HEIGHT / 2
# Told apart by shape and, for most who see colours differently too, by colour (Okabe and Ito).
OURS, PAPER, ZERO, GRID = "#0072b2", "#d55e00", "#555", "#ddd"


def x_of(value: float, scale: Scale) -> float:
    """A value's position in pixels; that of the nearer end for one beyond the scale."""
    return round(MARGIN + scale.fraction(value) * (WIDTH - 2 * MARGIN), 2)


def scale_of(rows: Sequence[PlottedDifference]) -> Scale:
    """One scale for all rows."""
    return fit_scale([value for row in rows for value in row.values])


def describe(drawn: PlottedDifference) -> str:
    """What a picture shows, for those who do not see it."""
    if drawn.mean is None:
        told = "no difference of ours"
    else:
        told = f"{signed(drawn.mean, 2)} points"
        if drawn.low is not None and drawn.high is not None:
            ends = f"{signed(drawn.low, 2)} to {signed(drawn.high, 2)}"
            told += f", {CONFIDENCE:.0%} interval {ends}"
    return told if drawn.paper is None else f"{told}; the paper: {signed(drawn.paper)}"


def bar(drawn: PlottedDifference, scale: Scale) -> Markup:
    """A row as SVG: its interval as a bar, its mean as a dot, the paper's value as a diamond."""
    picture = svg.picture("bar", WIDTH, HEIGHT, describe(drawn))
    svg.add(picture, "path", "grid", d=_ticks(scale, 0), stroke=GRID)
    svg.add(picture, "path", "zero", d=f"M{x_of(0, scale):g} 0V{HEIGHT}", stroke=ZERO)
    ours = [value for value in (drawn.low, drawn.mean, drawn.high) if value is not None]
    if drawn.low is not None and drawn.high is not None:
        left, right = x_of(drawn.low, scale), x_of(drawn.high, scale)
        place = {"x": left, "y": MIDDLE - 3, "width": round(right - left, 2), "height": 6}
        svg.add(picture, "rect", "interval", **place, fill=OURS, opacity=0.4)
    if drawn.mean is not None and not scale.side(drawn.mean):
        place = {"cx": x_of(drawn.mean, scale), "cy": MIDDLE, "r": 3.5}
        svg.add(picture, "circle", "mean", **place, fill=OURS)
    for side in sorted({scale.side(value) for value in ours} - {0}):
        svg.add(picture, "polygon", "beyond ours", points=_arrow(side, 4), fill=OURS)
    if drawn.paper is not None:
        if side := scale.side(drawn.paper):
            points, kind = _arrow(side, 7), "beyond paper"  # seen behind ours
        else:
            points, kind = _diamond(x_of(drawn.paper, scale)), "paper"
        svg.add(picture, "polygon", kind, points=points, fill="none", stroke=PAPER)
        picture[-1].set("stroke-width", "1.5")
    return svg.markup(picture)


def axis(scale: Scale) -> Markup:
    """The scale as SVG, for the head of the column."""
    ends = f"scale from {_name(scale.low, scale)} to {_name(scale.high, scale)} points"
    picture = svg.picture("axis", WIDTH, HEIGHT, ends)
    svg.add(picture, "path", "line", d=_ticks(scale, HEIGHT - 5), stroke=ZERO)
    for tick in scale.ticks:
        svg.write(picture, _name(tick, scale), x_of(tick, scale), HEIGHT - 8, "middle")
    return svg.markup(picture)


def legend(rows: Sequence[PlottedDifference], scale: Scale) -> str:
    """How to read the pictures, as far as there is something to read."""
    told = []
    if any(row.mean is not None for row in rows):
        told.append("a dot is the difference from the baseline in points")
    if any(row.low is not None for row in rows):
        told.append(f"the bar around it its {CONFIDENCE:.0%} interval")
    if any(row.paper is not None for row in rows):
        told.append("a hollow diamond the paper's difference")
    told.append("the dark line zero")
    line = f"Drawn on one scale: {', '.join(told)}."
    if any(scale.side(value) for row in rows for value in row.values):
        line += " An arrow points at what lies beyond the scale: ours full, the paper's hollow."
    return line


def _name(tick: float, scale: Scale) -> str:
    return signed(tick, max(0, -math.floor(math.log10(scale.step))))


def _ticks(scale: Scale, top: float) -> str:
    return "".join(f"M{x_of(tick, scale):g} {top:g}V{HEIGHT}" for tick in scale.ticks)


def _arrow(side: int, half: float) -> str:
    """A triangle in the margin, its tip at the left (-1) or right (1) edge."""
    tip = WIDTH - 1 if side > 0 else 1
    back = tip - 9 * side
    return f"{tip},{MIDDLE:g} {back},{MIDDLE - half:g} {back},{MIDDLE + half:g}"


def _diamond(x: float) -> str:
    corners = [(x - 5.5, MIDDLE), (x, MIDDLE - 5.5), (x + 5.5, MIDDLE), (x, MIDDLE + 5.5)]
    return " ".join(f"{a:g},{b:g}" for a, b in corners)
