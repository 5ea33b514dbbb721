"""Training curves: accuracy by epoch, one line per variant, with the range of its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ablations.analysis.rows import Row
from ablations.analysis.scale import DISTANT_POINTS, DISTANT_RATIO
from ablations.analysis.study import Study
from ablations.config.naming import capitalize
from ablations.figures.drawing import (
    BLACK,
    DASHES,
    StyledFigure,
    cycle_look,
    figure_style,
    legend,
    legend_entry,
    new_figure,
)
from ablations.figures.labels import make_unique, plot_label
from ablations.store.load import MAIN_METRIC

History = Sequence[Mapping[str, float]]  # one row per epoch


@dataclass(frozen=True, eq=False)
class Curve:
    """The accuracies of a variant, and its differences from the baseline.

    Args:
        row: The variant.
        top1: Percent, epochs by seeds.
        delta: Points, epochs by the seeds that it shares with the baseline.
    """

    row: Row
    top1: pd.DataFrame
    delta: pd.DataFrame


def ablation_axes(study: Study) -> list[str]:
    """The axes of a study that have a variant besides the baseline, in the paper's order."""
    return list(dict.fromkeys(row.axis for row in study.rows if row is not study.baseline))


@figure_style()
def training_curves(study: Study, histories: Mapping[str, History], axis: str) -> StyledFigure:
    """Validation top-1 in percent after each epoch, for the baseline and the variants of an axis.

    A line is the mean over the seeds that reached the epoch; its band goes from the lowest seed to
    the highest. On the right, the same as difference from the baseline's run of the same seed, in
    percentage points. Variants that stay far below get panels of their own, so that they do not
    squash the others.

    Args:
        study: The study.
        histories: The history of each run by its id, as ``tables.load_histories`` reads them.
        axis: One of ``ablation_axes(study)``.

    Raises:
        ValueError: The study has no such axis.
    """
    known = ablation_axes(study)
    if axis not in known:
        raise ValueError(f"axis {axis!r} is none of this study: {', '.join(known) or 'none'}")
    base = study.baseline
    rows = [row for row in study.rows if row is base or row.axis == axis]
    reference = _top1(base, histories) if base else pd.DataFrame()
    found = [(row, _top1(row, histories)) for row in rows]
    curves = [Curve(row, top1, _dropna(top1 - reference)) for row, top1 in found if not top1.empty]
    below = _far_below(curves)
    figure = new_figure(
        3.8 + 0.7 * bool(below), _title(axis, curves, base), _notes(study, rows, curves)
    )
    panels = _panels(figure, pair=not reference.empty, split=bool(below))
    entries = []
    labels = make_unique([plot_label(curve.row.label) for curve in curves])
    for number, (label, curve) in enumerate(zip(labels, curves, strict=True)):
        look = _look(number if base else number + 1)
        entries.append(legend_entry(f"{label} (n = {curve.top1.shape[1]})", **look))
        left, *right = panels[curve in below]
        _draw_curve(left, curve.row.label, curve.top1, look)
        if right and curve.row is not base:
            _draw_curve(right[0], curve.row.label, curve.delta, look)
    epochs = {int(epoch) for curve in curves for epoch in curve.top1.index}
    for axes in panels[-1]:
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(epochs) == 1:
            axes.set_xlim(min(epochs) - 0.5, min(epochs) + 0.5)
    panels[0][0].set_ylabel("Validation top-1 (%)")
    for axes in panels[0][1:]:
        axes.set_ylabel("Minus the baseline (points)")
        axes.axhline(0, color=BLACK, linewidth=1.6, zorder=1)
    legend(figure, entries, columns=4)
    return figure


def _top1(row: Row, histories: Mapping[str, History]) -> pd.DataFrame:
    """Top-1 in percent by epoch and seed, for the runs that have a history."""
    by_seed = {
        record.config["seed"]: {
            int(line["epoch"]): line.get(MAIN_METRIC, np.nan)
            for line in histories.get(record.run_id, ())
        }
        for record in row.records
        if record.done
    }
    frame = pd.DataFrame(by_seed, dtype=float).replace([np.inf, -np.inf], np.nan)
    return _dropna(frame).sort_index()


def _dropna(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame without epochs and seeds that have no value."""
    return frame.dropna(how="all").dropna(how="all", axis=1)


def _far_below(curves: Sequence[Curve]) -> list[Curve]:
    """Curves that stay below the first one by several times its range."""
    if not curves:
        return []
    low, high = (float(end(curves[0].top1.to_numpy())) for end in (np.nanmin, np.nanmax))
    edge = low - max(DISTANT_POINTS, DISTANT_RATIO * (high - low))
    return [curve for curve in curves if np.nanmax(curve.top1.to_numpy()) < edge]


def _title(axis: str, curves: Sequence[Curve], base: Row | None) -> str:
    last = {curve.row: float(curve.top1.mean(axis=1).iloc[-1]) for curve in curves}
    usual = last.pop(base, None) if base else None
    if not last:
        return f"{axis}: no history"
    low, high = min(last.values()), max(last.values())
    ends = f"{low:.2f}%" if len(last) == 1 else f"{low:.2f} to {high:.2f}%"
    beside = "" if usual is None else f", the baseline at {usual:.2f}%"
    return f"{axis}: {ends} after the last epoch{beside}"


def _notes(study: Study, rows: Sequence[Row], curves: Sequence[Curve]) -> list[str]:
    notes = [
        f"{capitalize(study.name)}. Line: mean over seeds; band: from the lowest seed to the "
        "highest. Differences are of the same seed, in percentage points."
    ]
    drawn = [curve.row for curve in curves]
    if missing := [plot_label(row.label) for row in rows if row not in drawn]:
        notes.append(f"No history: {', '.join(missing)}.")
    return notes


def _panels(figure: StyledFigure, pair: bool, split: bool) -> list[list[Axes]]:
    """Rows of panels: accuracies and, for a pair, differences; below, the curves far below."""
    ratios = [4, 1] if split else [1]
    grid = figure.subplots(len(ratios), 1 + pair, sharex=True, height_ratios=ratios, squeeze=False)
    panels: list[list[Axes]] = [list(line) for line in grid]
    if split:
        # Two strokes at each end of the gap mark the broken axis.
        stroke: dict[str, Any] = {"marker": [(-1, -0.5), (1, 0.5)], "markersize": 9}
        stroke |= {"color": BLACK, "clip_on": False, "gid": "break"}
        for upper, lower in zip(*panels, strict=True):
            upper.spines.bottom.set_visible(False)
            upper.tick_params(axis="x", length=0)
            for axes, height in ((upper, 0), (lower, 1)):
                axes.plot(0, height, transform=axes.transAxes, **stroke)
    return panels


def _look(number: int) -> dict[str, Any]:
    """The look of a line; number 0 is the baseline."""
    if number == 0:
        return {"color": BLACK, "marker": "o", "linestyle": "-", "linewidth": 2.0, "zorder": 4}
    return cycle_look(number - 1) | {"linestyle": DASHES[number % len(DASHES)]}


def _draw_curve(axes: Axes, name: str, values: pd.DataFrame, look: Mapping[str, Any]) -> None:
    """The mean of values (epochs by seeds) as a line, their range as a band."""
    if values.shape[1] > 1:
        low, high = values.min(axis=1), values.max(axis=1)
        band: dict[str, Any] = {"color": look["color"], "alpha": 0.12, "linewidth": 0}
        axes.fill_between(values.index, low, high, gid=name, **band)
    if not values.empty:
        axes.plot(values.index, values.mean(axis=1), gid=name, **look)
