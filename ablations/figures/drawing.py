"""What all figures share: colours, marks, a canvas of its own each, and what lies off an axis.

Figures are objects, never pyplot's: none is kept or shown behind the caller's back, and a notebook
shows what a cell returns.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox, blended_transform_factory
from PIL import Image

from ablations.text import escape

# Okabe and Ito's palette (jfly.uni-koeln.de/color, 2002) without its yellow, which is faint on
# white. A test looks at them through Machado's simulations of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
CYCLE = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY]
# No colour stands alone: marks and dashes repeat at other lengths than colours do.
MARKS = ["o", "s", "^", "D", "v", "P", "X"]
DASHES: list[Any] = ["-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1))]
GREY = "#6E6E6E"

WIDTH = 7.2  # inches: both columns of a paper, and what a notebook shows unscaled
DPI = 120  # pixels of a notebook an inch
PRINT = 10.5 / 72  # inches: a line of small print
LEGEND = 0.6  # inches: a legend for which a figure has room
LONGEST = 1200  # characters of a title or note
NAME = 64  # characters of a label; of a longer one the middle is left out
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
    "font.family": "DejaVu Sans",  # comes with matplotlib and has → Δ ± †
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
    "svg.hashsalt": "ablations",  # ids of an SVG follow from what it shows alone
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
}


Given = ParamSpec("Given")


class StyledFigure(Figure):
    """A figure that a notebook shows as the value of a cell."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        across, up = (round(DPI * inches) for inches in self.get_size_inches())
        return to_png(self), {"width": across, "height": up}


def with_style(draw: Callable[Given, StyledFigure]) -> Callable[Given, StyledFigure]:
    """A function that draws in the house's style, whatever the reader's own is."""

    @functools.wraps(draw)
    def inside(*args: Given.args, **kwargs: Given.kwargs) -> StyledFigure:
        with _style():
            return draw(*args, **kwargs)

    return inside


@contextlib.contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(height: float, title: str, notes: Sequence[str] = ()) -> StyledFigure:
    """An empty figure with its title at the top and small print at the bottom.

    Args:
        height: In inches, with a title of two lines and three lines of small print; the figure
            grows with what is longer.
        title: What the figure says.
        notes: What a reader must know besides, each from a new line.
    """
    heading = wrap(title, 10.5, bold=True)
    lines = [line for text in notes for line in wrap(text, 7.5)]
    height += 0.17 * max(0, len(heading) - 2) + PRINT * max(0, len(lines) - 3)
    made = StyledFigure(figsize=(WIDTH, height), dpi=DPI)
    FigureCanvasAgg(made)
    taken = (PRINT * len(lines) + 0.07) / height if lines else 0.0
    made.set_layout_engine("constrained", rect=(0, taken, 1, 1 - taken))
    made.suptitle("\n".join(heading), x=0.008, ha="left", fontsize=10.5, fontweight="bold")
    if lines:
        small: dict[str, Any] = {"va": "bottom", "fontsize": 7.5, "color": GREY, "linespacing": 1.3}
        place = blended_transform_factory(made.transFigure, made.dpi_scale_trans)
        made.text(0.008, 4 / 72, "\n".join(lines), transform=place, **small)
    return made


def legend(figure: Figure, handles: Sequence[Line2D], columns: int) -> Legend:
    """A legend below the axes, which make room for it: it never covers data.

    matplotlib's own "outside" legends would lie on the small print. A legend of more than LEGEND
    inches makes the figure higher.

    Args:
        figure: One of ``sheet``, with this one legend.
        handles: Its entries.
        columns: Into how many they are set; fewer, where those would not fit.
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
    height = figure.get_figheight() + max(0.0, box.height - LEGEND)
    figure.set_figheight(height)
    made.set_bbox_to_anchor((0, below / height, 1, 1 - below / height))
    taken = (below + box.height + 4 / 72) / height
    engine.set(rect=(0, taken, 1, 1 - taken))
    return made


def to_png(figure: Figure, dpi: float = 1.5 * DPI) -> bytes:
    """A figure as a PNG file, for a screen by default of one and a half dots a pixel.

    Its colours are reduced to 256, which nobody sees and which makes it a third as large.
    """
    with Image.open(io.BytesIO(_saved(figure, "png", dpi=dpi))) as drawn:
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


def _saved(figure: Figure, form: str, **how: Any) -> bytes:
    file = io.BytesIO()
    for artist in figure.findobj():
        if (name := artist.get_gid()) is not None:
            artist.set_gid(escape.svg(name))
    with _style():
        figure.savefig(file, format=form, **how)
    return file.getvalue()


def legend_entry(label: str, **look: Any) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], label=escape.plot(label), **look)


def plot_label(text: str) -> str:
    """A label as print has it."""
    return escape.shorten(escape.plot(text), NAME).replace("->", "→")


def fold(text: str) -> str:
    """A label on two lines, broken at the blank or comma that is nearest to its middle."""
    breaks = [place for place, letter in enumerate(text[:-1], start=1) if letter in " ,"]
    if not breaks:
        return text
    middle = min(breaks, key=lambda place: abs(2 * place - len(text)))
    return f"{text[:middle].rstrip()}\n{text[middle:]}"


def capitalize(text: str) -> str:
    """Text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def text_width(texts: Sequence[str], size: float, bold: bool = False) -> float:
    """The widest of some texts, in points, as a screen draws it."""
    pen = RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]
    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    found = [
        float(pen.get_text_width_height_descent(text, font, ismath=False)[0])  # type: ignore[no-untyped-call]
        for text in texts
    ]
    return 72 / DPI * max(found, default=0.0)


# Where a name may stand beside its mark: away from it in points, and which side of it is there.
BESIDE = [(6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom")]
BESIDE += [(0, -6, "center", "top")]
BESIDE += [
    (across, up * step, side, "center")
    for step in (12, 18)
    for up in (1, -1)
    for across, side in ((7, "left"), (-7, "right"))
]


def place_labels(axes: Axes, names: Sequence[tuple[str, float, float, str]]) -> None:
    """Write names beside their marks where they cover no other name and no mark; else not at all.

    Args:
        axes: Axes of a figure that has all else.
        names: Text, place in data, and colour.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    pen = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    radius, page = 4 * figure.dpi / 72, axes.bbox
    marks = [
        Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius)
        for line in axes.get_lines()
        if line.get_marker() not in ("None", "", None)
        for x, y in line.get_transform().transform(line.get_xydata())
    ]
    taken: list[Bbox] = []
    for text, x, y, colour in names:
        for across, up, side, height in BESIDE:
            made = axes.annotate(
                fold(text),
                (x, y),
                (across, up),
                textcoords="offset points",
                ha=side,
                va=height,
                fontsize=7.5,
                color=colour,
                in_layout=False,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0}
                if abs(up) >= 12
                else None,
            )
            whole = made.get_window_extent(pen)  # with its line
            box = Text.get_window_extent(made, pen)
            inside = (
                box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1
            )
            if inside and not any(map(box.overlaps, marks)) and not any(map(whole.overlaps, taken)):
                taken.append(whole)
                break
            made.remove()


def signed_points(value: float, digits: int = 2) -> str:
    """A difference with its sign, as print has it; zero has none."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def truncate(text: str, size: float, room: float, bold: bool = False) -> str:
    """The beginning of a text that is no wider than a room in points, one character at least."""
    while len(text) > 1 and (wide := text_width([text], size, bold)) > room:
        text = text[: max(1, min(len(text) - 1, int(len(text) * room / wide)))]
    return text


def stack_labels(names: Sequence[str], size: float) -> tuple[list[str], list[float], float]:
    """Names that stand one below the other beside axes; one that is too wide is on two lines.

    Args:
        names: As print has them.
        size: Of their letters.

    Returns:
        The names, the place of the middle of each, and the height of all, in rows.
    """
    room = 0.42 * 72 * WIDTH
    shown, places, height = [], [], 0.0
    for name in names:
        words = name.lstrip()
        indent = name[: len(name) - len(words)]
        lines = [name] if text_width([name], size) <= room else fold(words).split("\n")
        if len(lines) > 1 and indent:
            lines = [indent + lines[0], 2 * indent + lines[1]]
        fits = [truncate(line, size, room) for line in lines]
        lines = [
            one if one == line else f"{one[:-1]}…" for one, line in zip(fits, lines, strict=True)
        ]
        taken = 1.0 if len(lines) == 1 else 1.6
        shown.append("\n".join(lines))
        places.append(height + taken / 2 - 0.5)
        height += taken
    return make_unique(shown), places, height


def make_unique(names: Sequence[str]) -> list[str]:
    """Names of which no two are alike: where shortening has made them so, they are numbered."""
    seen: Counter[str] = Counter()
    made = []
    for name in names:
        seen[name] += 1
        made.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return made


def wrap(text: str, size: float, bold: bool = False) -> list[str]:
    """Text in lines as wide as a figure; a word that is wider is broken."""
    room = 72 * WIDTH - 8
    lines: list[str] = []
    for word in escape.shorten(escape.plot(text), LONGEST).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width([longer], size, bold) <= room:
            lines[-1] = longer
            continue
        rest = word
        while len(begin := truncate(rest, size, room, bold)) < len(rest):
            lines.append(begin)
            rest = rest[len(begin) :]
        lines.append(rest)
    return lines


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... between two numbers; over more than two decades 1, 10, 100, ... alone."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if high <= 100 * low else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [tick for tick in found if low <= tick <= high]
