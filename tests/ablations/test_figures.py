"""Figures: what is drawn equals the numbers, and a reader can read it.

What a picture looks like is checked as far as numbers can: nothing overlaps or is cut off, every
axis has a unit, and colours differ for colour-blind readers, by Machado's simulation.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from ablations import figures, tables
from ablations.figures import drawing
from ablations.figures.speed import PAIRS
from ablations.published import imagenet_rows
from ablations.records import Record
from ablations.resolve import resolve
from ablations.study import Study, studies
from ablations.tables import bars

MINI = "results/mini"


@pytest.fixture(scope="module")
def mini() -> Study:
    (study,) = tables.read(MINI)
    return study


@pytest.fixture(scope="module")
def histories() -> dict[str, list[dict[str, float]]]:
    return tables.histories(MINI)


COST = {
    "mini": {"params": 421_882, "macs": 1_344_000, "image_size": 32},
    "imagenet": {"params": 11_915_176, "macs": 1_822_678_528, "image_size": 224},
}


def record(seed=0, top1=80.0, preset=None, recipe="mini", status="finished", **overrides) -> Record:
    """A run that was never trained."""
    plain = {name.replace("__", "."): value for name, value in overrides.items()}
    config = resolve(recipe, {"seed": seed, **plain}, preset)
    measured = top1 is not None
    return Record(
        run_id=config.run_id,
        status=status,
        config=config.to_json(),
        metrics={"val/top1": {"last": top1, "best": top1}} if measured else {},
        cost=COST[recipe] if measured else {},
        timing={"pictures_per_second": 1000.0 + seed} if measured else {},
        data={"fingerprint": "f" * 16, "classes": config.to_json()["model"]["num_classes"]},
        environment={"precision": "32-true", "device": "cpu", "threads": 1},
        failure={"kind": "oom", "message": "no memory"} if status == "failed" else None,
    )


def made_up(records: list[Record]) -> tuple[Study, dict[str, list[dict[str, float]]]]:
    """A study, and a history of two epochs for each of its runs that has a result."""
    (study,) = studies(records)
    lines = {
        run.run_id: [
            {"epoch": 1, "val/top1": run.metric() / 2},
            {"epoch": 2, "val/top1": run.metric()},
        ]
        for run in records
        if run.metric() is not None
    }
    return study, lines


BASE = [record(seed, 80.0 + seed) for seed in range(3)]
OTHER = [record(seed, 79.0 - seed, model__norm="batch") for seed in range(3)]
STUDIES: dict[str, list[Record]] = {
    "one seed": [BASE[0], OTHER[0], record(0, 10.0, preset="no_residual")],
    "no baseline": [*OTHER, record(0, 70.0, model__norm="layer")],
    "only a baseline": BASE,
    "without rows of the paper": [
        *BASE,
        *(record(seed, 81.0 + seed / 2, optim__label_smoothing=0.0) for seed in range(3)),
        *(record(seed, 60.0, model__mlp_ratio=2.0) for seed in range(3)),
    ],
    "failed": [
        *BASE,
        record(0, None, status="failed", model__norm="layer"),
        record(1, 20.0, status="diverged", model__norm="layer"),
        record(0, None, status="failed", model__norm="none"),
    ],
    "all failed": [record(seed, None, status="failed") for seed in range(2)],
    "no spread": [*BASE, *(record(seed, 79.0 + seed, model__norm="batch") for seed in range(3))],
    "other seeds": [*BASE, *(record(7 + seed, 75.0, model__norm="batch") for seed in range(3))],
    "a wide interval": [
        *BASE,
        *(record(0, 80.1 + size / 99, model__pool_size=size) for size in (5, 7, 9)),
        *(record(seed, top1, model__norm="batch") for seed, top1 in enumerate((80.2, 99.0, 70.0))),
        *(
            record(seed, 80.3 + seed, model__activation=name)
            for seed in range(3)
            for name in ("relu", "silu")
        ),
    ],
    "ImageNet-1K": [
        record(0, 77.2, recipe="imagenet"),
        record(0, 80.3, recipe="imagenet", preset="s24"),
        record(0, 81.4, recipe="imagenet", preset="s36"),
    ],
}


def every_figure(
    study: Study, lines: Mapping[str, list[dict[str, float]]], most: int | None = None
) -> dict[str, Figure]:
    """The figures that a study changes, curves of its ``most`` first axes."""
    found = {
        "forest": figures.forest(study),
        "cost": figures.cost_of_study(study),
        "speed": figures.speed(study),
    }
    if study.recipe == "imagenet":
        found["accuracy against cost"] = figures.accuracy_against_cost([study])
    for axis in figures.axes_of(study)[:most]:
        found[axis] = figures.curves(study, lines, axis)
    for figure in found.values():
        figure.draw_without_rendering()
    return found


@pytest.fixture(scope="module")
def drawn(mini, histories) -> dict[str, Figure]:
    """Every figure, of the embedded study where it is of one, laid out."""
    found = {
        "accuracy against cost": figures.accuracy_against_cost([mini]),
        "published speed": figures.published_speed(),
    }
    for figure in found.values():
        figure.draw_without_rendering()
    return found | every_figure(mini, histories)


def lines_of(figure: Figure) -> dict[str, Line2D]:
    """Lines of all panels by their ids; of one name, the last."""
    found = (line for axes in figure.axes for line in axes.get_lines())
    return {str(line.get_gid()): line for line in found if line.get_gid()}


def values(line: Line2D, direction: str = "x") -> list[float]:
    return [float(value) for value in np.atleast_1d(line.get_data()[direction == "y"])]


# What is drawn


def test_the_forest_shows_the_differences_of_the_study(mini, drawn):
    lines = lines_of(drawn["forest"])
    texts = [text.get_text() for text in drawn["forest"].axes[0].texts]
    left, right = drawn["forest"].axes[0].get_xlim()
    rows = [row for row in mini.rows if row is not mini.baseline]
    assert len(rows) == 17
    for row in rows:
        for whose, value, digits in (("ours", row.delta.mean, 2), ("paper", row.paper.delta, 1)):
            name = f"{whose}: {row.label}"
            number = drawing.points(value, digits)
            if left <= value <= right:
                assert values(lines[name]) == [value]
            else:
                assert name not in lines
                assert values(lines[f"{name} off the axis"]) == [left if value < left else right]
                assert number in texts
            assert any(number in text for text in texts)
        if row.label != "Residual connection -> None":
            assert values(lines[f"interval: {row.label}"]) == [row.delta.low, row.delta.high]
    off = sorted(name for name in lines if name.endswith("off the axis"))
    assert off == [
        "ours: Residual connection -> None off the axis",
        "paper: Channel MLP -> None off the axis",
        "paper: Modified LayerNorm -> None off the axis",
        "paper: Residual connection -> None off the axis",
    ]


def test_the_forest_stands_in_the_order_of_the_table(mini, drawn):
    axes = drawn["forest"].axes[0]
    names = [text.get_text().strip().rstrip("†") for text in axes.get_yticklabels()]
    rows = [row for row in mini.rows if row is not mini.baseline]
    assert [name for name in names if name not in {row.axis for row in rows}] == [
        drawing.arrows(row.label) for row in rows
    ]
    heights = [
        values(lines_of(drawn["forest"])[f"interval: {rows[i].label}"], "y")[0] for i in (0, 1)
    ]
    assert heights == [1 - 0.12, 2 - 0.12]  # below the name of their section
    marked = {name for name in (text.get_text() for text in axes.get_yticklabels()) if "†" in name}
    assert len(marked) == sum(bool(row.also) for row in rows) == 2


def test_one_seed_is_an_open_mark_without_an_interval():
    study, _ = made_up(STUDIES["one seed"])
    lines = lines_of(figures.forest(study))
    assert lines["ours: Modified LayerNorm -> BatchNorm"].get_markerfacecolor() == "white"
    assert not [name for name in lines if name.startswith("interval")]
    three, _ = made_up([*BASE, *OTHER])
    filled = lines_of(figures.forest(three))["ours: Modified LayerNorm -> BatchNorm"]
    assert filled.get_markerfacecolor() == drawing.BLUE


def test_an_interval_that_leaves_the_axis_goes_on_in_an_arrow():
    study, _ = made_up(STUDIES["a wide interval"])
    figure = figures.forest(study)
    left, right = figure.axes[0].get_xlim()
    row = next(row for row in study.rows if row.axis == "Normalization")
    assert row.delta.low < left
    assert row.delta.high > right
    lines = [line for line in figure.axes[0].get_lines() if line.get_gid() == "goes on"]
    assert [(line.get_marker(), *values(line)) for line in lines] == [("<", left), (">", right)]
    assert values(lines_of(figure)[f"interval: {row.label}"]) == [left, right]


def test_a_row_that_is_told_apart_is_bold_and_counted():
    apart = [record(seed, 70.0 + seed, model__norm="layer") for seed in (0, 1)]
    apart.append(record(2, 72.01, model__norm="layer"))
    study, _ = made_up([*BASE, *OTHER, *apart])
    figure = figures.forest(study)
    bold = [text.get_text() for text in figure.axes[0].texts if text.get_fontweight() == "bold"]
    assert [text for text in bold if text.startswith(("−", "+"))] == ["−10.00 [−10.01, −9.98]"]
    assert figure.get_suptitle().startswith("1 of 2 variants is told apart")


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ([], 0),
        ([0, 1, -2, 3], 3),
        ([0.1, 0.2, 0.3, -72], 0.3),
        ([0.1, 0.2, 0.3, 4], 4),  # within NEAR points nothing is far
        ([1, 2, 3, 4, -13], 4),
        ([1, 2, 3, 4, -12], 12),  # three times the next is not more than three times
        ([1, -72], 72),  # one of two values is not the rule
    ],
)
def test_what_is_far_from_more_than_half_of_the_values_is_off_the_axis(given, limit):
    assert bars.reach(given) == limit


def test_accuracy_against_cost_shows_every_published_model(drawn):
    left, right = drawn["accuracy against cost"].axes
    for axes, cost in ((left, "macs_g"), (right, "params_m")):
        shown = [
            point
            for line in axes.get_lines()
            for point in zip(values(line), values(line, "y"), strict=True)
        ]
        models = [(getattr(model, cost), model.top1) for model in imagenet_rows()]
        assert len(models) == 27
        assert sorted(shown) == sorted(models)
    names = [text.get_text() for text in drawn["accuracy against cost"].legends[0].get_texts()]
    assert [name for name in names if name] == [
        *("Convolution", "RSB-ResNet", "Attention", "ViT", "DeiT", "PVT", "Spatial MLP"),
        *("MLP-Mixer", "ResMLP", "Swin-Mixer", "gMLP", "Pooling", "PoolFormer"),
    ]


@pytest.mark.parametrize("cost", ["macs_g", "params_m"])
def test_poolformer_is_above_every_other_family_at_equal_cost(cost):
    """What the title claims: wherever PoolFormer's line has a value, the others' are below it."""
    models = imagenet_rows()
    ours = sorted(
        (getattr(row, cost), row.top1) for row in models if row.model.startswith("PoolFormer")
    )
    across, up = zip(*ours, strict=True)
    compared = 0
    for row in models:
        if not row.model.startswith("PoolFormer") and across[0] <= getattr(row, cost) <= across[-1]:
            at = np.interp(math.log(getattr(row, cost)), np.log(across), up)
            assert row.top1 < at, row.model
            compared += 1
    assert compared >= 15


def test_only_studies_of_imagenet_stand_beside_the_published_models(mini):
    study, _ = made_up(STUDIES["ImageNet-1K"])
    figure = figures.accuracy_against_cost([mini, study])
    ours = [line for line in figure.axes[0].get_lines() if line.get_color() == drawing.BLUE]
    assert sorted(values(line, "y")[0] for line in ours) == [77.2, 80.3, 81.4]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "imagenet, 300 epochs (n = 1)" in names
    assert not any("mini" in name for name in names)


def test_the_cost_of_a_study_is_that_of_its_models(mini, drawn):
    left, right = drawn["cost"].axes
    for axes, cost in ((left, "macs"), (right, "params")):
        lines = {line.get_gid(): line for line in axes.get_lines()}
        for row in mini.rows:
            off = row.label == "Residual connection -> None"
            line = lines[f"{row.label} off the axis" if off else row.label]
            assert values(line) == [row.cost[cost] / 1e6]
            bottom = axes.get_ylim()[0]
            assert values(line, "y") == [bottom if off else row.top1.mean]
    told = [text.get_text().replace("\n", " ") for text in left.texts]
    assert "Residual connection → None: 10.00%" in told
    assert drawn["cost"].get_suptitle().startswith("3 of 17 variants")


def test_curves_are_the_mean_and_the_range_of_the_histories(mini, histories, drawn):
    figure = drawn["Activation"]
    left, right = figure.axes
    base = {run.config["seed"]: histories[run.run_id] for run in mini.baseline.records}
    for row in mini.rows:
        if row.axis not in ("Baseline", "Activation"):
            continue
        runs = {run.config["seed"]: histories[run.run_id] for run in row.records}
        for axes, own in (
            (left, {seed: [line["val/top1"] for line in runs[seed]] for seed in runs}),
            (
                right,
                {
                    seed: [
                        ours["val/top1"] - theirs["val/top1"]
                        for ours, theirs in zip(runs[seed], base[seed], strict=True)
                    ]
                    for seed in runs
                },
            ),
        ):
            lines = {line.get_gid(): line for line in axes.get_lines()}
            if axes is right and row is mini.baseline:
                assert row.label not in lines
                continue
            table = np.array(list(own.values()))
            assert values(lines[row.label]) == [1, 2, 3]
            assert values(lines[row.label], "y") == pytest.approx(list(table.mean(axis=0)))
            (band,) = [band for band in axes.collections if band.get_gid() == row.label]
            corners = band.get_paths()[0].vertices
            for epoch, low, high in zip(
                (1, 2, 3), table.min(axis=0), table.max(axis=0), strict=True
            ):
                heights = corners[corners[:, 0] == epoch][:, 1]
                assert (min(heights), max(heights)) == pytest.approx((low, high))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Baseline (n = 3)", "GELU → ReLU (n = 3)", "GELU → SiLU (n = 3)"]


def test_what_stays_far_below_has_panels_of_its_own(drawn):
    far = drawn["Other components"]
    assert len(far.axes) == 4
    assert [len(drawn[axis].axes) for axis in ("Token mixers", "Hybrid stages")] == [2, 2]
    name = "Residual connection -> None"
    shown = [name in {line.get_gid() for line in axes.get_lines()} for axes in far.axes]
    assert shown == [False, False, True, True]
    for axes in far.axes:
        for line in axes.get_lines():
            if line.get_gid() not in (None, "break"):
                low, high = axes.get_ylim()
                assert all(low <= value <= high for value in values(line, "y"))


def test_curves_of_runs_that_ended_early_go_as_far_as_they_got():
    study, lines = made_up([*BASE, *OTHER])
    lines[OTHER[0].run_id] = lines[OTHER[0].run_id][:1]
    del lines[OTHER[1].run_id]
    figure = figures.curves(study, lines, "Normalization")
    line = lines_of(figure)["Modified LayerNorm -> BatchNorm"]
    assert values(line) == [1, 2]
    left = {line.get_gid(): line for line in figure.axes[0].get_lines()}
    drawn = values(left["Modified LayerNorm -> BatchNorm"], "y")
    assert drawn == [(79 / 2 + 77 / 2) / 2, 77.0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "Modified LayerNorm → BatchNorm (n = 2)" in names


def test_an_unknown_axis_is_an_error_that_names_the_known():
    study, lines = made_up([*BASE, *OTHER])
    with pytest.raises(ValueError, match="axis 'norm' is none of this study: Normalization"):
        figures.curves(study, lines, "norm")


def test_speed_shows_every_run_and_its_ratio_to_the_baseline(mini, drawn):
    axes = drawn["speed"].axes[0]
    lines = {line.get_gid(): line for line in axes.get_lines()}
    usual = np.mean([run.timing["pictures_per_second"] for run in mini.baseline.records])
    ratios = [text.get_text() for text in axes.texts]
    for row, ratio in zip(mini.rows, ratios, strict=True):
        speeds = [run.timing["pictures_per_second"] for run in row.records]
        assert values(lines[row.label]) == speeds
        assert ratio == f"{np.mean(speeds) / usual:.2f}×"
    assert "shared the machine" in drawn["speed"].texts[-1].get_text().replace("\n", " ")


def test_published_ratios_are_of_the_same_hardware(drawn):
    left, right = drawn["published speed"].axes
    speeds = {line.get_gid(): line for line in left.get_lines()}
    names = [text.get_text() for text in left.get_yticklabels()]
    compared = 0
    for line in right.get_lines():
        if line.get_gid() is None:
            continue
        series = speeds[line.get_gid()]
        at = {
            names[round(height - 1e-9)]: value
            for value, height in zip(values(series), values(series, "y"), strict=True)
        }
        pairs = [
            at[ours] / at[theirs] for ours, theirs in PAIRS.items() if {ours, theirs} <= set(at)
        ]
        assert values(line) == pytest.approx(pairs)
        compared += len(pairs)
    assert compared == 5 * 3 + 2
    assert values(speeds["RTX 4090, inference, torch 2.4"])[0] == 13537.15  # ResNet-18


# What a reader can read


@pytest.mark.slow  # all figures of ten studies
@pytest.mark.parametrize("name", list(STUDIES))
def test_figures_of_odd_studies_are_as_readable(name):
    study, lines = made_up(STUDIES[name])
    for what, figure in every_figure(study, lines, most=1).items():
        check_layout(figure, f"{name}, {what}")


def test_figures_of_the_embedded_study_are_readable(drawn):
    for what, figure in drawn.items():
        check_layout(figure, what)


def check_layout(figure: Figure, what: str) -> None:
    """The legend covers no axes, nothing is cut off, and no text lies on another."""
    page = figure.bbox
    for legend in figure.legends:
        box = legend.get_window_extent()
        for axes in figure.axes:
            assert not box.overlaps(axes.get_tightbbox()), f"{what}: the legend is on an axes"
    boxes = [(text, text.get_window_extent()) for text in texts_of(figure)]
    for text, box in boxes:
        inside = box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1
        inside = inside and box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1
        assert inside, f"{what}: {text.get_text()!r} is cut off"
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        told = f"{what}: {one.get_text()!r} is on {other.get_text()!r}"
        assert across < 2 or up < 4, told  # pixels; a box has room above its letters
    for axes in figure.axes:
        assert axes.bbox.width > 0.25 * page.width, what
        for label in (axes.get_xlabel(), axes.get_ylabel()):
            units = r"(\((%|points|percentage points|G|M|pictures/s|images/s|×)\)|^Epoch)$"
            assert not label or re.search(units, label), f"{what}: {label!r} has no unit"
        assert axes.get_xlabel() or len(figure.axes) == 4, what  # upper panels share the lower's


def texts_of(figure: Figure) -> list[Text]:
    """All texts that a reader sees."""
    found = [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()
    ]
    ticks = {
        id(text)
        for axes in figure.axes
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in axis.get_major_ticks()
        for text in (tick.label1, tick.label2)
        if not (min(low, high) <= tick.get_loc() <= max(low, high)) or not tick.label1.get_visible()
    }
    return [text for text in found if id(text) not in ticks]


def test_the_check_of_the_layout_fails_where_it_must():
    study, _ = made_up([*BASE, *OTHER])
    for spoil, message in SPOILT.items():
        figure = figures.forest(study)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        spoil(figure)
        figure.draw_without_rendering()
        with pytest.raises(AssertionError, match=message):
            check_layout(figure, "spoilt")


SPOILT: dict[Callable[[Figure], object], str] = {
    lambda figure: figure.legends[0].set_loc("center"): "the legend is on an axes",
    lambda figure: figure.text(0.9, 0.5, "a text that is too long"): "is cut off",
    lambda figure: figure.text(0.01, 0.03, "small print"): "is on",
    lambda figure: figure.axes[0].set_xlabel("Difference"): "has no unit",
}


# Machado, Oliveira, Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency" (IEEE TVCG 15, 2009), severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(colour: str, blindness: str) -> np.ndarray:
    """CIELAB (D65) of a colour as a reader sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(BLINDNESS[blindness]) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, blindness: str) -> float:
    """CIE76; 2.3 is just noticeable."""
    return float(np.linalg.norm(lab(one, blindness) - lab(other, blindness)))


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_differ_for_colour_blind_readers(blindness):
    used = [drawing.BLACK, "#FFFFFF", *drawing.CYCLE]
    for one, other in itertools.combinations(used, 2):
        assert distance(one, other, blindness) > 10, (one, other)


def test_the_check_of_colours_fails_where_it_must():
    assert distance("#FF0000", "#FF0000", "none") == 0
    assert distance("#D62728", "#2CA02C", "none") > 100  # matplotlib's own red and green
    assert distance("#D62728", "#2CA02C", "deuteranopia") < 35
    assert distance("#8C8C00", "#B37700", "protanopia") < 10


def test_no_two_lines_of_a_figure_look_alike(drawn):
    """Colour aside: mark and dash tell them apart too."""
    for what, figure in drawn.items():
        looks: dict[tuple[object, ...], str] = {}
        for line in figure.legends[0].get_lines():
            look = (line.get_color(), line.get_marker(), str(line.get_linestyle()))
            if line.get_marker() not in ("None", None) and line.get_label().strip():
                assert look not in looks, f"{what}: {line.get_label()} and {looks[look]}"
                looks[look] = line.get_label()


# What a program needs


def test_figures_leave_no_trace():
    code = (
        "import sys, matplotlib as mpl; from ablations import figures;"
        "mpl.rcParams['font.size'] = 7;"
        "figures.png(figures.published_speed());"
        "assert mpl.rcParams['font.size'] == 7; assert 'matplotlib.pyplot' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_nothing_else_waits_for_matplotlib():
    code = (
        "import sys, ablations.tables, ablations.__main__, ablations.commands.table as _;"
        "sys.exit('matplotlib' in sys.modules or 'ablations.figures' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_readers_own_style_changes_nothing():
    study, _ = made_up([*BASE, *OTHER])
    usual = figures.png(figures.forest(study))
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert figures.png(figures.forest(study)) == usual


def test_the_same_figure_is_the_same_svg():
    study, _ = made_up([*BASE, *OTHER])
    text = figures.svg(figures.forest(study))
    assert text == figures.svg(figures.forest(study))
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "<text" not in text  # letters are paths: no font is needed


def test_a_notebook_shows_a_figure_as_it_is():
    study, _ = made_up([*BASE, *OTHER])
    figure = figures.forest(study)
    shown, size = figure._repr_png_()
    with Image.open(io.BytesIO(shown)) as picture:
        assert picture.size == tuple(1.5 * pixels for pixels in size.values())
        few = np.asarray(picture.convert("RGB")).astype(int)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=1.5 * drawing.DPI)
    with Image.open(file) as picture:
        exact = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(few - exact).mean() < 0.5  # of 255: the fewer colours are not seen
