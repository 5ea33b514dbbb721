"""A probe: a few real training steps and validation batches of a variant, timed.

It uses the task and the Trainer of a run. If the images are on this machine, the loaders of the run
are used too; otherwise the images are random, and the measurement does not include loading.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.data import ImageDataset
from ablations.data.batches import VALIDATION_BATCH, create_loaders, create_validation_loader
from ablations.planning.dataset_sample import sample_dataset
from ablations.training.cost import model_cost
from ablations.training.devices import uses_gpu
from ablations.training.error_summary import failure_kind, summarize_error
from ablations.training.history import device_name
from ablations.training.loop import quiet_lightning, trainer_options
from ablations.training.tasks.classification import Classification

# A CPU takes tens of milliseconds for 1e9 MACs of a training step, which has three times the MACs
# of a forward pass. Batches are cut so that a step takes about a second at most.
CPU_MACS = 30e9
WARM_STEPS = 2  # not timed: first use of memory, choice of kernels, start of loaders
MIN_STEPS, MAX_STEPS = 3, 40  # timed steps
ENOUGH_SECONDS = 2.0  # for the minimum of timed steps
MAX_SECONDS = 6.0  # after which even fewer steps are enough
VALIDATION_BATCHES = 4  # the first is not timed
MAX_IMAGES = 65_536  # that are sent to a probe; it repeats them if it needs more
GPU_INTERVAL = 5  # steps between two time marks on a GPU, because a mark has to wait for it


@dataclass(frozen=True)
class Measurement:
    """The result of a probe.

    Args:
        cost: ``params``, ``frozen_params`` and ``macs``.
        device: Its name, as in records.
        batch: Images per step of the probe.
        train_image_seconds: Training seconds per image on one device.
        val_image_seconds: Validation seconds per image.
        weights_bytes: The weights that a finished run keeps.
        checkpoint_bytes: A checkpoint: the weights and the optimizer's state.
        loading: Whether the seconds include loading the images.
        cpu_share: The share of their cores that its threads had, below 1 on a busy machine; None if
            they wait for a GPU or for loaders anyway.
        took: Seconds of the probe itself.
        probed: Whether it was measured; otherwise it is estimated from another variant.
    """

    cost: dict[str, int]
    device: str
    batch: int
    train_image_seconds: float
    val_image_seconds: float
    weights_bytes: int
    checkpoint_bytes: int
    loading: bool
    cpu_share: float | None
    took: float = 0.0
    probed: bool = True


class ProbeTask(Classification):
    """The task of a run, which ignores divergence: a few steps say nothing about it."""

    def check_loss(self, loss: float) -> None:
        """Go on."""


class TimeMark(NamedTuple):
    """A moment between two batches.

    Args:
        batches: Batches so far.
        seconds: Time; on a GPU, after it has finished its work.
        cpu_seconds: CPU time of this process.
    """

    batches: int
    seconds: float
    cpu_seconds: float


def _mark(batches: int, module: pl.LightningModule) -> TimeMark:
    if module.device.type == "cuda":
        torch.cuda.synchronize()
    return TimeMark(batches, time.perf_counter(), time.process_time())


def _batch_seconds(marks: Sequence[TimeMark]) -> float:
    """Seconds per batch from the first mark to the last."""
    first, last = marks[0], marks[-1]
    return (last.seconds - first.seconds) / (last.batches - first.batches)


class StepTimer(pl.Callback):
    """Times batches and ends the first epoch when there are enough.

    Args:
        warm_steps: Steps that are not timed.
    """

    def __init__(self, warm_steps: int) -> None:
        self.warm_steps = warm_steps
        self.train: list[TimeMark] = []
        self.val: list[TimeMark] = []
        self.device = ""

    def on_train_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        module, batches = given[0], given[-1] + 1
        timed = batches - self.warm_steps
        if timed < 0 or (module.device.type == "cuda" and timed % GPU_INTERVAL):
            return
        self.train.append(_mark(batches, module))
        seconds = self.train[-1].seconds - self.train[0].seconds
        if (timed >= MIN_STEPS and seconds > ENOUGH_SECONDS) or (timed and seconds > MAX_SECONDS):
            trainer.should_stop = True

    def on_validation_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        self.val.append(_mark(len(self.val), given[0]))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.device = device_name(pl_module)
        trainer.should_stop = True


def try_measure(config: RunConfig, images: ImageDataset | None) -> Measurement | str:
    """``measure``, or the kind and message of its failure."""
    try:
        return measure(config, images)
    except Exception as error:  # whatever a model that cannot be trained raises
        return f"{failure_kind(error)}: {summarize_error(error)}"


def measure(config: RunConfig, images: ImageDataset | None) -> Measurement:
    """Train a run for some seconds. Needs its own process: it sets torch's threads and seeds.

    Args:
        config: The run.
        images: Its images; None for random ones of the same shape.
    """
    began = time.perf_counter()
    plugins.load_plugins(config.system.plugins)
    torch.set_num_threads(config.system.threads)
    cost = model_cost(config.model)
    gpu = uses_gpu(config.system.accelerator)
    batch = config.data.batch_size // config.system.world_size
    val_batch = VALIDATION_BATCH
    if not gpu:
        # Two, because a batch norm of one position needs them and mixup needs even batches.
        limit = max(2, 2 * int(CPU_MACS / 3 / max(1, cost["macs"]) / 2))
        batch, val_batch = min(batch, limit), min(val_batch, limit)
    workers = config.system.loader_workers if images and config.data.pipeline == "timm" else 0
    # Batches that loaders have ready before the first step are used up before steps are timed.
    timer = StepTimer(WARM_STEPS + (2 * workers if gpu else 0))
    batches = _loaders(config, images, batch, val_batch, timer.warm_steps + MAX_STEPS)
    task = ProbeTask(config)
    with quiet_lightning():
        trainer = pl.Trainer(**trainer_options(config), callbacks=[timer])
        trainer.fit(task, *batches)
    weights = _tensor_bytes(task.state_dict())
    optimizer = sum(_tensor_bytes(state) for state in trainer.optimizers[0].state.values())
    first, last = timer.train[0], timer.train[-1]
    cores = (last.cpu_seconds - first.cpu_seconds) / (last.seconds - first.seconds)
    return Measurement(
        cost=cost,
        device=timer.device,
        batch=batch,
        train_image_seconds=_batch_seconds(timer.train) / batch,
        val_image_seconds=_batch_seconds(timer.val) / val_batch,
        weights_bytes=weights,
        checkpoint_bytes=weights + optimizer,
        loading=images is not None,
        cpu_share=None if gpu or workers else cores / config.system.threads,
        took=time.perf_counter() - began,
    )


def _tensor_bytes(state: Mapping[str, Any]) -> int:
    return sum(value.nbytes for value in state.values() if isinstance(value, torch.Tensor))


def probe_sample(config: RunConfig, images: ImageDataset | None) -> ImageDataset | None:
    """As many images as the probe of a run may need, to be sent to its process."""
    if images is None:
        return None
    steps = WARM_STEPS + 2 * config.system.loader_workers + MAX_STEPS
    train = min(config.data.batch_size * steps, MAX_IMAGES)
    return sample_dataset(images, train, VALIDATION_BATCH * VALIDATION_BATCHES)


def _loaders(
    config: RunConfig, images: ImageDataset | None, batch: int, val_batch: int, steps: int
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """``steps`` training batches and ``VALIDATION_BATCHES`` validation batches."""
    if images is None:
        random = _random_loader(config, batch, steps)
        return random, _random_loader(config, val_batch, VALIDATION_BATCHES)
    sample = sample_dataset(images, batch * steps, val_batch * VALIDATION_BATCHES)
    data, workers = replace(config.data, batch_size=batch), config.system.loader_workers
    train, _ = create_loaders(sample, data, config.seed, workers)
    return train, create_validation_loader(sample, data, workers, val_batch)


def _random_loader(config: RunConfig, batch: int, count: int) -> DataLoader[Any]:
    model, generator = config.model, torch.Generator().manual_seed(0)
    shape = (batch, model.in_channels, model.image_size, model.image_size)
    images, labels = torch.randn(shape, generator=generator), torch.arange(batch)
    one = images, labels % model.num_classes

    def copy(pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return pair[0].clone(), pair[1]  # mixup works in place

    return DataLoader([one] * count, batch_size=None, collate_fn=copy)  # type: ignore[arg-type]
