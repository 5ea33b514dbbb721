"""Accuracy against MACs and parameters: the paper's Figure 3, and the same for a study's models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from ablations.analysis.rows import Row
from ablations.analysis.scale import bulk_limit
from ablations.analysis.study import Study
from ablations.config.naming import BASELINE, capitalize
from ablations.figures.drawing import (
    BLACK,
    BLUE,
    DASHES,
    GREEN,
    GREY,
    MARKS,
    ORANGE,
    PURPLE,
    VERMILLION,
    StyledFigure,
    cycle_look,
    draw_estimate,
    figure_style,
    legend,
    legend_entry,
    new_figure,
    padded,
    set_log_ticks,
)
from ablations.figures.labels import place_labels, plot_label
from ablations.paper.published import ImageNetRow, imagenet_rows
from ablations.text.phrases import pluralize

# A test checks this against the numbers.
TITLE = "At equal cost, PoolFormer is the most accurate of these published families"
IMAGENET_CLASSES = 1000
# Token mixers, as the paper's figure groups its models.
MIXER_COLORS = {
    "Convolutional": BLACK,
    "Attention": ORANGE,
    "Spatial MLP": GREEN,
    "Pooling": VERMILLION,
}
PUBLISHED = {"macs": "macs_g", "params": "params_m"}  # each cost in the paper's Table 2
OWN_MARKS = ["*", "P", "X", "h"]  # one per study
Look = dict[str, Any]


@figure_style()
def accuracy_against_cost(studies: Sequence[Study]) -> StyledFigure:
    """ImageNet-1K top-1 in percent against MACs and parameters: the paper's Figure 3.

    All models of the paper's Table 2, one line per family, and the rows of the given studies of
    ImageNet-1K with their standard deviation. Studies of other images are left out, since their
    accuracies are not comparable: see ``cost_of_study``.
    """
    families: dict[str, list[ImageNetRow]] = {}
    for model in imagenet_rows():
        families.setdefault(model.model.rsplit("-", 1)[0], []).append(model)
    kinds = {name: members[0].mixer or members[0].arch for name, members in families.items()}
    looks = _family_looks(kinds)
    ours = [
        study
        for study in studies
        if any(record.data.get("classes") == IMAGENET_CLASSES for record in study.records)
    ]
    own_looks: list[Look] = [
        {"marker": OWN_MARKS[number % len(OWN_MARKS)], "color": BLUE} for number in range(len(ours))
    ]
    notes = [
        "Published: arXiv 2111.11418 v3, Table 2; images of 224×224 pixels (Swin-Mixer-T: "
        "256×256). Logarithmic scales."
    ]
    if not ours:
        notes.append("None of these studies is of ImageNet-1K, so none is drawn.")
    figure = new_figure(5.0, TITLE, notes)
    for axes, cost, unit in _panels(figure, "G", "ImageNet-1K top-1 (%)"):
        for family, members in families.items():
            _draw_family(axes, family, members, PUBLISHED[cost], looks[family])
        for study, look in zip(ours, own_looks, strict=True):
            for row in study.rows:
                if row.top1 and row.cost.get(cost):
                    _draw_row(axes, row, row.cost[cost] / unit, "ours", markersize=8, **look)
        axes.margins(x=0.12, y=0.08)
        set_log_ticks(axes, "g")
    columns: dict[str, dict[str, Look]] = {}
    for family, kind in kinds.items():
        kind = "Convolution" if kind == "Convolutional" else kind
        columns.setdefault(kind, {})[family] = looks[family]
    if ours:
        named = map(_name_with_seeds, ours)
        columns["Ours"] = dict(zip(named, own_looks, strict=True))
    _legend_in_columns(figure, columns)
    return figure


def _panels(figure: StyledFigure, symbol: str, accuracy: str) -> list[tuple[Axes, str, float]]:
    """Two axes with their cost and its unit: MACs in M or G, and parameters in M."""
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_xlabel(f"MACs per image ({symbol})")
    left.set_ylabel(accuracy)
    right.set_xlabel("Parameters (M)")
    return [(left, "macs", 1e9 if symbol == "G" else 1e6), (right, "params", 1e6)]


def _legend_in_columns(figure: StyledFigure, columns: Mapping[str, Mapping[str, Look]]) -> None:
    """A legend with one column per group, each under a bold title."""
    entries = []
    longest = max(map(len, columns.values()))
    for title, looks in columns.items():
        entries.append(legend_entry(title, linestyle="none"))
        entries += [
            legend_entry(name, **({"linestyle": "none"} | look)) for name, look in looks.items()
        ]
        entries += [legend_entry("", linestyle="none")] * (longest - len(looks))
    texts = legend(figure, entries, columns=len(columns)).get_texts()
    for text in texts[:: longest + 1]:
        text.set_fontweight("bold")


def _name_with_seeds(study: Study) -> str:
    counts = [row.top1.n for row in study.rows if row.top1]
    few, many = min(counts, default=0), max(counts, default=0)
    n = f"{few}" if few == many else f"{few} to {many}"
    return f"{study.recipe}, {study.training_length} (n = {n})"


def _family_looks(kinds: Mapping[str, str]) -> dict[str, Look]:
    """A colour per kind of token mixer, a mark and a dash per family of that kind."""
    looks: dict[str, Look] = {}
    seen: Counter[str] = Counter()
    for family, kind in kinds.items():
        strong = kind == "Pooling"
        looks[family] = {
            "color": MIXER_COLORS.get(kind, PURPLE),
            "linestyle": DASHES[seen[kind] % len(DASHES)],
            "marker": MARKS[seen[kind] % len(MARKS)],
            "linewidth": 2.2 if strong else 1.1,
            "markersize": 6.0 if strong else 4.5,
            "zorder": 4 if strong else 2,
        }
        seen[kind] += 1
    return looks


def _draw_family(
    axes: Axes, family: str, members: Sequence[ImageNetRow], cost: str, look: Look
) -> None:
    points = sorted((getattr(model, cost), model.top1) for model in members)
    axes.plot(*zip(*points, strict=True), gid=family, **look)
    if family == "PoolFormer":
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


def _draw_row(axes: Axes, row: Row, x: float, name: str, **look: Any) -> None:
    """A row's mean, with its standard deviation over seeds."""
    assert row.top1
    mean, std = row.top1.mean, row.top1.std
    interval = None if std is None else (mean - std, mean + std)
    bar = {"linewidth": 1, "alpha": 0.45, "solid_capstyle": "butt"}
    draw_estimate(axes, mean, x, interval, name, vertical=True, bar=bar, **({"zorder": 5} | look))


@figure_style()
def cost_of_study(study: Study) -> StyledFigure:
    """A study's own models: top-1 in percent on its images against their MACs and parameters.

    One mark per variant: its mean with the standard deviation over seeds. A variant with a distant
    accuracy is an arrow with its number.
    """
    rows = [row for row in study.rows if row.top1 and row.cost.get("macs")]
    bottom, top = _accuracy_limits(rows)
    figure = new_figure(4.6, _title(study, rows), _notes(study, rows, bottom, top))
    looks = _section_looks(rows)
    symbol = "G" if any(row.cost["macs"] >= 1e9 for row in rows) else "M"
    panels = _panels(figure, symbol, "Top-1 on the study's images (%)")
    panels[0][0].set_ylim(bottom, top)
    for axes, cost, unit in panels:
        for row in rows:
            more = {"zorder": 5, "markersize": 6.5} if row.axis == BASELINE else {"zorder": 3}
            _draw_row(axes, row, row.cost[cost] / unit, row.label, **looks[row.axis], **more)
        most = max((row.cost[cost] / unit for row in rows), default=1.0)
        axes.set_xlim(0, 1.6 * most)  # leaves room for labels right of the marks
    entries = [
        legend_entry(plot_label(axis), linestyle="none", **look) for axis, look in looks.items()
    ]
    legend(figure, entries, columns=6)
    for axes, cost, unit in panels:
        inside, outside = [], []
        for row in rows:
            assert row.top1
            mean, x, label = row.top1.mean, row.cost[cost] / unit, plot_label(row.label)
            if not bottom <= mean <= top:
                edge, color = min(max(mean, bottom), top), looks[row.axis]["color"]
                outside.append((f"{label}: {mean:.2f}%", x, edge, color))
            elif _has_other_cost(study, row, cost):
                inside.append((label, x, mean, GREY))
        place_labels(axes, [*outside, *inside])
    return figure


def _title(study: Study, rows: Sequence[Row]) -> str:
    if study.baseline is None:
        return "What the variants of this study cost, and how accurate they are"
    others = [row for row in rows if row is not study.baseline]
    count = sum(any(_has_other_cost(study, row, cost) for cost in PUBLISHED) for row in others)
    verb = "costs" if count < 2 else "cost"
    variants = f"{count or 'None'} of {pluralize(len(others), 'variant')}"
    return f"{variants} {verb} over a tenth more or less than the baseline"


def _notes(study: Study, rows: Sequence[Row], bottom: float, top: float) -> list[str]:
    size = next((row.cost["image_size"] for row in rows if "image_size" in row.cost), "?")
    notes = [
        f"{capitalize(study.name)}; images of {size}×{size} pixels. Mean ± "
        "standard deviation over seeds."
    ]
    if any(row.top1 and not bottom <= row.top1.mean <= top for row in rows):
        notes.append("An arrow is a value off the axis.")
    if any(_has_other_cost(study, row, cost) for row in rows for cost in PUBLISHED):
        notes.append("Labelled if there is room: variants whose cost differs by more than a tenth.")
    return notes


def _section_looks(rows: Sequence[Row]) -> dict[str, Look]:
    sections = dict.fromkeys(row.axis for row in rows)  # in the order of the table: baseline first
    looks = {axis: {"color": BLACK, "marker": MARKS[0]} for axis in sections if axis == BASELINE}
    others = [axis for axis in sections if axis != BASELINE]
    return looks | {axis: cycle_look(number) for number, axis in enumerate(others)}


def _accuracy_limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Limits of the axis of accuracies in percent, over the bulk of the rows."""
    means = sorted(row.top1.mean for row in rows if row.top1)
    if not means:
        return 0.0, 100.0
    middle = means[len(means) // 2]
    limit = bulk_limit([mean - middle for mean in means])
    kept = [row.top1 for row in rows if row.top1 and abs(row.top1.mean - middle) <= limit]
    low = min(spread.mean - (spread.std or 0) for spread in kept)
    high = max(spread.mean + (spread.std or 0) for spread in kept)
    return padded(low, high, 0.1)


def _has_other_cost(study: Study, row: Row, cost: str) -> bool:
    """Whether a variant's cost differs from the baseline's by more than a tenth."""
    usual = study.baseline.cost.get(cost, 0) if study.baseline else 0
    return bool(usual and abs(row.cost[cost] - usual) > 0.1 * usual)
