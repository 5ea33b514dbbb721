"""Contact sheet: the images that flip between two rows, with their true and predicted class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ablations.analysis.flips import Flip, Flips, load_images
from ablations.data.validation import ValidationImages
from ablations.figures.drawing import BLUE, GREY, StyledFigure, figure_style, new_figure
from ablations.figures.labels import WIDTH, plot_label, text_width, truncate, wrap
from ablations.text import escape
from ablations.text.phrases import pluralize

COLUMNS = 6
MARGIN, GAP = 0.08, 0.1  # inches
SIDE = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS  # of the square that holds an image
LINE = 0.125  # inches per line of a caption
CAPTION = 3 * LINE + 0.12
HEADING, EMPTY = 0.34, 0.22
SIZE = 6.5  # points
SHOWN = 18  # images a direction


@figure_style()
def contact_sheet(
    flips: Flips, images: ValidationImages | None = None, most: int = SHOWN
) -> StyledFigure:
    """The images that most seeds of one row get right and most seeds of the other wrong.

    Below an image: its index in the validation set and its true class, then the class that
    baseline and row predict, with the number of seeds that are right.

    Args:
        flips: The result of ``ablations.compare_predictions``.
        images: The images; by default those that the runs were trained on, if they are at hand.
        most: How many images to show of each direction, those with the clearest majorities.

    Raises:
        ConfigError: The data source needs a plugin that is not loaded.
        DataError: The images are not at hand, broken, or others.
    """
    images = images or load_images(flips)
    groups = [[flip for flip in flips.flips if flip.gained is gained] for gained in (True, False)]
    title, notes = _title(flips, groups), _notes(flips)
    heights = [_height(group[:most]) for group in groups]
    top = 0.1 + 0.17 * len(wrap(title, 10.5, bold=True))
    # new_figure adds room for a title of more than two lines and more than three lines of notes.
    figure = new_figure(0.44 + sum(heights) + 0.5, title, notes)
    figure.set_layout_engine("none")  # every image has its place
    down = figure.get_figheight() - top
    figure.texts[0].set_y(1 - 0.06 / figure.get_figheight())  # the title
    names = [plot_label(side.row.label) for side in (flips.row, flips.baseline)]
    for group, height, (right, wrong) in zip(groups, heights, (names, names[::-1]), strict=True):
        word = "Gained" if group is groups[0] else "Lost"
        text = f"{word}: right with {right}, wrong with {wrong}, {_count(group, most)}"
        text = truncate(text, 8.5, 72 * (WIDTH - 2 * MARGIN), bold=True)
        _write(figure, MARGIN, down - 0.1, text, 8.5, fontweight="bold")
        if not group:
            _write(figure, MARGIN, down - 0.1 - EMPTY, "None.", 7.5, color=GREY)
        for number, flip in enumerate(group[:most]):
            row, column = divmod(number, COLUMNS)
            x = MARGIN + column * (SIDE + GAP)
            y = down - HEADING - row * (SIDE + CAPTION) - SIDE
            _draw(figure, x, y, flip, flips, images)
        down -= height
    return figure


def _height(group: Sequence[Flip]) -> float:
    """The height of a direction in inches."""
    return HEADING + (math.ceil(len(group) / COLUMNS) * (SIDE + CAPTION) if group else EMPTY)


def _count(group: Sequence[Flip], most: int) -> str:
    shown = f"{most:,} of " if len(group) > most else ""
    return f"{shown}{pluralize(len(group), 'image')}"


def _draw(
    figure: StyledFigure, x: float, y: float, flip: Flip, flips: Flips, images: ValidationImages
) -> None:
    """An image whose lower left corner is at x, y in inches, with its caption below."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, y / height, SIDE / width, SIDE / height))
    axes.set_axis_off()
    options: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "nearest"}
    axes.imshow(images.image(flip.image), gid="image", **options)
    names = images.classes
    lines: list[tuple[str, str, dict[str, Any]]] = [
        (f"#{flip.image} ", names[flip.label], {"fontweight": "bold"})
    ]
    for side, name, predicted, right in zip(
        flips.sides, ("base: ", "row: "), flip.predicted, flip.right, strict=True
    ):
        seeds = len(side.by_seed)
        look = {"color": BLUE if 2 * right > seeds else GREY}
        lines.append((f"{name}{right}/{seeds} ", names[predicted], look))
    for number, (start, name, look) in enumerate(lines):
        text = start + _fitting(plot_label(name), start, bold=number == 0)
        _write(figure, x, y - 0.03 - number * LINE, text, SIZE, **look)


def _fitting(name: str, start: str, bold: bool) -> str:
    """The name of a class, cut in the middle where it does not fit below an image."""
    shown, most = name, len(name)
    while most > 3 and text_width([start + shown], SIZE, bold) > 72 * SIDE:
        most -= 1
        shown = escape.shorten(name, most)
    return shown


def _write(figure: StyledFigure, x: float, y: float, text: str, size: float, **look: Any) -> None:
    """Text whose upper left corner is at x, y in inches."""
    place: dict[str, Any] = {"transform": figure.dpi_scale_trans, "va": "top", "fontsize": size}
    figure.text(x, y, text, **place, **look)


def _title(flips: Flips, groups: Sequence[Sequence[Flip]]) -> str:
    gained, lost = map(len, groups)
    base, row = (plot_label(side.row.label) for side in flips.sides)
    return (
        f"{row} against {base}: {pluralize(gained, 'image')} gained, {lost:,} lost of "
        f"{len(flips.labels):,}"
    )


def _notes(flips: Flips) -> list[str]:
    notes = [
        f"{flips.study.name[0].upper()}{flips.study.name[1:]}. Number: index in the validation "
        "set, and the true class; base and row: seeds that are right, and the class that most "
        "seeds predict, or the most frequent wrong one where most are wrong."
    ]
    if flips.counts:
        pairs = [
            f"seed {seed}: +{counts.gained} −{counts.lost} (p {_p(counts.p)})"
            for seed, counts in list(flips.counts.items())[:10]
        ]
        more = f", and {len(flips.counts) - 10} more seeds" if len(flips.counts) > 10 else ""
        notes.append(
            "McNemar's counts, images that only the row (+) or only the baseline (−) gets right: "
            f"{', '.join(pairs)}{more}; summed +{flips.summed.gained} −{flips.summed.lost}. p is "
            "exact, and about the two runs of that seed on other images."
        )
    return [*notes, *flips.notes]


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"
