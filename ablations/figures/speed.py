"""Images per second: of a study's runs during training, and as others published them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes

from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config.naming import capitalize
from ablations.figures.drawing import (
    BLACK,
    BLUE,
    CYCLE,
    MARKS,
    STYLE,
    StyledFigure,
    figure_style,
    legend,
    legend_entry,
    new_figure,
    set_log_ticks,
)
from ablations.figures.labels import (
    dagger_notes,
    plot_label,
    row_label,
    stack_labels,
    write_beside,
)
from ablations.paper.published import speed_rows

# The ResNets that the sizes are said to be as fast as, at the same accuracy or more.
PAIRS = {
    "PoolFormer-S12": "ResNet-34",
    "PoolFormer-S24": "ResNet-50",
    "PoolFormer-S36": "ResNet-101",
}
MODELS = ["ResNet-18", "ResNet-34", "PoolFormer-S12", "ResNet-50", "PoolFormer-S24", "ResNet-101"]
MODELS += ["PoolFormer-S36", "ResNet-152", "PoolFormer-M36", "PoolFormer-M48"]
TORCH = {"pt112": "torch 1.12", "pt113": "torch 1.13", "pt240": "torch 2.4"}  # timm's file names


@figure_style()
def training_speed(study: Study) -> StyledFigure:
    """Images per second in training, by variant: a mark per run and a stroke at their mean.

    The number beside a row is its mean over the baseline's. The runs of a study may share a
    machine, so that the spread over seeds reflects the machine as much as the variant.
    """
    speeds = {row: found for row in study.rows if (found := _speeds(row))}
    means = {row: fmean(values) for row, values in speeds.items()}
    usual = means.get(study.baseline) if study.baseline else None
    labels, positions, height = stack_labels([*map(row_label, speeds)], STYLE["ytick.labelsize"])
    figure = new_figure(1.75 + 0.2 * max(3, height), _title(study, means), _notes(study))
    axes = figure.add_subplot()
    axes.set_ylim(height - 0.4, -0.6)
    axes.set_yticks(positions, labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for y, (row, values) in zip(positions, speeds.items(), strict=True):
        color, mean = BLACK if row is study.baseline else BLUE, means[row]
        axes.plot(values, [y] * len(values), "o", color=color, alpha=0.55, gid=row.label)
        axes.plot([mean], [y], "|", color=color, markersize=12, markeredgewidth=2, gid="mean")
        if usual:
            write_beside(axes, y, f"{mean / usual:.2f}×", 8)
    dotted: dict[str, Any] = {"color": BLACK, "linewidth": 0.9, "linestyle": ":"}
    if usual:
        axes.axvline(usual, zorder=1, **dotted)
    most = max(itertools.chain(*speeds.values()), default=1.0)
    axes.set_xlim(0, 1.05 * most)
    axes.set_xlabel("Training speed (images/s)")
    look: dict[str, Any] = {"color": BLUE, "linestyle": "none"}
    stroke: dict[str, Any] = {"marker": "|", "markersize": 11, "markeredgewidth": 2}
    entries = [
        legend_entry("a run", marker="o", alpha=0.55, **look),
        legend_entry("mean of a variant's runs", **look, **stroke),
    ]
    if usual:
        entries.append(legend_entry("the baseline's mean", **dotted))
    legend(figure, entries, columns=3)
    return figure


def _speeds(row: Row) -> list[float]:
    """Images per second of each run that was timed."""
    found = [record.timing.get("pictures_per_second") for record in row.records if record.done]
    return [float(value) for value in found if value]


def _title(study: Study, means: Mapping[Row, float]) -> str:
    base = study.baseline
    others = sorted((row for row in means if row is not base), key=means.__getitem__)
    if base is None or base not in means or len(others) < 2:
        return "Training speed"
    slow, *_, fast = others
    usual = means[base]
    return (
        f"Fastest: {plot_label(fast.label)}, {means[fast] / usual:.2f}× the baseline; slowest: "
        f"{plot_label(slow.label)}, {means[slow] / usual:.2f}×"
    )


def _notes(study: Study) -> list[str]:
    devices = sorted({str(record.environment.get("device", "unknown")) for record in study.records})
    threads = sorted({str(record.environment.get("threads", "?")) for record in study.records})
    note = (
        f"{capitalize(study.name)}; device {', '.join(devices)}, threads "
        f"{', '.join(threads)}. As timed while training: runs at the same time shared "
        "the machine, so this is no benchmark. Beside a row: its mean over the baseline's."
    )
    return [note, *dagger_notes(study.rows)]


@figure_style()
def published_speed() -> StyledFigure:
    """Speeds that others measured: images per second by model, and relative to a ResNet.

    From ``ablations/paper/speed.csv``: timm's tables and one of segmentation models. Rows without a
    number, and models without their pair on the same hardware, are left out.
    """
    series = _series()
    notes = [
        "Sources: timm's results/*.csv (224×224 pixels) and, with Semantic FPN at 512×512 pixels "
        "on hardware that it does not state, InceptionNeXt's Table 7. None is the paper's "
        "own. A logarithmic scale on the left."
    ]
    figure = new_figure(5.1, _published_title(series), notes)
    left, right = figure.subplots(1, 2, width_ratios=[1.2, 1])
    colors = [*CYCLE, BLACK]
    looks: dict[str, dict[str, Any]] = {
        name: {"color": colors[number % 7], "marker": MARKS[number % 7], "linestyle": "none"}
        for number, name in enumerate(series)
    }
    models = {model for speeds in series.values() for model in speeds}
    _draw_series(left, [m for m in MODELS if m in models], series, looks, 0.2, markersize=5)
    for text in left.get_yticklabels():
        if text.get_text().startswith("PoolFormer"):
            text.set_fontweight("bold")
    set_log_ticks(left, ",g")
    left.set_xlabel("Throughput (images/s)")
    ratios = {name: _pairs(speeds) for name, speeds in series.items()}
    pairs = [f"{ours} /\n{theirs}" for ours, theirs in PAIRS.items()]
    _draw_series(right, pairs, ratios, looks, 0.3, markersize=5.5)
    right.axvline(1, color=BLACK, linewidth=0.9, zorder=1)
    right.tick_params(axis="y", length=0)
    right.grid(visible=False, axis="y")
    right.set_xlabel("Throughput ratio (×)")
    text = "PoolFormer faster →"
    right.text(0.99, 1.0, text, transform=right.transAxes, ha="right", fontsize=7.5)
    legend(figure, [legend_entry(name, **look) for name, look in looks.items()], columns=3)
    return figure


def _draw_series(
    axes: Axes,
    names: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    looks: Mapping[str, Mapping[str, Any]],
    spread: float,
    **look: Any,
) -> None:
    """A mark per series and name, one row per name; ``spread`` separates the series of a row."""
    for number, (label, values) in enumerate(series.items()):
        shift = spread * (2 * number / max(1, len(series) - 1) - 1)
        x = [values[name] for name in names if name in values]
        y = [row + shift for row, name in enumerate(names) if name in values]
        axes.plot(x, y, gid=label, **looks[label], **look)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _published_title(series: Mapping[str, Mapping[str, float]]) -> str:
    ranges = []
    for start in ("RTX", "CPU"):
        kinds = [models for name, models in series.items() if name.startswith(start)]
        ratios = [ratio for models in kinds for ratio in _pairs(models).values()]
        ranges.append(f"{min(ratios):.2f} to {max(ratios):.2f}")
    gpus, cpu = ranges
    return f"PoolFormer runs at {gpus} of its ResNet's speed on these GPUs, {cpu} on this CPU"


def _series() -> dict[str, dict[str, float]]:
    """Name of a series (hardware, mode, source) -> model -> images per second."""
    found: dict[str, dict[str, float]] = {}
    for row in speed_rows():
        if row.value:
            model, _, head = row.model.partition(" + ")
            release = re.search(r"-(pt\d+)", row.source)
            words = [row.hardware or "Hardware not stated", row.mode]
            words.append(TORCH.get(release[1], release[1]) if release else row.source)
            name = ", ".join([*words, *([f"with {head}"] if head else [])])
            found.setdefault(name.replace("INCNEXT", "InceptionNeXt"), {})[model] = row.value
    return {name: models for name, models in found.items() if _pairs(models)}


def _pairs(models: Mapping[str, float]) -> dict[str, float]:
    """PoolFormer's speed over its ResNet's, where both were measured."""
    return {
        f"{ours} /\n{theirs}": models[ours] / models[theirs]
        for ours, theirs in PAIRS.items()
        if ours in models and theirs in models
    }
