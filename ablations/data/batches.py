"""Images -> batches. The batches of an epoch follow from (seed, epoch) alone.

The sampler yields (epoch, index) pairs, so the augmentation of an image depends on the seed, the
epoch and the image, whatever the number of loader processes, and a resumed run continues exactly.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ablations.config.schema import DataConfig
from ablations.config.seeding import derive_seed
from ablations.data.dataset import ImageDataset, Split
from ablations.data.decode import decode_image
from ablations.data.memory import check_memory, memory_guard, workers_within_shared_memory
from ablations.errors import ConfigError
from ablations.machine.cores import usable_cores

SampleKey = tuple[int, int]  # (epoch, index of the image)
VALIDATION_EPOCH = -1
VALIDATION_BATCH = 256  # has no influence on the result


class EpochOrder(Sampler[SampleKey]):
    """A new order of the training images in each epoch. Lightning calls ``set_epoch``.

    Each rank gets its share of every batch: together they see the batch that a single process
    would see. The last, incomplete batch is dropped.

    Args:
        size: The number of images.
        batch: Images per step over all ranks; a multiple of ``world``.
        seed: The seed of the run.
        epoch: The first epoch.
        rank: The rank of this process.
        world: The world size.
    """

    def __init__(
        self, size: int, batch: int, seed: int, epoch: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.size, self.batch, self.seed, self.epoch = size, batch, seed, epoch
        self.share = batch // world
        self.start = rank * self.share  # within each batch

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.batch * self.share

    def __iter__(self) -> Iterator[SampleKey]:
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", self.epoch))
        order = torch.randperm(self.size, generator=generator).tolist()
        starts = range(self.start, self.size // self.batch * self.batch, self.batch)
        return (
            (self.epoch, index) for start in starts for index in order[start : start + self.share]
        )


def validation_keys(size: int, rank: int = 0, world: int = 1) -> list[SampleKey]:
    """The validation images in order; each rank gets a contiguous part."""
    return [
        (VALIDATION_EPOCH, index)
        for index in range(size * rank // world, size * (rank + 1) // world)
    ]


class TensorImages(Dataset[tuple[Tensor, Tensor]]):
    """Batches from images in memory: shifted, flipped, normalised, channels-last.

    One gather shifts and flips a whole batch; each draw belongs to (seed, epoch, image).
    """

    def __init__(self, split: Split, dataset: ImageDataset, data: DataConfig, seed: int) -> None:
        assert isinstance(split.images, np.ndarray)
        check_memory(
            _memory_needed(split.images, data),
            f"{len(split)} images of {data.name} at {data.image_size}",
        )
        stack = torch.from_numpy(split.images).permute(0, 3, 1, 2)
        stack = fit_images(stack, data.image_size, data.fit)
        shift = data.crop_padding
        # (N, H + 2 * shift, W + 2 * shift, C), still bytes: a quarter of the floats' traffic.
        self.stack = F.pad(stack, (shift,) * 4).permute(0, 2, 3, 1).contiguous()
        self.labels = torch.from_numpy(split.labels)
        self.side, self.shift, self.hflip, self.seed = data.image_size, shift, data.hflip, seed
        scale = 255 * torch.tensor(dataset.std)
        self.scale, self.offset = 1 / scale, 255 * torch.tensor(dataset.mean) / scale
        self._draws: tuple[int, Tensor, Tensor] | None = None

    def draws(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Shifts (N, 2) in pixels and flips (N,) of an epoch; validation has none."""
        size = len(self.labels)
        if epoch == VALIDATION_EPOCH:
            return torch.full((size, 2), self.shift), torch.zeros(size, dtype=torch.bool)
        if self._draws is None or self._draws[0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "augmentation", epoch))
            shifts = torch.randint(0, 2 * self.shift + 1, (size, 2), generator=generator)
            flips = torch.rand(size, generator=generator) < self.hflip
            self._draws = (epoch, shifts, flips)
        return self._draws[1:]

    def __getitems__(self, keys: list[SampleKey]) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) float32 and labels (B,) of keys of one epoch."""
        shifts, flips = self.draws(keys[0][0])
        index = torch.tensor([key[1] for key in keys])
        along = torch.arange(self.side)
        rows = shifts[index, :1] + along
        across = torch.where(flips[index, None], along.flip(0), along)
        columns = shifts[index, 1:] + across
        batch = self.stack[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        return (batch * self.scale - self.offset).permute(0, 3, 1, 2), self.labels[index]


def _memory_needed(images: NDArray[np.uint8], data: DataConfig) -> int:
    """Bytes that ``TensorImages`` allocates at least: copies of the images, fitted and padded."""
    count, height, width, channels = images.shape
    if (height, width) == (data.image_size, data.image_size):
        copies = 1
    else:  # padding copies bytes; resizing interpolates and rounds floats of 4 bytes
        copies = 2 if data.fit == "pad" else 8
    return copies * int(count * channels) * data.image_size**2


def fit_images(stack: Tensor, side: int, fit: str) -> Tensor:
    """uint8 (N, C, H, W) at ``side`` x ``side``, padded with zeros or interpolated."""
    height, width = stack.shape[-2:]
    if (height, width) == (side, side):
        return stack
    if fit == "pad":
        top, left = (side - height) // 2, (side - width) // 2
        return F.pad(stack, (left, side - width - left, top, side - height - top))
    resized = F.interpolate(stack.float(), (side, side), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


class TransformedImages(Dataset[tuple[Tensor, int]]):
    """One image at a time through timm's transforms, from memory or from files."""

    def __init__(
        self, split: Split, dataset: ImageDataset, data: DataConfig, seed: int, training: bool
    ) -> None:
        self.split, self.seed, self.channels = split, seed, len(dataset.mean)
        options: dict[str, Any]
        if training:
            options = {
                "is_training": True,
                "scale": data.crop_scale,
                "hflip": data.hflip,
                "color_jitter": data.color_jitter,
                "auto_augment": data.auto_augment,
                "interpolation": data.train_interpolation,
                "re_prob": data.random_erasing,
                "re_mode": "pixel",
            }
        else:  # the paper's validation: bicubic, centre crop of crop_pct
            options = {"interpolation": "bicubic", "crop_pct": data.crop_pct}
        size = (self.channels, data.image_size, data.image_size)
        try:
            self.transform = create_transform(size, mean=dataset.mean, std=dataset.std, **options)
        except (AssertionError, ValueError, KeyError) as error:
            raise ConfigError(
                f"data.auto_augment {data.auto_augment!r} is not a policy of timm; examples of "
                "policies are rand-m9-mstd0.5-inc1, original and augmix-m3-w3"
            ) from error

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, int]:
        epoch, index = key
        image = self.image(index)
        label = int(self.split.labels[index])
        if epoch == VALIDATION_EPOCH:
            return self.transform(image), label
        with seeded_globals(derive_seed(self.seed, "augmentation", epoch, index)):
            return self.transform(image), label

    def image(self, index: int) -> Image.Image:
        """An image without augmentation.

        Raises:
            DataError: Its file cannot be decoded.
        """
        source = self.split.images[index]
        if isinstance(source, Path):
            return decode_image(source)
        return Image.fromarray(source.squeeze(-1) if self.channels == 1 else source)


@contextlib.contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Seed the three global generators that transforms use, and restore them afterwards."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def create_loaders(
    dataset: ImageDataset,
    data: DataConfig,
    seed: int,
    workers: int = 0,
    epoch: int = 0,
    rank: int = 0,
    world: int = 1,
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training and validation batches of images (B, C, H, W) and labels (B,).

    Args:
        dataset: Both splits.
        data: How images are transformed and batched.
        seed: The seed of the run.
        workers: Loader processes for the timm pipeline, at most one per core and at most as many
            as shared memory has room for; the tensor pipeline uses none.
        epoch: The epoch of the first pass over the training batches.
        rank: The rank of this process.
        world: The world size.

    Raises:
        InsufficientMemoryError: They do not fit into memory.
    """
    order = EpochOrder(len(dataset.train), data.batch_size, seed, epoch, rank, world)
    train = _create_loader(dataset, data, order, order.share, workers, seed, training=True)
    return train, create_validation_loader(dataset, data, workers, rank=rank, world=world)


def set_first_epoch(train: DataLoader[Any], epoch: int) -> None:
    """Set the epoch of the next pass over the training batches."""
    assert isinstance(train.sampler, EpochOrder)
    train.sampler.set_epoch(epoch)


def create_validation_loader(
    dataset: ImageDataset,
    data: DataConfig,
    workers: int = 0,
    batch: int = VALIDATION_BATCH,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Any]:
    """Batches of the validation images, in order and without augmentation."""
    keys = validation_keys(len(dataset.val), rank, world)
    return _create_loader(dataset, data, keys, batch, workers, seed=0, training=False)


def _create_loader(
    dataset: ImageDataset,
    data: DataConfig,
    order: EpochOrder | list[SampleKey],
    batch: int,
    workers: int,
    seed: int,
    training: bool,
) -> DataLoader[Any]:
    split, what = (dataset.train, "training") if training else (dataset.val, "validation")
    images: Dataset[Any]
    options: dict[str, Any]
    with memory_guard(f"{what} images at data.image_size {data.image_size}"):
        if data.pipeline == "tensor":
            images = TensorImages(split, dataset, data, seed)
            options = {"collate_fn": _identity_collate}
        else:
            images = TransformedImages(split, dataset, data, seed, training)
            floats = len(dataset.mean) * data.image_size**2 + 2  # a label has 8 bytes
            workers = workers_within_shared_memory(
                min(workers, usable_cores()),
                4 * floats * min(batch, len(order)),
                -(-len(order) // batch),
            )
            options = {
                "num_workers": workers,
                "persistent_workers": workers > 0,
                "pin_memory": torch.cuda.is_available(),
            }
        # A loader draws a number when it starts. From the global generator, it would shift the
        # draws of the model, and a resumed run starts its loaders at another time.
        options["generator"] = torch.Generator()
        return DataLoader(images, batch, sampler=order, drop_last=training, **options)


def _identity_collate(batch: Any) -> Any:
    return batch
