"""Accuracy against MACs and parameters: the paper's Figure 3, and the same of a study's models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from ablations.analysis.rows import Row
from ablations.analysis.scale import bulk_limit
from ablations.analysis.study import Study
from ablations.config.naming import BASELINE
from ablations.figures.drawing import (
    BLACK,
    BLUE,
    CYCLE,
    DASHES,
    GREEN,
    GREY,
    MARKS,
    ORANGE,
    PURPLE,
    VERMILLION,
    StyledFigure,
    capitalize,
    legend,
    legend_entry,
    log_ticks,
    new_figure,
    place_labels,
    plot_label,
    with_style,
)
from ablations.paper.published import ImageNetRow, imagenet_rows
from ablations.text.phrases import pluralize

# A test holds it against the numbers.
TITLE = "At equal cost, PoolFormer is the most accurate of these published families"
IMAGENET_CLASSES = 1000
# Of token mixers, as the paper's figure groups its models.
KINDS = {
    "Convolutional": BLACK,
    "Attention": ORANGE,
    "Spatial MLP": GREEN,
    "Pooling": VERMILLION,
}
KIND_NAMES = {"Convolutional": "Convolution"}
OWN_MARKS = ["*", "P", "X", "h"]  # a study each


@with_style
def accuracy_against_cost(studies: Sequence[Study]) -> StyledFigure:
    """ImageNet-1K top-1 in percent against MACs and parameters: the paper's Figure 3.

    All models of the paper's Table 2, a line a family, and on top the rows of those studies that
    are of ImageNet-1K themselves, with their standard deviation. An accuracy on other pictures
    cannot stand beside these: ``cost_of_study`` has it.
    """
    families: dict[str, list[ImageNetRow]] = {}
    for model in imagenet_rows():
        families.setdefault(model.model.rsplit("-", 1)[0], []).append(model)
    kind_of = {name: members[0].mixer or members[0].arch for name, members in families.items()}
    looks = _family_looks(kind_of)
    ours = [study for study in studies if _is_imagenet(study)]
    notes = [
        "Published: arXiv 2111.11418 v3, Table 2; images of 224×224 pixels (Swin-Mixer-T: "
        "256×256). Logarithmic scales."
    ]
    if not ours:
        notes.append("No study here is of ImageNet-1K, so none of ours is drawn.")
    made = new_figure(5.0, TITLE, notes)
    left, right = made.subplots(1, 2, sharey=True)
    for axes, theirs, own, unit in (
        (left, "macs_g", "macs", 1e9),
        (right, "params_m", "params", 1e6),
    ):
        for family, members in families.items():
            _family(axes, family, members, theirs, looks[family])
        for number, study in enumerate(ours):
            _own(axes, study, own, unit, OWN_MARKS[number % len(OWN_MARKS)])
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.08)
        ticks = log_ticks(*axes.get_xlim())
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    left.set_xlabel("MACs per image (G)")
    left.set_ylabel("ImageNet-1K top-1 (%)")
    right.set_xlabel("Parameters (M)")
    columns = [
        [legend_entry(KIND_NAMES.get(kind, kind), linestyle="none")]
        + [legend_entry(family, **looks[family]) for family in families if kind_of[family] == kind]
        for kind in dict.fromkeys(kind_of.values())
    ]
    if ours:
        marks = [OWN_MARKS[number % len(OWN_MARKS)] for number in range(len(ours))]
        columns.append(
            [legend_entry("Ours", linestyle="none")]
            + [
                legend_entry(_told(study), marker=mark, color=BLUE, linestyle="none")
                for study, mark in zip(ours, marks, strict=True)
            ]
        )
    longest = max(map(len, columns))
    for column in columns:
        column += [legend_entry("", linestyle="none")] * (longest - len(column))
    made_legend = legend(
        made, [entry for column in columns for entry in column], columns=len(columns)
    )
    for number, text in enumerate(made_legend.get_texts()):
        if number % longest == 0:
            text.set_fontweight("bold")
    return made


def _is_imagenet(study: Study) -> bool:
    return any(record.data.get("classes") == IMAGENET_CLASSES for record in study.records)


def _told(study: Study) -> str:
    counts = [row.top1.n for row in study.rows if row.top1]
    few, many = min(counts, default=0), max(counts, default=0)
    n = f"{few}" if few == many else f"{few} to {many}"
    return f"{study.recipe}, {study.training_length} (n = {n})"


def _family_looks(kind_of: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """A colour a kind of token mixer, a mark and a dash a family of that kind."""
    looks: dict[str, dict[str, Any]] = {}
    seen: Counter[str] = Counter()
    for family, kind in kind_of.items():
        strong = kind == "Pooling"
        looks[family] = {
            "color": KINDS.get(kind, PURPLE),
            "linestyle": DASHES[seen[kind] % len(DASHES)],
            "marker": MARKS[seen[kind] % len(MARKS)],
            "linewidth": 2.2 if strong else 1.1,
            "markersize": 6.0 if strong else 4.5,
            "zorder": 4 if strong else 2,
        }
        seen[kind] += 1
    return looks


def _family(
    axes: Axes, family: str, members: Sequence[ImageNetRow], cost: str, look: Mapping[str, Any]
) -> None:
    points = sorted((getattr(model, cost), model.top1) for model in members)
    axes.plot(*zip(*points, strict=True), gid=family, **look)
    if look["linewidth"] > 2:
        for model in members:
            axes.annotate(
                model.model.rsplit("-", 1)[1],
                (getattr(model, cost), model.top1),
                (-4, 4),
                textcoords="offset points",
                ha="right",
                fontsize=7.5,
                fontweight="bold",
                color=look["color"],
            )


def _own(axes: Axes, study: Study, cost: str, unit: float, mark: str) -> None:
    """A study's own models: mean and standard deviation over seeds."""
    for row in study.rows:
        if row.top1 and row.cost.get(cost):
            look: dict[str, Any] = {"color": BLUE, "markersize": 8, "elinewidth": 1.2, "zorder": 5}
            across = row.cost[cost] / unit
            axes.errorbar(across, row.top1.mean, row.top1.std, fmt=mark, gid="ours", **look)


@with_style
def cost_of_study(study: Study) -> StyledFigure:
    """A study's own models: top-1 in percent on its pictures against their MACs and parameters.

    A mark a variant, its mean with the standard deviation over seeds; one whose accuracy is far off
    is an arrow with its number. Never on an axis with accuracies on other pictures.
    """
    rows = [row for row in study.rows if row.top1 and row.cost.get("macs")]
    made = new_figure(4.6, _title(study, rows), _notes(study, rows))
    left, right = made.subplots(1, 2, sharey=True)
    looks = _section_looks(rows)
    bottom, top = _accuracies(rows)
    left.set_ylim(bottom, top)
    billions = max((row.cost["macs"] for row in rows), default=0) >= 1e9
    panels = [(left, "macs", 1e9 if billions else 1e6), (right, "params", 1e6)]
    for axes, cost, unit in panels:
        for row in rows:
            _variant(axes, row, row.cost[cost] / unit, looks[row.axis])
        most = max((row.cost[cost] / unit for row in rows), default=1.0)
        axes.set_xlim(0, 1.6 * most)  # names stand right of the marks
    left.set_xlabel(f"MACs per image ({'G' if billions else 'M'})")
    right.set_xlabel("Parameters (M)")
    left.set_ylabel("Top-1 on the study's images (%)")
    keys = [
        legend_entry(plot_label(axis), linestyle="none", **look) for axis, look in looks.items()
    ]
    legend(made, keys, columns=6)
    for axes, cost, unit in panels:
        place_labels(
            axes, [*_off(axes, rows, cost, unit, looks), *_named(axes, study, rows, cost, unit)]
        )
    return made


def _notes(study: Study, rows: Sequence[Row]) -> list[str]:
    size = next((row.cost["image_size"] for row in rows if "image_size" in row.cost), "?")
    notes = [
        f"{capitalize(study.name)}; images of {size}×{size} pixels. Mean ± "
        "standard deviation over seeds."
    ]
    bottom, top = _accuracies(rows)
    if any(row.top1 and not bottom <= row.top1.mean <= top for row in rows):
        notes.append("An arrow: off the axis, with its value.")
    if any(_other_cost(study, row, cost) for row in rows for cost in ("macs", "params")):
        notes.append("Named, where there is room: what costs over a tenth more or less.")
    return notes


def _section_looks(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    sections = [axis for axis in dict.fromkeys(row.axis for row in rows) if axis != BASELINE]
    looks: dict[str, dict[str, Any]] = {}
    if len(sections) < len({row.axis for row in rows}):
        looks[BASELINE] = {"color": BLACK, "marker": MARKS[0]}
    for number, axis in enumerate(sections):
        looks[axis] = {
            "color": CYCLE[number % len(CYCLE)],
            "marker": MARKS[1:][(number + number // 6) % 6],
        }
    return looks


def _accuracies(rows: Sequence[Row]) -> tuple[float, float]:
    """From where to where the axis of accuracies goes, in percent."""
    means = sorted(row.top1.mean for row in rows if row.top1)
    if not means:
        return 0.0, 100.0
    middle = means[len(means) // 2]
    limit = bulk_limit([mean - middle for mean in means])
    kept = [row.top1 for row in rows if row.top1 and abs(row.top1.mean - middle) <= limit]
    low = min(spread.mean - (spread.std or 0) for spread in kept)
    high = max(spread.mean + (spread.std or 0) for spread in kept)
    margin = 0.1 * (high - low) or 1.0
    return low - margin, high + margin


def _variant(axes: Axes, row: Row, across: float, look: Mapping[str, Any]) -> None:
    assert row.top1
    bottom, top = axes.get_ylim()
    mean, colour = row.top1.mean, look["color"]
    if bottom <= mean <= top:
        more = {"zorder": 5, "markersize": 6.5} if row.axis == BASELINE else {"zorder": 3}
        drawn = axes.errorbar(across, mean, row.top1.std, fmt=look["marker"], color=colour, **more)
        drawn.lines[0].set_gid(row.label)
        for bar in drawn.lines[2]:
            bar.set(alpha=0.45, linewidth=1)
        return
    below = mean < bottom
    arrow: dict[str, Any] = {"marker": "v" if below else "^", "color": colour, "clip_on": False}
    edge = bottom if below else top
    axes.plot([across], [edge], linestyle="none", gid=f"{row.label} off the axis", **arrow)


def _other_cost(study: Study, row: Row, cost: str) -> bool:
    """Whether a variant's cost is more than a tenth away from the baseline's."""
    usual = study.baseline.cost.get(cost, 0) if study.baseline else 0
    return bool(usual and abs(row.cost[cost] - usual) > 0.1 * usual)


def _title(study: Study, rows: Sequence[Row]) -> str:
    others = [row for row in rows if row is not study.baseline]
    if study.baseline is None:
        return "What the variants of this study cost, and how accurate they are"
    count = sum(
        _other_cost(study, row, "macs") or _other_cost(study, row, "params") for row in others
    )
    verb = "costs" if count < 2 else "cost"
    told = f"{count or 'None'} of {pluralize(len(others), 'variant')} {verb}"
    return f"{told} over a tenth more or less than the baseline"


def _named(
    axes: Axes, study: Study, rows: Sequence[Row], cost: str, unit: float
) -> Iterator[tuple[str, float, float, str]]:
    """The names of variants that stand apart by their cost."""
    bottom, top = axes.get_ylim()
    for row in rows:
        assert row.top1
        if _other_cost(study, row, cost) and bottom <= row.top1.mean <= top:
            yield plot_label(row.label), row.cost[cost] / unit, row.top1.mean, GREY


def _off(
    axes: Axes, rows: Sequence[Row], cost: str, unit: float, looks: Mapping[str, Any]
) -> Iterator[tuple[str, float, float, str]]:
    """The names and values of variants that are off the axis of accuracies."""
    bottom, top = axes.get_ylim()
    for row in rows:
        assert row.top1
        mean = row.top1.mean
        if not bottom <= mean <= top:
            told = f"{plot_label(row.label)}: {mean:.2f}%"
            edge = bottom if mean < bottom else top
            yield told, row.cost[cost] / unit, edge, looks[row.axis]["color"]
