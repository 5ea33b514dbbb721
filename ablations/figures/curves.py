"""Accuracy by epoch, a line a variant, with the band of its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ablations.analysis.rows import Row
from ablations.analysis.scale import DISTANT_POINTS, DISTANT_RATIO
from ablations.analysis.study import Study
from ablations.figures.drawing import (
    BLACK,
    CYCLE,
    DASHES,
    MARKS,
    StyledFigure,
    capitalize,
    legend,
    legend_entry,
    make_unique,
    new_figure,
    plot_label,
    with_style,
)
from ablations.store.load import MAIN_METRIC

History = Sequence[Mapping[str, float]]  # a row an epoch


@dataclass(frozen=True)
class Band:
    """Mean, lowest and highest of the seeds, by epoch."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Curve:
    """A variant's accuracies in percent, and its differences from the baseline in points.

    Args:
        row: The variant.
        top1: Over its ``n`` seeds.
        delta: Over the seeds that it has in common with the baseline; None where there are none.
        n: Its seeds with a history.
    """

    row: Row
    top1: Band
    delta: Band | None
    n: int


def ablation_axes(study: Study) -> list[str]:
    """The sections of a study that have a variant besides the baseline, in the paper's order."""
    return list(dict.fromkeys(row.axis for row in study.rows if row is not study.baseline))


@with_style
def training_curves(study: Study, histories: Mapping[str, History], axis: str) -> StyledFigure:
    """Validation top-1 in percent after each epoch, of the variants of an axis and the baseline.

    A line is the mean over the seeds that got so far, its band goes from the lowest of them to the
    highest. Right of it the same as difference from the baseline of the same seed, in percentage
    points. Variants that stay far below have panels of their own, so as not to squash the rest.

    Args:
        study: The study.
        histories: The rows of each run by its id, as ``tables.histories`` reads them.
        axis: One of ``ablation_axes(study)``.

    Raises:
        ValueError: The study has no such axis.
    """
    known = ablation_axes(study)
    if axis not in known:
        raise ValueError(f"axis {axis!r} is none of this study: {', '.join(known) or 'none'}")
    base = study.baseline
    rows = [row for row in study.rows if row is base or row.axis == axis]
    usual = _by_seed(base, histories) if base else {}
    found = [curve for row in rows if (curve := _curve(row, _by_seed(row, histories), usual))]
    below = _far_below(found)
    made = new_figure(
        3.8 + 0.7 * bool(below), _title(axis, found, base), _notes(study, rows, found)
    )
    panels = _panels(made, pair=bool(usual), split=bool(below))
    keys = []
    names = make_unique([plot_label(curve.row.label) for curve in found])
    for number, (name, curve) in enumerate(zip(names, found, strict=True)):
        look = _look(number if base else number + 1)
        keys.append(legend_entry(f"{name} (n = {curve.n})", **look))
        for axes, band in zip(panels[curve in below], (curve.top1, curve.delta), strict=False):
            if band and not (axes is panels[curve in below][-1] and usual and curve.row is base):
                _line(axes, curve, band, look)
    epochs = {epoch for curve in found for epoch in curve.top1.epochs}
    for axes in panels[-1]:
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(epochs) == 1:
            axes.set_xlim(min(epochs) - 0.5, min(epochs) + 0.5)
    panels[0][0].set_ylabel("Validation top-1 (%)")
    if usual:
        panels[0][1].set_ylabel("Minus the baseline (points)")
        panels[0][1].axhline(0, color=BLACK, linewidth=1.6, zorder=1)
    legend(made, keys, columns=4)
    return made


def _by_seed(row: Row, histories: Mapping[str, History]) -> dict[int, dict[int, float]]:
    """Seed -> epoch -> top-1 in percent, of the runs that have a history."""
    found = {}
    for record in row.records:
        lines = histories.get(record.run_id, ()) if record.done else ()
        values = {int(line["epoch"]): line.get(MAIN_METRIC, math.nan) for line in lines}
        values = {epoch: value for epoch, value in values.items() if math.isfinite(value)}
        if values:
            found[record.config["seed"]] = values
    return found


def _curve(
    row: Row, own: Mapping[int, Mapping[int, float]], usual: Mapping[int, Mapping[int, float]]
) -> Curve | None:
    """A row's curve; None where no run of it has a history."""
    top1 = _band(own)
    if top1 is None:
        return None
    differences = {
        seed: {
            epoch: value - usual[seed][epoch]
            for epoch, value in own[seed].items()
            if epoch in usual[seed]
        }
        for seed in own.keys() & usual.keys()
    }
    return Curve(row, top1, _band(differences), len(own))


def _band(by_seed: Mapping[int, Mapping[int, float]]) -> Band | None:
    epochs = sorted({epoch for values in by_seed.values() for epoch in values})
    if not epochs:
        return None
    columns = [
        [values[epoch] for values in by_seed.values() if epoch in values] for epoch in epochs
    ]
    means = [math.fsum(column) / len(column) for column in columns]
    return Band(epochs, means, [min(column) for column in columns], [*map(max, columns)])


def _far_below(found: Sequence[Curve]) -> list[Curve]:
    """Curves that never come near the first one: below it by several times its whole range."""
    if not found:
        return []
    low, high = min(found[0].top1.low), max(found[0].top1.high)
    edge = low - max(DISTANT_POINTS, DISTANT_RATIO * (high - low))
    return [curve for curve in found if max(curve.top1.high) < edge]


def _title(axis: str, found: Sequence[Curve], base: Row | None) -> str:
    last = [curve.top1.mean[-1] for curve in found if curve.row is not base]
    if not last:
        return f"{axis}: no history"
    ends = f"{min(last):.2f}%" if len(last) == 1 else f"{min(last):.2f} to {max(last):.2f}%"
    usual = [curve.top1.mean[-1] for curve in found if curve.row is base]
    beside = f", the baseline at {usual[0]:.2f}%" if usual else ""
    return f"{axis}: {ends} after the last epoch{beside}"


def _notes(study: Study, rows: Sequence[Row], found: Sequence[Curve]) -> list[str]:
    notes = [
        f"{capitalize(study.name)}. Line: mean over seeds; band: from the lowest seed to the "
        "highest. Differences are of the same seed, in percentage points."
    ]
    drawn = [curve.row for curve in found]
    if lost := [plot_label(row.label) for row in rows if row not in drawn]:
        notes.append(f"No history: {', '.join(lost)}.")
    return notes


def _panels(made: StyledFigure, pair: bool, split: bool) -> list[list[Axes]]:
    """Rows of panels: accuracies and, for a pair, differences; below, what stays far below."""
    ratios = [4, 1] if split else [1]
    made_panels = made.subplots(
        len(ratios), 1 + pair, sharex=True, height_ratios=ratios, squeeze=False
    )
    panels: list[list[Axes]] = [list(line) for line in made_panels]
    if split:
        # Two strokes at each end of the gap: the axis is broken.
        stroke: dict[str, Any] = {"marker": [(-1, -0.5), (1, 0.5)], "markersize": 9}
        for upper, lower in zip(*panels, strict=True):
            upper.spines.bottom.set_visible(False)
            upper.tick_params(axis="x", length=0)
            for axes, height in ((upper, 0), (lower, 1)):
                axes.plot(
                    0,
                    height,
                    transform=axes.transAxes,
                    color=BLACK,
                    clip_on=False,
                    gid="break",
                    **stroke,
                )
    return panels


def _look(number: int) -> dict[str, Any]:
    """The look of a line; number 0 is the baseline."""
    if number == 0:
        return {"color": BLACK, "marker": "o", "linestyle": "-", "linewidth": 2.0, "zorder": 4}
    return {
        "color": CYCLE[(number - 1) % len(CYCLE)],
        "marker": MARKS[number % len(MARKS)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def _line(axes: Axes, curve: Curve, band: Band, look: Mapping[str, Any]) -> None:
    name, colour = curve.row.label, look["color"]
    if curve.n > 1:
        axes.fill_between(
            band.epochs, band.low, band.high, color=colour, alpha=0.12, linewidth=0, gid=name
        )
    axes.plot(band.epochs, band.mean, gid=name, **look)
