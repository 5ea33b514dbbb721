"""Readability: nothing overlaps or is cut off, axes have units, colours differ."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from ablations import figures
from ablations.figures import drawing
from tests.factories.figures import BASE, OTHER, STUDIES, every_figure, made_up


@pytest.mark.slow  # all figures of ten studies
@pytest.mark.parametrize("name", list(STUDIES))
def test_figures_of_unusual_studies_are_readable(name):
    study, lines = made_up(STUDIES[name])
    for what, figure in every_figure(study, lines, most=1).items():
        check_layout(figure, f"{name}, {what}")


def test_figures_of_the_embedded_study_are_readable(drawn):
    for what, figure in drawn.items():
        check_layout(figure, what)


def check_layout(figure: Figure, what: str) -> None:
    """The legend covers no axes, nothing is cut off, and no text lies on another."""
    page = figure.bbox
    for legend in figure.legends:
        box = legend.get_window_extent()
        for axes in figure.axes:
            assert not box.overlaps(axes.get_tightbbox()), f"{what}: the legend is on an axes"
    boxes = [(text, text.get_window_extent()) for text in texts_of(figure)]
    for text, box in boxes:
        inside = box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1
        inside = inside and box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1
        assert inside, f"{what}: {text.get_text()!r} is cut off"
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        message = f"{what}: {one.get_text()!r} is on {other.get_text()!r}"
        assert across < 2 or up < 4, message  # pixels; a box has room above its letters
    for axes in figure.axes:
        assert axes.bbox.width > 0.25 * page.width, what
        for label in (axes.get_xlabel(), axes.get_ylabel()):
            units = r"(\((%|points|percentage points|G|M|images/s|×)\)|^Epoch)$"
            assert not label or re.search(units, label), f"{what}: {label!r} has no unit"
        assert axes.get_xlabel() or len(figure.axes) == 4, what  # upper panels share the lower's


def texts_of(figure: Figure) -> list[Text]:
    """All visible texts."""
    found = [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()
    ]
    ticks = {
        id(text)
        for axes in figure.axes
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in axis.get_major_ticks()
        for text in (tick.label1, tick.label2)
        if not (min(low, high) <= tick.get_loc() <= max(low, high)) or not tick.label1.get_visible()
    }
    return [text for text in found if id(text) not in ticks]


def test_the_layout_check_detects_errors():
    study, _ = made_up([*BASE, *OTHER])
    for break_it, message in BROKEN.items():
        figure = figures.forest_plot(study)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        break_it(figure)
        figure.draw_without_rendering()
        with pytest.raises(AssertionError, match=message):
            check_layout(figure, "broken")


BROKEN: dict[Callable[[Figure], object], str] = {
    lambda figure: figure.legends[0].set_loc("center"): "the legend is on an axes",
    lambda figure: figure.text(0.9, 0.5, "a text that is too long"): "is cut off",
    lambda figure: figure.text(0.01, 0.03, "small print"): "is on",
    lambda figure: figure.axes[0].set_xlabel("Difference"): "has no unit",
}


# Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency" (IEEE TVCG 15, 2009), severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(colour: str, blindness: str) -> np.ndarray:
    """CIELAB (D65) of a colour, as a colour-blind reader sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(BLINDNESS[blindness]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, blindness: str) -> float:
    """CIE76; 2.3 is just noticeable."""
    return float(np.linalg.norm(lab(one, blindness) - lab(other, blindness)))


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_differ_for_colour_blind_readers(blindness):
    used = [drawing.BLACK, "#FFFFFF", *drawing.CYCLE]
    for one, other in itertools.combinations(used, 2):
        assert distance(one, other, blindness) > 10, (one, other)


def test_the_colour_check_detects_errors():
    assert distance("#FF0000", "#FF0000", "none") == 0
    assert distance("#D62728", "#2CA02C", "none") > 100  # matplotlib's own red and green
    assert distance("#D62728", "#2CA02C", "deuteranopia") < 35
    assert distance("#8C8C00", "#B37700", "protanopia") < 10


def test_no_two_lines_of_a_figure_look_alike(drawn):
    """Colour, mark and dash together identify a line."""
    for what, figure in drawn.items():
        looks: dict[tuple[object, ...], str] = {}
        for line in figure.legends[0].get_lines():
            look = (line.get_color(), line.get_marker(), str(line.get_linestyle()))
            if line.get_marker() not in ("None", None) and line.get_label().strip():
                assert look not in looks, f"{what}: {line.get_label()} and {looks[look]}"
                looks[look] = line.get_label()
