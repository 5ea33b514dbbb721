"""The paper's sizes beside ours: differences from S12, and what is missing."""

from __future__ import annotations

import pytest

from ablations import tables
from ablations.analysis.build import build_studies
from tests.factories.records import BASE, IDENTITY, record
from tests.factories.reference import SIZED, csv_rows, plain


def test_sizes_of_a_study_are_beside_the_papers():
    (study,) = build_studies([*SIZED, *IDENTITY])
    table = tables.sizes_table(study)
    assert table.title.startswith("Model sizes: recipe mini, data mini")
    assert [plain(name) for name in table.frame["Model"]] == ["S12", "S24", "S36", "M36", "M48"]
    s12, s24, s36, _, m48 = table.frame.to_dict("records")
    assert (s12["Depths"], s12["Widths"]) == ("1-1-3-1", "16-32-80-128")
    assert (m48["Depths"], m48["Widths"]) == ("4-4-12-4", "24-48-96-192")
    assert (s12["Top-1 (%)"], s12["n"], s12["Δ from S12"]) == ("81.33 ± 1.53", "3", "0")
    # Differences 2, 1, 3: mean 2, deviation 1; t(0.975, 2 degrees) = 4.302653.
    assert (s24["Δ from S12"], s24["95% CI"]) == ("+2.00", "[-0.48, +4.48]")
    assert (s24["Paper params (M)"], s24["Paper MACs (G)"]) == ("21.4", "3.4")
    assert (s24["Paper top-1"], s24["Paper Δ"]) == ("80.3", "+3.1")
    assert (s36["Top-1 (%)"], s36["n"], s36["Params (M)"]) == ("missing", "0", "–")
    assert (m48["Δ from S12"], m48["95% CI"]) == ("+4.00", "")
    assert (s12["Params (M)"], s12["MACs (M)"]) == ("0.422", "1.34")
    assert (
        "Missing S36, M36: `ablations run sweeps/model_size.yaml --recipe mini --seeds 0,1,2`"
        in (table.footnotes)
    )
    (seeds,) = [text for text in table.footnotes if text.startswith("Missing M48, seeds 1, 2")]
    assert "ablations train --recipe mini --model.depths '[4,4,12,4]'" in seeds
    assert any(text.endswith("in the ablation table: 1.") for text in table.footnotes)
    assert "Made from 7 records" in table.footnotes[-1]
    assert [drawn.mean for drawn in table.differences] == [None, 2.0, None, None, 4.0]
    assert [drawn.paper for drawn in table.differences] == [None, 3.1, 4.2, 4.9, 5.3]


def test_sizes_where_table_1_is_rounded_the_wrong_way_are_marked():
    table = tables.sizes_table()
    marked = [note for note in table.row_notes if "Table 1 prints" in note]
    assert [note.split(":")[0] for note in marked] == [
        "PoolFormer-S36",
        "PoolFormer-M36",
        "PoolFormer-M48",
    ]
    assert list(table.frame.columns) == [
        "Model",
        "Depths",
        "Widths",
        "Paper params (M)",
        "Paper MACs (G)",
        "Paper top-1",
        "Paper Δ",
    ]
    assert list(table.frame["Depths"])[2] == "6-6-18-6"
    assert list(table.frame["Widths"])[3] == "96-192-384-768"


def test_what_a_whole_sweep_changes_is_in_its_commands_and_a_size_stays_a_size():
    shared = {"optim__lr": 0.003, "model__drop_path": 0.1}
    found = [record(**shared), record(preset="s24", **shared), record(preset="m36")]
    small, other = build_studies(found), build_studies(found[:2])
    assert len(small) == 1
    (study,) = other
    table = tables.sizes_table(study)
    assert list(table.frame["n"]) == ["1", "1", "0", "0", "0"]
    (note,) = [text for text in table.footnotes if text.startswith("Missing S36")]
    assert "--model.drop_path 0.1 --optim.lr 0.003`" in note


def test_a_row_that_changes_more_than_its_size_is_no_size():
    (study,) = build_studies(
        [*BASE, record(preset="s24", optim__lr=0.1), record(model__drop_path=0.1)]
    )
    table = tables.sizes_table(study)
    assert list(table.frame["n"]) == ["3", "0", "0", "0", "0"]
    assert any(text.endswith("in the ablation table: 2.") for text in table.footnotes)


def test_without_an_s12_there_is_no_difference_and_the_command_fits_all_sizes():
    (study,) = build_studies([record(preset="s36"), record(preset="m36"), record(preset="m48")])
    table = tables.sizes_table(study)
    assert list(table.frame["n"]) == ["0", "0", "1", "1", "1"]
    assert set(table.frame["Δ from S12"]) == {""}
    (note,) = [text for text in table.footnotes if text.startswith("Missing S12, S24")]
    assert note.endswith("`ablations run sweeps/model_size.yaml --recipe mini --seeds 0`")


def test_sizes_that_share_no_seeds_are_compared_by_their_means():
    found = [*BASE, record(7, 90.0, preset="s24"), record(8, 92.0, preset="s24")]
    table = tables.sizes_table(*build_studies(found))
    assert (
        "Sizes that share fewer than two seeds with S12 are compared by means, as independent."
        in table.footnotes
    )


def test_csv_of_sizes():
    rows = csv_rows([*SIZED, record(0, 50.0, recipe="fashion")], "sizes")
    assert [row["source"] for row in rows] == ["ours"] * 10 + ["published"] * 5
    assert {row["recipe"] for row in rows[:5]} == {"fashion"}
    s24, paper = rows[6], rows[11]
    assert (s24["model"], s24["params"], s24["top1_mean"], s24["n"]) == (
        "S24",
        "421882",
        "83.33333333333333",
        "3",
    )
    assert (s24["delta_mean"], s24["delta_paired"]) == ("2.0", "True")
    assert float(s24["delta_high"]) == pytest.approx(2 + 4.302653 / 3**0.5, rel=1e-6)
    assert (paper["params"], paper["macs"], paper["macs_paper_v2"]) == (
        "21400000",
        "3400000000",
        "3600000000",
    )
    assert rows[7]["missing_command"].startswith("ablations run sweeps/model_size.yaml")
