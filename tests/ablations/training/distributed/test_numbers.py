"""A run on several processes has the numbers of a run on one.

On CPUs, with gloo. NCCL and batch norm over all ranks need a machine with two GPUs.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from ablations.data import load_dataset
from ablations.store.predictions import load_predictions
from ablations.store.records import WEIGHTS_FILE, Record
from ablations.training.train import train
from poolformer.mixers import MIXERS
from tests.factories.distributed import (
    DIVERGES,
    TWO,
    history,
)
from tests.factories.predictions import accuracies


def test_two_processes_give_the_numbers_of_one(two, tiny, tmp_path):
    config, results, record = two
    alone = tiny()
    assert config.run_id == alone.run_id
    assert config.optim.lr == alone.optim.lr  # the effective batch decides it
    assert record.status == "finished", record.failure
    assert record.environment["processes"] == 2
    whole = train(alone, tmp_path)
    assert whole.environment["processes"] == 1
    for two_ranks, one_rank in zip(
        history(results, config.run_id), history(tmp_path, config.run_id), strict=True
    ):
        assert two_ranks.keys() == one_rank.keys()
        for name in ("epoch", "lr", "pictures"):
            assert two_ranks[name] == one_rank[name]
        for name in ("train/loss", "val/loss"):
            assert float(two_ranks[name]) == pytest.approx(float(one_rank[name]), rel=1e-5)
        for name in ("val/top1", "val/top5"):
            assert float(two_ranks[name]) == pytest.approx(float(one_rank[name]), abs=0.1)
    together, one = (
        load_predictions(folder / config.run_id, each)
        for folder, each in ((results, record), (tmp_path, whole))
    )
    np.testing.assert_array_equal(together.labels, load_dataset(config.data).val.labels)
    # In float32, the sums of two processes differ in their last digits.
    assert (together.predicted == one.predicted).mean() > 0.99
    assert accuracies(together) == {name: record.metric(f"val/{name}") for name in ("top1", "top5")}


def test_two_processes_leave_the_files_of_one(two):
    config, results, record = two
    assert record == Record.read(results / config.run_id / "record.json")
    assert {path.name for path in (results / config.run_id).iterdir()} == {
        *("record.json", "history.csv", "predictions.npz", WEIGHTS_FILE, "log.txt")
    }
    assert train(config, results, lambda body: pytest.fail("trained")) == record


@pytest.mark.slow
def test_predictions_of_unequal_shares_are_in_the_order_of_the_images(tiny, tmp_path):
    """2,000 images on three processes, in batches of 256."""
    config = tiny(**{"system.devices": 3, "data.batch_size": 240, "optim.epochs": 1})
    record = train(config, tmp_path)
    assert record.status == "finished", record.failure
    predictions = load_predictions(tmp_path / config.run_id, record)
    np.testing.assert_array_equal(predictions.labels, load_dataset(config.data).val.labels)
    expected = {name: record.metric(f"val/{name}") for name in ("top1", "top5")}
    assert accuracies(predictions) == expected


@pytest.mark.slow
def test_each_rank_draws_its_own_mixup_and_drop_path(tiny, tmp_path):
    drawn = {"model.drop_path": 0.3, "data.mixup": 0.2, "data.batch_size": 200}
    repeated = [train(tiny(**drawn, **TWO), tmp_path / name).metrics for name in ("once", "again")]
    assert repeated[0] == repeated[1]
    assert repeated[0] != train(tiny(**drawn), tmp_path / "alone").metrics


def test_an_exploding_loss_stops_both_ranks(tiny, tmp_path):
    config = tiny(**DIVERGES, **TWO)
    record = train(config, tmp_path)
    assert record.status == "diverged", record.failure
    alone = train(tiny(**DIVERGES), tmp_path / "alone")
    assert len(history(tmp_path, config.run_id)) == 1
    assert record.metrics["val/top1"] == alone.metrics["val/top1"]


@pytest.mark.slow
@pytest.mark.parametrize("mixer", MIXERS)
def test_every_mixer_trains_on_two_processes(mixer, tiny, image_folder, tmp_path):
    overrides = {
        "data.name": "folder",
        "data.root": str(image_folder),
        "data.pipeline": "timm",
        "data.fit": "pad",
        "data.batch_size": 16,
        "optim.epochs": 1,
        "model.token_mixers": mixer,
        "model.num_classes": 3,
    }
    together = train(tiny(**overrides, **TWO), tmp_path / "two")
    alone = train(tiny(**overrides), tmp_path / "one")
    assert together.status == "finished", together.failure
    for name in ("train/loss", "val/loss"):
        assert together.metrics[name]["last"] == pytest.approx(
            alone.metrics[name]["last"], rel=1e-4
        )


@pytest.mark.parametrize(
    "change",
    [
        {"optim.grad_clip": 0.1, "optim.schedule_unit": "epoch"},
        {"model.residual": False},
        {"system.precision": "bf16-mixed", "optim.grad_clip": 1.0},
    ],
)
@pytest.mark.slow
def test_clipping_schedules_and_precisions_match_one_process(tiny, tmp_path, change):
    change = {**change, "optim.epochs": 3}
    together, alone = (
        train(tiny(**change, **more), tmp_path / name) for name, more in (("2", TWO), ("1", {}))
    )
    rel = 1e-2 if "system.precision" in change else 1e-4
    rows = [history(tmp_path / name, alone.run_id) for name in ("2", "1")]
    assert [row["lr"] for row in rows[0]] == [row["lr"] for row in rows[1]]
    for name in ("train/loss", "val/loss"):
        assert together.metrics[name]["last"] == pytest.approx(alone.metrics[name]["last"], rel=rel)


def test_a_broken_file_of_another_rank_is_named_in_the_failure(image_folder, tiny, tmp_path):
    """The last validation images belong to the second rank."""
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    broken = sorted((root / "val").rglob("*.jpg"))[-1]
    broken.write_bytes(b"not an image")
    config = tiny(
        **{
            "data.name": "folder",
            "data.root": str(root),
            "data.pipeline": "timm",
            "data.fit": "pad",
            "data.batch_size": 16,
            "model.num_classes": 3,
            "system.loader_workers": 1,
        },
        **TWO,
    )
    record = train(config, tmp_path / "runs")
    assert record.status == "failed"
    assert record.failure["kind"] == "data"
    assert broken.name in record.failure["message"]
    assert "in process 1 of 2" in record.failure["message"]
