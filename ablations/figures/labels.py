"""Text in figures: measured, shortened, wrapped, and placed so that it covers nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ablations.analysis.rows import Row
from ablations.text import escape

WIDTH = 7.2  # width of a figure in inches: two columns of a paper, and unscaled in a notebook
DPI = 120  # pixels per inch in a notebook
FONT = "DejaVu Sans"  # part of matplotlib; has → Δ ± †
MAX_TEXT = 1200  # characters of a title or note
MAX_LABEL = 64  # characters of a label; the middle of a longer one is left out
# Positions of a label beside its mark: offset in points, and the alignment.
POSITIONS = [(6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom")]
POSITIONS += [(0, -6, "center", "top")]
POSITIONS += [
    (x, y * distance, align, "center")
    for distance in (12, 18)
    for y in (1, -1)
    for x, align in ((7, "left"), (-7, "right"))
]


def plot_label(text: str) -> str:
    """A label with typographic arrows, shortened to 64 characters."""
    return escape.shorten(escape.plot(text), MAX_LABEL).replace("->", "→")


def row_label(row: Row) -> str:
    """The label of a row, with a dagger where it changes more than its axis."""
    return plot_label(row.label) + "†" * bool(row.also_changes)


def dagger_notes(rows: Iterable[Row]) -> list[str]:
    """The note on the dagger, where a row has one."""
    note = "† Changes more than its axis: the footnotes of the table say what."
    return [note] if any(row.also_changes for row in rows) else []


def signed_points(value: float, digits: int = 2) -> str:
    """A difference with its sign (a minus, not a hyphen); zero has none."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def text_width(texts: Sequence[str], size: float, bold: bool = False) -> float:
    """The width of the widest text, in points."""
    renderer = RendererAgg(1, 1, DPI)  # type: ignore[no-untyped-call]
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    widths = [
        float(renderer.get_text_width_height_descent(text, font, ismath=False)[0])  # type: ignore[no-untyped-call]
        for text in texts
    ]
    return 72 / DPI * max(widths, default=0.0)


def truncate(text: str, size: float, room: float, bold: bool = False) -> str:
    """The beginning of a text that fits into a width in points, at least one character."""
    while len(text) > 1 and (width := text_width([text], size, bold)) > room:
        text = text[: max(1, min(len(text) - 1, int(len(text) * room / width)))]
    return text


def wrap(text: str, size: float, bold: bool = False) -> list[str]:
    """Text in lines of the width of a figure; longer words are broken."""
    room = 72 * WIDTH - 8
    lines: list[str] = []
    for word in escape.shorten(escape.plot(text), MAX_TEXT).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width([longer], size, bold) <= room:
            lines[-1] = longer
            continue
        rest = word
        while len(start := truncate(rest, size, room, bold)) < len(rest):
            lines.append(start)
            rest = rest[len(start) :]
        lines.append(rest)
    return lines


def fold(text: str) -> str:
    """A label on two lines, broken at the blank or comma nearest to its middle."""
    breaks = [index for index, letter in enumerate(text[:-1], start=1) if letter in " ,"]
    if not breaks:
        return text
    middle = min(breaks, key=lambda index: abs(2 * index - len(text)))
    return f"{text[:middle].rstrip()}\n{text[middle:]}"


def make_unique(labels: Sequence[str]) -> list[str]:
    """Labels without repetitions: those that shortening has made equal are numbered."""
    seen: Counter[str] = Counter()
    unique = []
    for label in labels:
        seen[label] += 1
        unique.append(f"{label} ({seen[label]})" if seen[label] > 1 else label)
    return unique


def stack_labels(labels: Sequence[str], size: float) -> tuple[list[str], list[float], float]:
    """Labels for the rows beside axes; one that is too wide takes two lines.

    Args:
        labels: As ``plot_label`` makes them, with leading blanks as indentation.
        size: Font size in points.

    Returns:
        The labels, the position of the middle of each, and the height of all, in rows.
    """
    room = 0.42 * 72 * WIDTH
    shown, positions, height = [], [], 0.0
    for label in labels:
        words = label.lstrip()
        indent = label[: len(label) - len(words)]
        lines = [label] if text_width([label], size) <= room else fold(words).split("\n")
        if len(lines) > 1 and indent:
            lines = [indent + lines[0], 2 * indent + lines[1]]
        for number, line in enumerate(lines):
            if (cut := truncate(line, size, room)) != line:
                lines[number] = f"{cut[:-1]}…"
        taken = 1.0 if len(lines) == 1 else 1.6
        shown.append("\n".join(lines))
        positions.append(height + taken / 2 - 0.5)
        height += taken
    return make_unique(shown), positions, height


def write_beside(axes: Axes, y: float, text: str, offset: float, **style: Any) -> None:
    """Write text right of the axes, ``offset`` points away, at a height in data."""
    axes.annotate(
        text,
        (1, y),
        (offset, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
        annotation_clip=False,
        **style,
    )


def place_labels(axes: Axes, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Write labels beside their marks where they cover no other label and no mark; else not.

    Args:
        axes: Axes of a figure that is otherwise complete.
        labels: Text, x and y in data, and colour.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    radius, page = 4 * figure.dpi / 72, axes.bbox
    marks = [
        Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius)
        for line in axes.get_lines()
        if line.get_marker() not in ("None", "", None)
        for x, y in line.get_transform().transform(line.get_xydata())
    ]
    taken: list[Bbox] = []
    for text, x, y, colour in labels:
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0}
        for right, up, align, valign in POSITIONS:
            label = axes.annotate(
                fold(text),
                (x, y),
                (right, up),
                textcoords="offset points",
                ha=align,
                va=valign,
                fontsize=7.5,
                color=colour,
                in_layout=False,
                arrowprops=leader if abs(up) >= 12 else None,
            )
            whole = label.get_window_extent(renderer)  # with its leader line
            box = Text.get_window_extent(label, renderer)
            inside = (
                box.x0 >= page.x0 and box.x1 <= page.x1 and box.y0 >= page.y0 and box.y1 <= page.y1
            )
            if inside and not any(map(box.overlaps, marks)) and not any(map(whole.overlaps, taken)):
                taken.append(whole)
                break
            label.remove()
