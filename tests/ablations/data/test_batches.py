"""The batches of an epoch follow from (seed, epoch) alone; augmentation; errors of files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ablations import data
from ablations.config.resolve import resolve
from ablations.config.schema import DataConfig
from ablations.data.batches import create_loaders, fit_images
from ablations.errors import DataError
from ablations.training.error_summary import failure_kind, summarize_error

TENSOR = resolve("mini", {"data.crop_padding": 3, "data.hflip": 0.5, "data.batch_size": 400}).data


def epoch_of(config, seed: int, epoch: int, workers: int = 0, first_epoch: int = 0):
    """All training batches of an epoch, joined."""
    train, _ = create_loaders(data.load_dataset(config), config, seed, workers, first_epoch)
    train.sampler.set_epoch(epoch)
    dataset, labels = zip(*train, strict=True)
    return torch.cat(dataset), torch.cat(labels)


@pytest.fixture
def folder_config(image_folder) -> DataConfig:
    overrides = {
        "data.root": str(image_folder),
        "data.name": "folder",
        "data.image_size": 32,
        "data.batch_size": 8,
        "model.num_classes": 3,
    }
    return resolve("imagenet", overrides).data


def test_an_epoch_does_not_depend_on_earlier_ones():
    one = epoch_of(TENSOR, seed=1, epoch=4)
    again = epoch_of(TENSOR, seed=1, epoch=4, first_epoch=2)
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    for seed, epoch in ((1, 5), (2, 4)):
        assert not torch.equal(one[0], epoch_of(TENSOR, seed, epoch)[0])


def test_every_image_appears_once_per_epoch():
    _, labels = epoch_of(TENSOR, seed=0, epoch=0)
    assert labels.bincount().tolist() == [800] * 10


def test_augmentation_is_shift_and_flip_of_the_original():
    """Each image of a batch is one of the 98 shifted and flipped versions of its original."""
    config = replace(TENSOR, batch_size=8)
    dataset = data.load_dataset(config)
    train, _ = create_loaders(dataset, config, seed=3)
    keys = [key for key, _ in zip(iter(train.sampler), range(8), strict=False)]
    shown = next(iter(train))[0]
    padded = np.pad(dataset.train.images, ((0, 0), (5, 5), (5, 5), (0, 0)))
    seen = set()
    for (_, index), image in zip(keys, shown, strict=True):
        mean, std = dataset.mean[0], dataset.std[0]
        whole = ((image * std + mean) * 255).round().to(torch.uint8).squeeze(0).numpy()
        matches = [
            (row, column, flip)
            for row in range(7)
            for column in range(7)
            for flip in (False, True)
            if np.array_equal(
                whole[:, ::-1] if flip else whole,
                padded[index, row : row + 32, column : column + 32, 0],
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len({(row, column) for row, column, _ in seen}) > 1
    assert {flip for _, _, flip in seen} == {True, False}


def test_validation_does_not_augment():
    dataset = data.load_dataset(TENSOR)
    _, val = create_loaders(dataset, TENSOR, seed=0)
    shown, labels = (torch.cat(part) for part in zip(*val, strict=True))
    assert shown.shape == (2000, 1, 32, 32)
    assert labels.tolist() == dataset.val.labels.tolist()
    mean, std = dataset.mean[0], dataset.std[0]
    whole = ((shown * std + mean) * 255).round().to(torch.uint8)
    assert np.array_equal(whole[:, 0, 2:-2, 2:-2].numpy(), dataset.val.images.squeeze(-1))
    assert not whole[:, 0, :2].any()


def test_batches_are_channels_last():
    train, _ = create_loaders(data.load_dataset(TENSOR), TENSOR, seed=0)
    assert next(iter(train))[0].is_contiguous(memory_format=torch.channels_last)


def test_images_are_padded_or_resized():
    stack = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    padded = fit_images(stack, 6, "pad")
    assert torch.equal(padded[..., 1:-1, 1:-1], stack)
    assert padded.sum() == stack.sum()
    assert fit_images(stack, 2, "resize").shape == (1, 1, 2, 2)
    with pytest.raises(DataError, match="cannot shrink 28x28 images to 20"):
        data.load_dataset(replace(TENSOR, image_size=20))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_of_files_do_not_depend_on_the_number_of_loader_processes(folder_config, workers):
    one = epoch_of(folder_config, seed=1, epoch=3)
    other = epoch_of(folder_config, seed=1, epoch=3, workers=workers)
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert one[0].shape == (48, 3, 32, 32)
    assert not torch.equal(one[0], epoch_of(folder_config, seed=1, epoch=4)[0])


def test_augmentation_does_not_change_the_global_random_state(folder_config):
    train, _ = create_loaders(data.load_dataset(folder_config), folder_config, seed=0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    next(iter(train.dataset[(0, index)] for index in range(4)))
    assert torch.equal(torch.rand(3), expected)


def test_images_in_memory_can_use_the_timm_pipeline():
    overrides = {"data.pipeline": "timm", "data.fit": "pad", "data.image_size": 24}
    config = replace(resolve("mini", overrides).data, batch_size=16)
    train, val = create_loaders(data.load_dataset(config), config, seed=0)
    assert next(iter(train))[0].shape == (16, 1, 24, 24)
    assert next(iter(val))[0].shape == (256, 1, 24, 24)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("content", [b"this is no image", None])
def test_an_image_that_cannot_be_decoded_is_reported_with_its_file(folder_config, content, workers):
    dataset = data.load_dataset(folder_config)
    path = dataset.train.images[5]
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[:200] if content is None else content)
        train, _ = create_loaders(dataset, folder_config, seed=0, workers=workers)
        with pytest.raises(DataError, match=f"^{path} cannot be decoded: .*") as caught:
            list(train)
        assert failure_kind(caught.value) == "data"
        assert summarize_error(caught.value) == f"DataError: {caught.value}"
        assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(whole)


def test_every_magnitude_of_the_papers_augmentation_works(folder_config):
    """RandAugment draws a magnitude per image; 30 epochs include the rare ones."""
    dataset = data.load_dataset(folder_config)
    for epoch in range(30):
        train, _ = create_loaders(dataset, folder_config, seed=0, workers=0, epoch=epoch)
        assert sum(len(labels) for _, labels in train) == len(dataset.train)
