"""Studies over seeds and images: what a page says of them, and which inputs it refuses."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

import ablations
from ablations.analysis.stats import crossed
from ablations.cli.main import main
from ablations.errors import ConfigError
from ablations.store.predictions import PREDICTIONS_FILE, Predictions, save_predictions
from tests.factories.predictions import accuracies
from tests.factories.records import record

CHANGED = ["p", "p_corrected", "minimum_effect", "ordinary_p", "p_holm", "delta_low", "delta_ci95"]
IMAGES, SEEDS = 400, 3
ROWS = {
    "the baseline": {},
    "identity": {"model__token_mixers": "identity"},
    "pool 5": {"model__pool_size": 5},
    "batch": {"model__norm": "batch"},
    "relu": {"model__activation": "relu"},
}


@pytest.fixture
def results(tmp_path):
    """A folder of runs of five rows, each with its predictions."""
    draws = np.random.default_rng(0)
    labels, difficulty = draws.integers(0, 10, IMAGES), 1 + draws.standard_normal(IMAGES)
    for shift, fields in enumerate(ROWS.values()):
        own = difficulty + 0.2 * shift + 0.5 * draws.standard_normal(IMAGES)
        for seed in range(SEEDS):
            right = own + draws.standard_normal(IMAGES) > 0
            run = record(seed, **fields)
            predicted = np.where(right, labels, (labels + 1) % 10)
            fingerprint = run.data["fingerprint"]
            predictions = Predictions(predicted, right, right, labels, fingerprint)
            metrics = {
                f"val/{name}": {"last": value, "best": value}
                for name, value in accuracies(predictions).items()
            }
            data = {**run.data, "val": IMAGES, "classes": 10}
            replace(run, data=data, metrics=metrics).write(tmp_path)
            save_predictions(tmp_path / run.run_id, predictions)
    return tmp_path


def table(capsys, folder, *flags, command="table"):
    assert main([command, str(folder), "--format", "csv", *flags]) == 0
    found = csv.DictReader(io.StringIO(capsys.readouterr().out))
    return {row.get("variant") or row["claim"]: row for row in found}


def test_the_table_is_over_seeds_and_images(results, capsys):
    before = table(capsys, results)
    after = table(capsys, results, "--over", "seeds+images")
    for label in [row for row in before if float(before[row]["n"]) and before[row]["delta_se"]]:
        plain, both = before[label], after[label]
        assert (plain["over"], both["over"]) == ("seeds", "seeds+images")
        assert (plain["delta_se_images"], plain["images_share"]) == ("", "")
        assert both["delta_mean"] == plain["delta_mean"]
        assert float(both["delta_se_seeds"]) == pytest.approx(float(plain["delta_se"]))
        squares = float(both["delta_se_seeds"]) ** 2 + float(both["delta_se_images"]) ** 2
        assert float(both["delta_se"]) ** 2 == pytest.approx(squares)
        share = float(both["delta_se_images"]) ** 2 / squares
        assert float(both["images_share"]) == pytest.approx(share, abs=1e-9)
        assert float(both["delta_df"]) >= float(plain["delta_df"])
        if share:
            assert {both[name] for name in CHANGED}.isdisjoint(plain[name] for name in CHANGED)


def test_the_whole_page_uses_the_same_standard_errors(results, capsys):
    study = ablations.load_study(results, over="seeds+images")
    rows = {row.label: row for row in study.rows}
    by_claim = {
        verdict.subject.label: verdict
        for verdict in ablations.judge_claims(study)
        if verdict.subject and verdict.delta and verdict.comparison is study.baseline
    }
    assert len(by_claim) >= 3
    for label, verdict in by_claim.items():
        assert verdict.delta.standard_error == rows[label].delta.standard_error
        assert (verdict.delta.low, verdict.delta.high) == (
            rows[label].delta.low,
            rows[label].delta.high,
        )
    assert main(["table", str(results), "--over", "seeds+images"]) == 0
    shown = capsys.readouterr().out
    assert "SE images" in shown
    assert "Over other seeds and other images." in " ".join(shown.split())
    table(capsys, results, "--over", "seeds+images", command="claims")


def test_the_images_part_is_that_of_the_stored_predictions(results):
    study = ablations.load_study(results, over="seeds+images", test="ordinary")
    stored = ablations.load_predictions(results)
    base, row = study.baseline, study.rows[1]
    sides = [
        {run.config["seed"]: stored[run.run_id].top1 for run in side.records}
        for side in (row, base)
    ]
    expected = crossed.crossed_difference(*sides)
    found = row.delta.alone
    assert found.standard_error == pytest.approx(expected.standard_error, rel=1e-4)
    assert found.df == pytest.approx(expected.df, rel=1e-3)


def test_a_row_without_predictions_is_named_and_nothing_is_mixed(results, capsys):
    run = record(1, **ROWS["pool 5"])
    (results / run.run_id / PREDICTIONS_FILE).unlink()
    assert main(["table", str(results), "--over", "seeds+images"]) == 2
    error = capsys.readouterr().err
    assert "Pooling size 3 -> 5 (seeds 1)" in error
    assert len(error.strip().splitlines()) == 1
    assert main(["table", str(results)]) == 0
    with pytest.raises(ConfigError, match="predictions"):
        ablations.load_study(results, over="seeds+images")
    with pytest.raises(ConfigError, match="seeds or seeds"):
        ablations.load_study(results, over="images")


def test_damaged_predictions_are_an_error_of_one_line(results, capsys):
    path = results / record(1, **ROWS["relu"]).run_id / PREDICTIONS_FILE
    path.write_bytes(path.read_bytes()[:100])
    assert main(["table", str(results), "--over", "seeds+images"]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("flags", [["--pivot"], ["--compare"]])
def test_tables_of_other_differences_refuse_the_flag(results, capsys, flags):
    assert main(["table", str(results), *flags, "--over", "seeds+images"]) == 2
    assert "--over is not for" in capsys.readouterr().err
