"""What all figures share: palette, style, a new figure, its legend, export, estimates.

Figures are objects of their own, not pyplot's: nothing is registered or shown globally, and a
notebook shows the figure that a cell returns.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, StrMethodFormatter
from matplotlib.transforms import blended_transform_factory
from PIL import Image

from ablations.figures.labels import DPI, FONT, WIDTH, wrap
from ablations.text import escape

# Okabe and Ito's palette (jfly.uni-koeln.de/color, 2002) without yellow, which is faint on white.
# A test checks them with Machado's simulations of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
CYCLE = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY]
# Marks and dashes repeat at other periods than colours, so that no look depends on colour alone.
MARKS = ["o", "s", "^", "D", "v", "P", "X"]
DASHES: list[Any] = ["-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1))]
GREY = "#6E6E6E"


NOTE_HEIGHT = 10.5 / 72  # inches per line of the notes
LEGEND_HEIGHT = 0.6  # inches that a figure reserves for its legend
STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.constrained_layout.use": True,
    "font.family": FONT,
    "font.size": 8.5,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.title_fontsize": 8.0,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.0,
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a dollar in a label is a dollar
    "svg.hashsalt": "ablations",  # the ids in an SVG depend on its contents only
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


class StyledFigure(Figure):
    """A figure that a notebook shows as the value of a cell."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width, height = (round(DPI * inches) for inches in self.get_size_inches())
        return to_png(self), {"width": width, "height": height}


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Draw in the style of this package, whatever the user's matplotlib style; also a decorator."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(height: float, title: str, notes: Sequence[str] = ()) -> StyledFigure:
    """An empty figure with a title at the top and notes in small print at the bottom.

    Args:
        height: In inches, with a title of two lines and three lines of notes; longer texts make the
            figure higher.
        title: The message of the figure.
        notes: What a reader must know, each on a new line.
    """
    heading = wrap(title, 10.5, bold=True)
    lines = [line for text in notes for line in wrap(text, 7.5)]
    height += 0.17 * max(0, len(heading) - 2) + NOTE_HEIGHT * max(0, len(lines) - 3)
    figure = StyledFigure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(figure)
    taken = (NOTE_HEIGHT * len(lines) + 0.07) / height if lines else 0.0
    figure.set_layout_engine("constrained", rect=(0, taken, 1, 1 - taken))
    figure.suptitle("\n".join(heading), x=0.008, ha="left", fontsize=10.5, fontweight="bold")
    if lines:
        small: dict[str, Any] = {"va": "bottom", "fontsize": 7.5, "color": GREY, "linespacing": 1.3}
        transform = blended_transform_factory(figure.transFigure, figure.dpi_scale_trans)
        figure.text(0.008, 4 / 72, "\n".join(lines), transform=transform, **small)
    return figure


def legend(figure: Figure, handles: Sequence[Line2D], columns: int) -> Legend:
    """A legend below the axes, which shrink for it so that it never covers data.

    matplotlib's own "outside" legends would cover the notes. A legend higher than LEGEND_HEIGHT
    makes the figure higher.

    Args:
        figure: From ``new_figure``, with this one legend.
        handles: Its entries.
        columns: The number of columns; fewer, where they do not fit.
    """
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    below = engine.get()["rect"][1] * figure.get_figheight()
    for count in range(columns, 0, -1):
        made = figure.legend(handles=list(handles), ncols=count, loc="lower center")
        box = made.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        if box.width <= WIDTH or count == 1:
            break
        made.remove()
    made.set_in_layout(False)
    height = figure.get_figheight() + max(0.0, box.height - LEGEND_HEIGHT)
    figure.set_figheight(height)
    made.set_bbox_to_anchor((0, below / height, 1, 1 - below / height))
    taken = (below + box.height + 4 / 72) / height
    engine.set(rect=(0, taken, 1, 1 - taken))
    return made


def cycle_look(number: int) -> dict[str, Any]:
    """A colour and a mark, different for the first 36 numbers; none has the baseline's mark."""
    return {"color": CYCLE[number % 6], "marker": MARKS[1:][(number + number // 6) % 6]}


def legend_entry(label: str, **look: Any) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], label=escape.plot(label), **look)


def draw_estimate(
    axes: Axes,
    value: float,
    position: float,
    interval: tuple[float, float] | None,
    name: str,
    *,
    color: str,
    vertical: bool = False,
    arrow_shift: float = 0.0,
    bar: dict[str, Any] | None = None,
    **look: Any,
) -> int:
    """Draw a mark at a value, with a bar over its interval.

    A value beyond fixed limits of the axis becomes an arrow at its edge. An interval that crosses
    the edge is cut there, with an arrow.

    Args:
        axes: Where.
        value: The estimate, along x; along y if ``vertical``.
        position: The other coordinate.
        interval: Its ends, or None.
        name: The id of the mark. The bar's is ``interval: NAME``, an arrow's ``NAME off the axis``.
        color: Of all parts.
        vertical: Whether values run along y.
        arrow_shift: Added to the position of an arrow for the value.
        bar: The look of the bar.
        look: The look of the mark.

    Returns:
        The side of the axis on which the value is: -1 below, 1 above, 0 on it.
    """
    low, high = axes.get_ylim() if vertical else axes.get_xlim()
    if axes.get_autoscaley_on() if vertical else axes.get_autoscalex_on():
        low, high = -math.inf, math.inf

    def draw(values: list[float], position: float, **more: Any) -> None:
        positions = [position] * len(values)
        axes.plot(*((positions, values) if vertical else (values, positions)), color=color, **more)

    def arrow(side: int, position: float, name: str, **more: Any) -> None:
        marker = ("v^" if vertical else "<>")[side > 0]
        edge = low if side < 0 else high
        draw([edge], position, marker=marker, linestyle="none", clip_on=False, gid=name, **more)

    if interval and interval[0] < high and interval[1] > low:
        ends = [max(interval[0], low), min(interval[1], high)]
        draw(ends, position, gid=f"interval: {name}", **(bar or {}))
        for side, beyond in ((-1, interval[0] < low), (1, interval[1] > high)):
            if beyond:
                arrow(side, position, "goes on")
    side = int(value > high) - int(value < low)
    if side:
        arrow(side, position + arrow_shift, f"{name} off the axis", zorder=4)
    else:
        draw([value], position, linestyle="none", gid=name, **({"zorder": 3} | look))
    return side


def padded(low: float, high: float, share: float) -> tuple[float, float]:
    """Limits of an axis with a margin, a share of its range, at both ends."""
    margin = share * (high - low) or 1.0
    return low - margin, high + margin


def set_log_ticks(axes: Axes, form: str) -> None:
    """Give the x axis a logarithmic scale with ticks at 1, 2, 5, 10, ...

    Over more than two decades, only at 1, 10, 100, ...
    """
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high <= 100 * low else (1,)))
    axes.xaxis.set_major_formatter(StrMethodFormatter(f"{{x:{form}}}"))
    axes.minorticks_off()


def to_png(figure: Figure, dpi: float = 1.5 * DPI) -> bytes:
    """A figure as a PNG file, by default for a screen with 1.5 device pixels per pixel.

    The colours are reduced to 256, which is not visible and makes the file a third as large; not
    with photographs in colour.
    """
    whole = _saved(figure, "png", dpi=dpi)
    shown = [image.get_array() for axes in figure.axes for image in axes.get_images()]
    if any(pixels is not None and pixels.ndim == 3 for pixels in shown):
        return whole
    with Image.open(io.BytesIO(whole)) as drawn:
        few = drawn.convert("RGB").quantize(
            256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
        )
    file = io.BytesIO()
    few.save(file, "png", optimize=True, dpi=(dpi, dpi))
    return file.getvalue()


def to_svg(figure: Figure) -> str:
    """A figure as an SVG element that needs no font; the same figure gives the same text."""
    text = _saved(figure, "svg", metadata={"Date": None, "Creator": None}).decode()
    return text[text.index("<svg") :]


def _saved(figure: Figure, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    for artist in figure.findobj():
        if (name := artist.get_gid()) is not None:
            artist.set_gid(escape.svg(name))
    with figure_style():
        figure.savefig(file, format=form, **options)
    return file.getvalue()
