"""Probes of real runs: their task, loaders and checkpoint sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ablations import data
from ablations.config.data_sources import DATA_SOURCES
from ablations.config.resolve import resolve
from ablations.data import cifar, mini
from ablations.planning import probe
from ablations.planning.dataset_sample import (
    IMAGENET_SIZE,
    dataset_size,
    sample_dataset,
)
from ablations.planning.probe import Measurement, measure, probe_sample, try_measure
from ablations.store.records import CHECKPOINT_FILE, WEIGHTS_FILE
from ablations.training.environment import cpu_model
from ablations.training.train import train
from poolformer import ConfigError


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Two timed steps: these tests are not about how long they take."""
    monkeypatch.setattr(probe, "MAX_STEPS", 2)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def probed(config) -> Measurement:
    return measure(config, probe_sample(config, dataset_size(config).images))


def test_the_bytes_are_those_of_a_real_run(tiny, tmp_path):
    # Large enough that the names in the files are few bytes beside the weights.
    config = tiny(**{"model.dims": [32, 64, 64, 128]})
    sizes = []

    def keep_size(row):
        if row["epoch"] == 2:  # the checkpoint of the first is there
            sizes.append((tmp_path / config.run_id / CHECKPOINT_FILE).stat().st_size)

    train(config, tmp_path, keep_size)
    found = probed(config)
    assert found.checkpoint_bytes == pytest.approx(sizes[0], rel=0.05)
    weights = (tmp_path / config.run_id / WEIGHTS_FILE).stat().st_size
    assert found.weights_bytes == pytest.approx(weights, rel=0.05)


def test_real_images_come_through_the_loaders_of_a_run(tiny, monkeypatch):
    config = tiny()
    seen = []
    own = probe.ProbeTask.training_step

    def step(task, batch, index):
        seen.append(batch[0])
        return own(task, batch, index)

    monkeypatch.setattr(probe.ProbeTask, "training_step", step)
    found = probed(config)
    assert found.loading
    assert found.device == f"cpu ({cpu_model()})"  # as in records
    assert found.batch == 250
    assert found.cost["params"] > 0
    assert min(found.train_image_seconds, found.val_image_seconds, found.cpu_share) > 0
    assert [tuple(batch.shape) for batch in seen] == [(250, 1, 32, 32)] * (probe.WARM_STEPS + 2)
    assert seen[0][:, :, 0, :].eq(seen[0][0, 0, 0, 0]).all()  # the edge that data.fit pad adds


@pytest.mark.parametrize("pipeline", [{}, {"system.loader_workers": 2}])
def test_photographs_are_probed_with_the_pipeline_of_a_run(pipeline, image_folder):
    fields = {"model.depths": [1, 1, 1, 1], "model.dims": [8, 8, 16, 16], "data.batch_size": 8}
    fields |= {"data.root": str(image_folder), "data.image_size": 32, **pipeline}
    fields |= {"system.loader_workers": 0, **pipeline}
    config = resolve("imagenet", fields, count_classes=data.count_classes)
    size = dataset_size(config)
    assert (size.train, size.val) == (48, 24)
    assert probed(config).loading


def test_a_batch_that_is_too_large_for_a_cpu_is_cut(tiny, monkeypatch):
    config = tiny(**{"data.mixup": 0.5})
    monkeypatch.setattr(probe, "CPU_MACS", 3 * 7 * measure(config, None).cost["macs"])
    assert measure(config, None).batch == 6  # even, for mixup
    monkeypatch.setattr(probe, "CPU_MACS", 1)
    assert measure(config, None).batch == 2


def test_a_run_that_would_diverge_is_timed(tiny):
    config = tiny(**{"optim.lr": 1e9, "optim.optimizer": "sgd"})
    assert probed(config).train_image_seconds > 0


def test_random_images_do_not_measure_loading(tiny):
    config = tiny(**{"data.mixup": 0.5})
    assert not measure(config, None).loading


def test_a_failed_probe_returns_its_reason(tiny, monkeypatch):
    def training_step(*_):
        raise torch.OutOfMemoryError("CUDA out of memory\nof which much is free")

    monkeypatch.setattr(probe.ProbeTask, "training_step", training_step)
    assert try_measure(tiny(), None) == "oom: OutOfMemoryError: CUDA out of memory"


def test_images_are_counted_if_present_and_published_if_not(image_folder, tmp_path):
    fields = {"data.root": str(image_folder), "data.batch_size": 4}
    present = resolve("imagenet", fields, count_classes=data.count_classes)
    assert dataset_size(present).train == 48
    empty_folder = {"data.root": str(tmp_path)}
    for name, overrides, expected in (
        ("imagenet", {}, IMAGENET_SIZE),
        ("imagenet-fast", {}, IMAGENET_SIZE),
        ("cifar10", empty_folder, DATA_SOURCES["cifar10"].images),
        ("fashion", empty_folder, DATA_SOURCES["fashion"].images),
        ("imagenette", empty_folder, DATA_SOURCES["imagenette"].images),
    ):
        found = dataset_size(resolve(name, overrides))
        assert (found.train, found.val, found.images) == (*expected, None)
    assert not list(tmp_path.iterdir())  # nothing was downloaded
    embedded = mini.load_mini()
    assert DATA_SOURCES["mini"].images == (len(embedded.train), len(embedded.val))
    with pytest.raises(ConfigError, match="is not known"):
        dataset_size(resolve("imagenet", {"model.num_classes": 12}))
    with pytest.raises(ConfigError, match="above the 50000 training images"):
        dataset_size(resolve("cifar10", {"data.batch_size": 60_000, **empty_folder}))


def test_available_files_are_found_without_loading(tmp_path):
    config = resolve("cifar10", {"data.root": str(tmp_path)}).data
    cifar.cifar_folder("cifar10", str(tmp_path)).mkdir()
    assert data.is_available(config)
    ette = resolve("imagenette", {"data.root": str(tmp_path)}).data
    (tmp_path / "imagenette2-160" / "train").mkdir(parents=True)
    assert data.is_available(ette)
    assert not data.is_available(replace(ette, root=str(tmp_path / "none")))


def test_a_sample_is_drawn_from_all_classes_and_repeated_if_too_few():
    images = mini.load_mini()
    few = sample_dataset(images, 500, 30)
    assert (len(few.train), len(few.val)) == (500, 30)
    assert len(np.unique(few.train.labels)) == 10  # not the first class alone
    again = sample_dataset(few, 700, 1)
    assert np.array_equal(again.train.labels[:200], again.train.labels[500:])
