"""Figures show the numbers of the study and of the paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablations import figures
from ablations.figures import drawing, labels
from ablations.figures.speed import PAIRS
from ablations.paper.published import imagenet_rows
from tests.factories.figures import BASE, OTHER, STUDIES, lines_of, made_up, record, values


def test_the_forest_plot_shows_the_differences_of_the_study(mini, drawn):
    lines = lines_of(drawn["forest"])
    texts = [text.get_text() for text in drawn["forest"].axes[0].texts]
    left, right = drawn["forest"].axes[0].get_xlim()
    rows = [row for row in mini.rows if row is not mini.baseline]
    assert len(rows) == 17
    for row in rows:
        for whose, value, digits in (("ours", row.delta.mean, 2), ("paper", row.paper.delta, 1)):
            name = f"{whose}: {row.label}"
            number = labels.signed_points(value, digits)
            if left <= value <= right:
                assert values(lines[name]) == [value]
            else:
                assert name not in lines
                assert values(lines[f"{name} off the axis"]) == [left if value < left else right]
                assert number in texts
            assert any(number in text for text in texts)
        if row.label != "Residual connection -> None":
            assert values(lines[f"interval: ours: {row.label}"]) == [row.delta.low, row.delta.high]
    off = sorted(name for name in lines if name.endswith("off the axis"))
    assert off == [
        "ours: Residual connection -> None off the axis",
        "paper: Channel MLP -> None off the axis",
        "paper: Modified LayerNorm -> None off the axis",
        "paper: Residual connection -> None off the axis",
    ]


def test_the_forest_plot_has_the_order_of_the_table(mini, drawn):
    axes = drawn["forest"].axes[0]
    names = [text.get_text().strip().rstrip("†") for text in axes.get_yticklabels()]
    rows = [row for row in mini.rows if row is not mini.baseline]
    assert [name for name in names if name not in {row.axis for row in rows}] == [
        labels.plot_label(row.label) for row in rows
    ]
    lines = lines_of(drawn["forest"])
    heights = [values(lines[f"interval: ours: {row.label}"], "y")[0] for row in rows[:2]]
    assert heights == [1 - 0.12, 2 - 0.12]  # below the name of their section
    marked = {name for name in (text.get_text() for text in axes.get_yticklabels()) if "†" in name}
    assert len(marked) == sum(bool(row.also_changes) for row in rows) == 2


def test_one_seed_is_an_open_mark_without_an_interval():
    study, _ = made_up(STUDIES["one seed"])
    lines = lines_of(figures.forest_plot(study))
    assert lines["ours: Modified LayerNorm -> BatchNorm"].get_markerfacecolor() == "white"
    assert not [name for name in lines if name.startswith("interval")]
    three, _ = made_up([*BASE, *OTHER])
    filled = lines_of(figures.forest_plot(three))["ours: Modified LayerNorm -> BatchNorm"]
    assert filled.get_markerfacecolor() == drawing.BLUE


def test_an_interval_beyond_the_axis_ends_in_an_arrow():
    study, _ = made_up(STUDIES["a wide interval"])
    figure = figures.forest_plot(study)
    left, right = figure.axes[0].get_xlim()
    row = next(row for row in study.rows if row.axis == "Normalization")
    assert row.delta.low < left
    assert row.delta.high > right
    lines = [line for line in figure.axes[0].get_lines() if line.get_gid() == "goes on"]
    assert [(line.get_marker(), *values(line)) for line in lines] == [("<", left), (">", right)]
    assert values(lines_of(figure)[f"interval: ours: {row.label}"]) == [left, right]


def test_a_row_that_differs_is_bold_and_counted():
    apart = [record(seed, 70.0 + seed, model__norm="layer") for seed in (0, 1)]
    apart.append(record(2, 72.01, model__norm="layer"))
    study, _ = made_up([*BASE, *OTHER, *apart])
    figure = figures.forest_plot(study)
    bold = [text.get_text() for text in figure.axes[0].texts if text.get_fontweight() == "bold"]
    assert [text for text in bold if text.startswith(("−", "+"))] == ["−10.00 [−10.01, −9.98]"]
    assert figure.get_suptitle().startswith("1 of 2 variants differs from")


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
    """The title's claim: other models are below PoolFormer's line wherever it has a value."""
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


def test_only_studies_of_imagenet_are_drawn_with_the_published_models(mini):
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
    texts = [text.get_text().replace("\n", " ") for text in left.texts]
    assert "Residual connection → None: 10.00%" in texts
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


def test_curves_far_below_have_panels_of_their_own(drawn):
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


def test_curves_of_interrupted_runs_end_at_their_last_epoch():
    study, lines = made_up([*BASE, *OTHER])
    lines[OTHER[0].run_id] = lines[OTHER[0].run_id][:1]
    del lines[OTHER[1].run_id]
    figure = figures.training_curves(study, lines, "Normalization")
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
        figures.training_curves(study, lines, "norm")


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


def test_long_labels_of_a_grid_are_unique():
    ends = [[16, 32, 80, 8 * n] for n in range(2, 6)]
    long = [
        record(seed, 80.0 + seed, model__dims=dims, optim__weight_decay=0.0123456, **more)
        for seed in range(2)
        for dims in ends
        for more in ({}, {"model__norm": "batch"}, {"model__mlp_ratio": 2.125})
    ]
    grid = [
        record(seed, 78.0 + seed, model__mlp_ratio=ratio, model__norm=norm)
        for seed in range(2)
        for ratio in (2.0, 8.0)
        for norm in ("layer", "batch")
    ]
    study, lines = made_up([*BASE, *grid, *long])
    names = [text.get_text() for text in figures.forest_plot(study).axes[0].get_yticklabels()]
    assert len(set(names)) == len(names) > len(study.rows)
    for axis in figures.ablation_axes(study):
        texts = figures.training_curves(study, lines, axis).legends[0].get_texts()
        assert len({text.get_text() for text in texts}) == len(texts)


def test_one_epoch_has_one_tick():
    study, lines = made_up([*BASE, *OTHER])
    lines = {run_id: [{**rows[-1], "epoch": 1}] for run_id, rows in lines.items()}
    figure = figures.training_curves(study, lines, "Normalization")
    figure.draw_without_rendering()
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_labels_that_become_equal_are_numbered():
    assert labels.make_unique(["a", "b", "a"]) == ["a", "b", "a (2)"]
    names, places, height = labels.stack_labels(["x" * 200 + "1", "x" * 200 + "2", "short"], 8)
    assert len(set(names)) == 3
    assert places == sorted(places)
    assert height > places[-1]


def test_a_figure_grows_with_its_legend():
    study, lines = made_up([*BASE, *OTHER])
    usual = figures.training_curves(study, lines, "Normalization").get_figheight()
    many = [
        record(seed, 79.0 + seed, optim__lr=0.001 + number / 1e4)
        for seed in range(2)
        for number in range(40)
    ]
    study, lines = made_up([*BASE, *many])
    figure = figures.training_curves(study, lines, "Learning rate")
    figure.draw_without_rendering()
    assert figure.get_figheight() > usual + 1
    assert figure.axes[0].get_window_extent().height > 1.5 * figure.dpi
