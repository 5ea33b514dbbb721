"""Pictures a second: of a study's runs while they trained, and as others published them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.figures.drawing import (
    BLACK,
    BLUE,
    CYCLE,
    MARKS,
    STYLE,
    StyledFigure,
    capitalize,
    legend,
    legend_entry,
    log_ticks,
    new_figure,
    plot_label,
    stack_labels,
    with_style,
)
from ablations.paper.published import speed_rows

# What the paper's sizes are said to be as fast as, and are as accurate as or more.
PAIRS = {
    "PoolFormer-S12": "ResNet-34",
    "PoolFormer-S24": "ResNet-50",
    "PoolFormer-S36": "ResNet-101",
}
MODELS = ["ResNet-18", "ResNet-34", "PoolFormer-S12", "ResNet-50", "PoolFormer-S24", "ResNet-101"]
MODELS += ["PoolFormer-S36", "ResNet-152", "PoolFormer-M36", "PoolFormer-M48"]
TORCH = {"pt112": "torch 1.12", "pt113": "torch 1.13", "pt240": "torch 2.4"}  # timm's file names
SMALL = 7.5  # points


@with_style
def training_speed(study: Study) -> StyledFigure:
    """Pictures a second while training, by variant: a mark a run and a stroke at their mean.

    The number beside a row is its mean over the baseline's. Cells of a study may share a machine,
    so that the spread over the seeds is the machine's as much as the variant's.
    """
    rows = [row for row in study.rows if _speeds(row)]
    told = [plot_label(row.label) + "†" * bool(row.also_changes) for row in rows]
    names, places, height = stack_labels(told, STYLE["ytick.labelsize"])
    made = new_figure(1.75 + 0.2 * max(3, height), _title(study), _notes(study))
    axes = made.add_subplot()
    axes.set_ylim(height - 0.4, -0.6)
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    usual = _mean(study.baseline)
    for place, row in zip(places, rows, strict=True):
        colour = BLACK if row is study.baseline else BLUE
        values = _speeds(row)
        mean = sum(values) / len(values)
        axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.55, gid=row.label)
        axes.plot([mean], [place], "|", color=colour, markersize=12, markeredgewidth=2, gid="mean")
        if usual:
            axes.annotate(
                f"{mean / usual:.2f}×",
                (1, place),
                (8, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                fontsize=SMALL,
                annotation_clip=False,
            )
    if usual:
        axes.axvline(usual, color=BLACK, linewidth=0.9, linestyle=":", zorder=1)
    most = max((value for row in rows for value in _speeds(row)), default=1.0)
    axes.set_xlim(0, 1.05 * most)
    axes.set_xlabel("Training speed (images/s)")
    look: dict[str, Any] = {"color": BLUE, "linestyle": "none"}
    keys = [
        legend_entry("a run", marker="o", alpha=0.55, **look),
        legend_entry(
            "mean of a variant's runs", marker="|", markersize=11, markeredgewidth=2, **look
        ),
    ]
    if usual:
        keys.append(legend_entry("the baseline's mean", color=BLACK, linewidth=0.9, linestyle=":"))
    legend(made, keys, columns=3)
    return made


def _speeds(row: Row) -> list[float]:
    """Pictures a second of each run that was timed."""
    found = [record.timing.get("pictures_per_second") for record in row.records if record.done]
    return [float(value) for value in found if value]


def _mean(row: Row | None) -> float | None:
    values = _speeds(row) if row else []
    return sum(values) / len(values) if values else None


def _title(study: Study) -> str:
    usual = _mean(study.baseline)
    speeds = {row.label: _mean(row) for row in study.rows if row is not study.baseline}
    known = {label: mean for label, mean in speeds.items() if mean}
    if not usual or len(known) < 2:
        return "Training speed"
    slowest, *_, fastest = sorted(known, key=lambda label: known[label])
    return (
        f"Fastest: {plot_label(fastest)}, {known[fastest] / usual:.2f}× the baseline; slowest: "
        f"{plot_label(slowest)}, {known[slowest] / usual:.2f}×"
    )


def _notes(study: Study) -> list[str]:
    devices = sorted({str(record.environment.get("device", "unknown")) for record in study.records})
    threads = sorted({str(record.environment.get("threads", "?")) for record in study.records})
    notes = [
        f"{capitalize(study.name)}; device {', '.join(devices)}, threads "
        f"{', '.join(threads)}. As timed while training: runs at the same time shared "
        "the machine, so this is no benchmark. Beside a row: its mean over the baseline's."
    ]
    if any(row.also_changes for row in study.rows):
        notes.append("† Changes more than its axis: the footnotes of the table say what.")
    return notes


@with_style
def published_speed() -> StyledFigure:
    """What others measured: images a second by model, and PoolFormer's over its ResNet's.

    ``ablations/paper/speed.csv``: timm's tables and one of segmentation models; rows without a
    number, and models without their pair on the same hardware, are left out.
    """
    series = _series()
    notes = [
        "Sources: timm's results/*.csv (224×224 pixels) and, with Semantic FPN at 512×512 pixels "
        "on hardware that it does not state, InceptionNeXt's Table 7. None is the paper's "
        "own. A logarithmic scale on the left."
    ]
    made = new_figure(5.1, _published_title(series), notes)
    left, right = made.subplots(1, 2, width_ratios=[1.2, 1])
    looks = _looks(series)
    _throughput(left, series, looks)
    _ratios(right, series, looks)
    legend(
        made,
        [legend_entry(name, linestyle="none", **look) for name, look in looks.items()],
        columns=3,
    )
    return made


def _published_title(series: Mapping[str, Mapping[str, float]]) -> str:
    told = []
    for start in ("RTX", "CPU"):
        kinds = [models for name, models in series.items() if name.startswith(start)]
        ratios = [ratio for models in kinds for ratio in _pairs(models).values()]
        told.append(f"{min(ratios):.2f} to {max(ratios):.2f}")
    return (
        f"PoolFormer runs at {told[0]} of its ResNet's speed on these GPUs, {told[1]} on this CPU"
    )


def _series() -> dict[str, dict[str, float]]:
    """Name of a measurement (hardware, training or inference) -> model -> images a second."""
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
    """PoolFormer's images a second over its ResNet's, where both were measured."""
    return {
        f"{ours} /\n{theirs}": models[ours] / models[theirs]
        for ours, theirs in PAIRS.items()
        if ours in models and theirs in models
    }


def _looks(series: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    return {
        name: {"color": [*CYCLE, BLACK][number % 7], "marker": MARKS[number % len(MARKS)]}
        for number, name in enumerate(series)
    }


def _place(number: int, count: int) -> float:
    """-1 to 1: a little above or below each other, what measures the same is still seen."""
    return 2 * number / max(1, count - 1) - 1


def _throughput(
    axes: Axes, series: Mapping[str, Mapping[str, float]], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    """Images a second, a row a model: PoolFormers under the ResNets of their pairs."""
    there = {model for models in series.values() for model in models}
    names = [model for model in MODELS if model in there]
    for number, (name, models) in enumerate(series.items()):
        shift = 0.2 * _place(number, len(series))
        across = [models[model] for model in names if model in models]
        up = [place + shift for place, model in enumerate(names) if model in models]
        axes.plot(across, up, linestyle="none", gid=name, markersize=5, **looks[name])
    axes.set_yticks(range(len(names)), names)
    for text in axes.get_yticklabels():
        if text.get_text().startswith("PoolFormer"):
            text.set_fontweight("bold")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("log")
    ticks = log_ticks(*axes.get_xlim())
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("Throughput (images/s)")


def _ratios(
    axes: Axes, series: Mapping[str, Mapping[str, float]], looks: Mapping[str, Mapping[str, Any]]
) -> None:
    """PoolFormer's throughput over its ResNet's; right of 1 it is the faster one."""
    names = [f"{ours} /\n{theirs}" for ours, theirs in PAIRS.items()]
    for number, (name, models) in enumerate(series.items()):
        shift = 0.3 * _place(number, len(series))
        pairs = _pairs(models)
        across = [pairs[pair] for pair in names if pair in pairs]
        up = [place + shift for place, pair in enumerate(names) if pair in pairs]
        axes.plot(across, up, linestyle="none", gid=name, markersize=5.5, **looks[name])
    axes.axvline(1, color=BLACK, linewidth=0.9, zorder=1)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("Throughput ratio (×)")
    axes.text(
        0.99, 1.0, "PoolFormer faster →", transform=axes.transAxes, ha="right", fontsize=SMALL
    )
