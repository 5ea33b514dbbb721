"""Grids over two fields: each number can be worked out on paper, and what is missing is named."""

from __future__ import annotations

import csv
import io

import pytest

from ablations.analysis import stats
from ablations.analysis.build import build_studies
from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.errors import ConfigError
from ablations.tables import pivot_table, render_tables
from ablations.tables.pivot import find_grids
from tests.factories.commands import commands, configs_of
from tests.factories.records import BASE, record


def runs(*top1, **changed):
    return [record(seed, value, **changed) for seed, value in enumerate(top1)]


BATCH = runs(81.0, 83.0, 84.0, model__norm="batch")
NARROW = runs(78.0, 80.0, 81.0, model__mlp_ratio=2.0)
BOTH = runs(82.0, 83.5, 85.0, model__norm="batch", model__mlp_ratio=2.0)
GRID = [*BASE, *BATCH, *NARROW, *BOTH]


def test_the_interaction_is_the_paired_difference_of_differences():
    (grid,) = find_grids(build_studies(GRID), "")
    assert (grid.down, grid.across) == ("model.norm", "model.mlp_ratio")
    (found,) = grid.interactions.values()
    # (82 - 81) - (78 - 80) = 3; (83.5 - 83) - (80 - 81) = 1.5; (85 - 84) - (81 - 83) = 3
    by_hand = stats.spread([3.0, 1.5, 3.0])
    assert found.delta.mean == pytest.approx(by_hand.mean)
    assert found.delta.std == pytest.approx(by_hand.std)
    assert (found.delta.n, found.delta.p_corrected) == (3, found.delta.p)
    half = found.delta.half_width
    table = render_tables([pivot_table(grid)], "md")
    rows = [
        [c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line
    ]
    assert rows[0] == ["Normalization", "MLP ratio 4", "MLP ratio 2"]
    assert rows[2] == ["Modified LayerNorm", "81.33 ± 1.53 (3)", "79.67 ± 1.53 (3)"]
    assert rows[3] == ["BatchNorm", "82.67 ± 1.53 (3)", "83.50 ± 1.50 (3)"]
    assert f"Interaction, BatchNorm with MLP ratio 2: +2.50 ± {half:.2f} (n = 3, p " in table


def test_a_field_that_only_some_records_have_is_ignored():
    odd = runs(80.0, 81.0, 82.0, model__norm="batch")
    for each in odd:
        each.config["model"]["of_a_later_version"] = 1
    (grid,) = find_grids(build_studies([*GRID, *odd]), "norm,mlp_ratio")
    assert (grid.down, grid.across) == ("model.norm", "model.mlp_ratio")


def test_fields_can_be_given_in_any_order_and_spelling():
    for asked in ("mlp_ratio,norm", "model.mlp_ratio, model.norm", "MLP ratio,normalization"):
        (grid,) = find_grids(build_studies(GRID), asked)
        assert (grid.down, grid.down_values) == ("model.mlp_ratio", [4.0, 2.0])
        assert next(iter(grid.interactions.values())).delta.mean == pytest.approx(2.5)


def test_missing_variants_of_a_grid_have_a_command():
    more = runs(70.0, model__norm="layer", model__mlp_ratio=8.0)
    failed = [record(0, None, model__norm="layer", status="failed")]
    (grid,) = find_grids(build_studies([*GRID, *more, *failed]), "")
    table = render_tables([pivot_table(grid)], "md")
    assert "missing (1 failed: oom)" in table
    assert "Interaction, LayerNorm with MLP ratio 8: a run is missing." in table
    asked = {run.run_id for command in commands(table) for run in configs_of(command)}
    for changed in (
        {"model.norm": "layer"},
        {"model.mlp_ratio": 8.0},
        {"model.norm": "layer", "model.mlp_ratio": 2.0},
        {"model.norm": "batch", "model.mlp_ratio": 8.0},
    ):
        assert {resolve("mini", {**changed, "seed": s}).run_id for s in range(3)} <= asked


def test_a_third_axis_gives_a_grid_for_each_of_its_values():
    third = [
        run
        for norm in ("group", "batch")
        for ratio in (4.0, 2.0)
        for run in runs(70.0, 71.0, model__norm=norm, model__mlp_ratio=ratio, optim__lr=0.1)
    ]
    first, second = find_grids(build_studies([*GRID, *third]), "norm,mlp_ratio")
    assert (first.other_changes, second.other_changes) == ({}, {"optim.lr": (0.008, 0.1)})
    assert "with learning rate 0.1" in pivot_table(second).title
    assert next(iter(second.interactions.values())).delta.mean == 0
    with pytest.raises(ConfigError, match="choose mlp_ratio,lr or norm,lr or norm,mlp_ratio"):
        find_grids(build_studies([*GRID, *third]), "")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("", "no study here is a grid over two fields"),
        ("norm,lr", "no study here is a grid over norm and lr"),
        ("norm", "must be two fields with a comma"),
        ("norm,norm", "must be two fields with a comma"),
        ("norm,mpl_ratio", "did you mean 'mlp_ratio'"),
    ],
)
def test_fields_without_a_grid_are_an_error(asked, why):
    with pytest.raises(ConfigError, match=why):
        find_grids(build_studies([*BASE, *BATCH]), asked)


def test_the_command_writes_every_format(tmp_path, capsys):
    for run in GRID:
        run.write(tmp_path)
    for form in ("md", "tex", "html"):
        assert main(["table", str(tmp_path), "--pivot", "--format", form]) == 0
        assert "+2.50" in capsys.readouterr().out.replace("$+$", "+")
    assert main(["table", str(tmp_path), "--pivot", "norm,mlp_ratio", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["down_value"], row["across_value"]) for row in rows] == [
        ("Modified LayerNorm", "4"),
        ("Modified LayerNorm", "2"),
        ("BatchNorm", "4"),
        ("BatchNorm", "2"),
    ]
    assert [row["interaction_mean"] for row in rows] == ["", "", "", "2.5"]
    for other in (["--style", "paper"], ["--columns", "all"], ["--explain", "x"], ["--compare"]):
        assert main(["table", str(tmp_path), "--pivot", "norm,mlp_ratio", *other]) == 2
