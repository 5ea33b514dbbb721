"""The public API: what `ablations` exports, on real records and on one tiny training."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import yaml

import ablations
from ablations.errors import CheckpointError, ConfigError, DataError, PoolformerError, RecordError
from tests.factories.configs import TINY


def test_the_names_of_the_public_api():
    assert ablations.__all__ == [
        "Accuracy",
        "DataSource",
        "Outcome",
        "PoolformerError",
        "Predictions",
        "Record",
        "RunConfig",
        "Study",
        "SweepRun",
        "Verdict",
        "ablation_table",
        "compare_predictions",
        "errors",
        "evaluate",
        "evaluate_checkpoint",
        "expand_sweeps",
        "figures",
        "flipped_images",
        "judge_claims",
        "load_histories",
        "load_predictions",
        "load_records",
        "load_studies",
        "load_study",
        "preset_names",
        "recipe_names",
        "register_arrays",
        "register_data_source",
        "resolve",
        "run_study",
        "stats",
        "tables",
        "train",
    ]


@pytest.mark.parametrize("name", ablations.__all__)
def test_every_name_is_documented_and_listed(name):
    assert getattr(ablations, name).__doc__
    assert name in dir(ablations)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = ablations.trian


@pytest.mark.parametrize(
    "code",
    [
        "import ablations, poolformer",
        "import ablations; ablations.resolve(); ablations.recipe_names()",
    ],
)
def test_imports_are_light(code):
    heavy = "{'torch', 'pandas', 'scipy', 'matplotlib', 'wandb'}"
    code += f"; import sys; print(sorted({heavy} & sys.modules.keys()))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout == "[]\n", printed.stderr


def test_the_command_does_not_hide_the_function():
    code = """
from ablations import train
try:
    import ablations.train
except ImportError as error:
    assert "from ablations import train" in str(error)
from ablations import train as again
assert train is again and callable(train)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_error_has_the_base_class():
    for name in ablations.errors.__all__:
        assert issubclass(getattr(ablations.errors, name), PoolformerError)
    assert issubclass(ConfigError, ValueError)
    assert (ConfigError.exit_code, ablations.errors.AccessError.exit_code) == (2, 1)


def test_a_study_of_shipped_records():
    study = ablations.load_study("results/mini")
    frame = ablations.ablation_table(study)
    assert isinstance(frame, pd.DataFrame)
    records = ablations.load_records("results/mini")
    pd.testing.assert_frame_equal(frame, ablations.ablation_table(records))
    pd.testing.assert_frame_equal(frame, ablations.ablation_table([study]))
    assert frame["n"].sum() == sum(record.status == "finished" for record in records)
    assert {verdict.claim.id for verdict in ablations.judge_claims(study)}
    assert ablations.figures.forest_plot(study).axes
    assert ablations.load_predictions("results/controls") == {}
    assert ablations.load_histories("results/mini").keys() == {r.run_id for r in records}


def test_a_baseline_is_chosen_by_its_label():
    study = ablations.load_study("results/mini", baseline="Pooling -> Identity mapping")
    changed = {row.label for row in study.rows}
    assert "Identity mapping -> Pooling" in changed


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(RecordError, match="none"):
        ablations.load_study(tmp_path / "none")
    with pytest.raises(RecordError, match="no records"):
        ablations.load_study(tmp_path)
    assert ablations.ablation_table([]).empty


def test_the_classes_of_a_folder_are_counted(image_folder):
    fields = {"data.root": str(image_folder)}
    assert ablations.resolve("imagenet", fields).model.num_classes == 3
    with pytest.raises(DataError, match="no folder"):
        ablations.resolve("imagenet", {"data.root": "nowhere"})


def test_a_run_is_trained_reused_loaded_and_evaluated(tmp_path):
    sweep = tmp_path / "one.yaml"
    sweep.write_text(yaml.safe_dump({"method": "grid", "parameters": {"seed": {"values": [7]}}}))
    (run,) = ablations.expand_sweeps(sweep, overrides=TINY)
    assert run.config == ablations.resolve(overrides={**TINY, "seed": 7})
    epochs = []
    record = ablations.train(run.config, tmp_path / "runs", on_epoch=epochs.append)
    assert (record.status, record.run_id) == ("finished", run.config.run_id)
    assert len(epochs) == run.config.optim.total_epochs
    (predictions,) = ablations.load_predictions(tmp_path / "runs").values()
    assert 100 * predictions.top1.mean() == pytest.approx(record.metric())
    file = tmp_path / "runs" / record.run_id / "predictions.npz"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(RecordError, match=r"predictions\.npz is truncated"):
        ablations.load_predictions(tmp_path / "runs")
    file.write_bytes(content)
    outcome = ablations.run_study(sweep, overrides=TINY, results=tmp_path / "runs", progress=False)
    assert outcome.complete
    assert (outcome.records, outcome.reused) == ([record], 1)
    study = ablations.load_study(tmp_path / "runs")
    assert [row.top1.n for row in study.rows if row.top1] == [1]
    measured = ablations.evaluate(record, tmp_path / "runs")
    assert measured.top1 == pytest.approx(record.metric("val/top1"), abs=0.1)
    with pytest.raises(CheckpointError, match="one.yaml"):
        ablations.evaluate_checkpoint(sweep)
