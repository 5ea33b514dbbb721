"""A row's difference from its control is beside its difference from the baseline."""

from __future__ import annotations

import csv
import io
import re

import pytest

from ablations.analysis.build import build_studies
from ablations.cli.main import main
from ablations.tables import render
from ablations.tables.ablation import EVERY
from tests.factories.records import BASE, record

HYBRID = "[Pool,Pool,Attention,Attention]"


def with_macs(macs, *runs):
    for run in runs:
        run.cost["macs"] = macs
    return list(runs)


def rows_of(preset, macs, *values):
    return with_macs(macs, *(record(seed, v, preset) for seed, v in enumerate(values)))


ROW = rows_of("ppaa", 1_697_792, 85.0, 86.0, 87.5)
RECIPE = rows_of("attention_recipe", 1_322_000, 81.0, 83.0, 84.0)
SIZE = rows_of("ppaa_size", 1_737_000, 80.5, 81.0, 83.0)
BOTH = rows_of("ppaa_recipe_size", 1_706_000, 82.0, 84.0, 85.0)


def csv_rows(*found):
    rows = csv.DictReader(io.StringIO(render(list(found), "csv")))
    return {row["variant"]: row for row in rows if row["run_ids"]}


def test_controls_have_a_section_and_their_row_a_difference_from_each():
    rows = csv_rows(*BASE, *ROW, *RECIPE, *SIZE, *BOTH)
    controls = [row for row in rows.values() if row["ablation"] == "Controls"]
    assert len(controls) == 3
    assert all(row["also_changes"] == "" for row in controls)  # the name has them all
    row = rows[HYBRID]
    # Differences 3, 2, 2.5 from the last.
    assert float(row["control_recipe_and_size_delta_mean"]) == pytest.approx(2.5)
    low, high = (float(row[f"control_recipe_and_size_delta_{end}"]) for end in ("low", "high"))
    assert (low + high) / 2 == pytest.approx(2.5)
    assert float(row["control_recipe_delta_mean"]) == pytest.approx((4 + 3 + 3.5) / 3)
    assert float(row["control_size_delta_mean"]) == pytest.approx((4.5 + 5 + 4.5) / 3)
    assert rows["Baseline"]["control_size"] == ""


def test_the_table_shows_the_closest_control_and_notes_all():
    text = render([*BASE, *ROW, *RECIPE, *SIZE, *BOTH], "md", columns=EVERY)
    (line,) = [line for line in text.splitlines() if HYBRID in line and line.startswith("|")]
    assert "+2.50 [+" in line
    assert re.search(r"\+3\.50 \[\+\d\.\d+, \+\d\.\d+\]\s+from LayerNorm, ", text)
    assert "Δ from control" not in render([*BASE, *ROW], "md", columns=EVERY)


def test_without_the_control_of_both_the_one_of_its_other_changes_is_shown():
    text = render([*BASE, *ROW, *RECIPE, *SIZE], "md", columns=EVERY)
    (line,) = [line for line in text.splitlines() if HYBRID in line and line.startswith("|")]
    assert "+3.50 [+2.26, +4.74]" in line


def test_a_control_that_has_no_result_yet_is_missing():
    failed = record(0, None, "attention_recipe", status="failed")
    text = render([*BASE, *ROW, failed], "md", columns=EVERY)
    (line,) = [line for line in text.splitlines() if HYBRID in line and line.startswith("|")]
    assert "missing" in line


def test_claims_show_the_difference_from_the_control(tmp_path, capsys):
    for run in (*BASE, *ROW, *BOTH):
        run.write(tmp_path)
    assert main(["claims", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("| 16 ")]
    assert "+2.50 [+1.26, +3.74]" in line
    assert main(["claims", str(tmp_path), "--format", "csv"]) == 0
    rows = {row["claim"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["16"]["control_kind"] == "recipe and size"
    assert float(rows["16"]["control_delta_mean"]) == pytest.approx(2.5)
    assert rows["1"]["control"] == ""


def test_time_grows_with_the_number_of_variants_not_with_its_square(monkeypatch):
    """A control is looked up, not searched for among all: candidates looked at, by number."""
    from ablations.analysis import controls

    looked = []
    monkeypatch.setattr(controls, "macs_difference", lambda *_: looked.append(1) or 1.0)
    counts = []
    for variants in (50, 100):
        looked.clear()
        others = [record(0, optim__weight_decay=0.001 * (1 + i)) for i in range(variants)]
        build_studies([record(0), *others])
        counts.append(len(looked))
    assert 0 < counts[1] <= 2.2 * counts[0]
