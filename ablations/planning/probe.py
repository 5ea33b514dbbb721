"""A few real training steps and validation batches of a variant, timed: its module, its Trainer.

The pictures come through the run's own loaders where they are here; else they are made up, and
loading is not in the figures.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.data import ImageDataset
from ablations.data.batches import VALIDATION_BATCH, create_loaders, create_validation_loader
from ablations.planning.pictures import some
from ablations.training.cost import model_cost
from ablations.training.history import device_name
from ablations.training.loop import (
    failure_kind,
    quiet_lightning,
    summarize_error,
    trainer_options,
    uses_gpu,
)
from ablations.training.tasks.classification import Classification

# A CPU takes tens of milliseconds for 1e9 MACs of a step, which has three passes' worth of them:
# batches are cut so that a step takes about a second at most.
CPU_MACS = 30e9
WARM_STEPS = 2  # not counted: first touches of memory, kernels that are chosen, loaders that start
FEWEST, MOST = 3, 40  # steps that are counted
SECONDS, LONGEST = 2.0, 6.0  # after which the fewest are enough, and after which any are
VALIDATION_BATCHES = 4  # the first is not counted
MOST_PICTURES = 65_536  # that are sent to a probe; it begins again where it needs more
EVERY = 5  # steps between two looks at a GPU's clock: looking waits for it


@dataclass(frozen=True)
class Measured:
    """What a probe found.

    Args:
        cost: ``params``, ``frozen_params`` and ``macs``.
        device: As records name it.
        batch: Pictures a step of the probe.
        picture_seconds: Of training, a picture on one device.
        val_picture_seconds: Of validation, a picture.
        weights_bytes: What is kept at the end.
        checkpoint_bytes: What is kept to resume from: weights and the optimizer's state.
        loading: Whether loading the pictures is in the seconds.
        share: What its threads had of their cores, below 1 where others have the rest; None where
            they wait for a GPU or for loaders anyway.
        took: Seconds of the probe itself.
        probed: Whether it was measured; else it follows from another variant's by their MACs.
    """

    cost: dict[str, int]
    device: str
    batch: int
    picture_seconds: float
    val_picture_seconds: float
    weights_bytes: int
    checkpoint_bytes: int
    loading: bool
    share: float | None
    took: float = 0.0
    probed: bool = True


class Probed(Classification):
    """The task, which goes on whatever its loss is: a few steps say nothing about divergence."""

    def _sound(self, loss: float) -> bool:
        return True


class Clock(pl.Callback):
    """Times batches and ends the first epoch once there are enough."""

    def __init__(self, warm: int) -> None:
        self.warm = warm
        self.train: list[Mark] = []
        self.val: list[Mark] = []
        self.device = ""

    def on_train_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        done: int = given[-1] + 1
        counted = done - self.warm
        if counted < 0 or (given[0].device.type == "cuda" and counted % EVERY):
            return
        self.train.append(mark(done, given[0]))
        spent = self.train[-1].seconds - self.train[0].seconds
        if (counted >= FEWEST and spent > SECONDS) or (counted and spent > LONGEST):
            trainer.should_stop = True

    def on_validation_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        self.val.append(mark(len(self.val), given[0]))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.device = device_name(pl_module)
        trainer.should_stop = True


class Mark(NamedTuple):
    """A moment between two batches.

    Args:
        done: Batches so far.
        seconds: By the clock; on a GPU once it has done what it was given.
        cpu_seconds: That this process has had.
    """

    done: int
    seconds: float
    cpu_seconds: float


def mark(done: int, module: pl.LightningModule) -> Mark:
    """This moment."""
    if module.device.type == "cuda":
        torch.cuda.synchronize()
    return Mark(done, time.perf_counter(), time.process_time())


def each(marks: Sequence[Mark]) -> float:
    """Seconds a batch from the first mark to the last."""
    return (marks[-1].seconds - marks[0].seconds) / (marks[-1].done - marks[0].done)


def tensor_bytes(values: Iterable[Any]) -> int:
    """Bytes of the tensors among values."""
    return sum(value.nbytes for value in values if isinstance(value, torch.Tensor))


def attempt(config: RunConfig, pictures: ImageDataset | None) -> Measured | str:
    """``measure``, or why it fails: kind and message."""
    try:
        return measure(config, pictures)
    except Exception as error:  # whatever a model that cannot be trained raises
        return f"{failure_kind(error)}: {summarize_error(error)}"


def measure(config: RunConfig, pictures: ImageDataset | None) -> Measured:
    """Train a variant for some seconds; sets torch's threads and seeds, so in its own process.

    Args:
        config: A cell of it.
        pictures: Those of the run; None for made-up ones of the same shape.
    """
    began = time.perf_counter()
    plugins.load_plugins(config.system.plugins)
    torch.set_num_threads(config.system.threads)
    cost = model_cost(config.model)
    gpu = uses_gpu(config.system.accelerator)
    batch = config.data.batch_size // config.system.world_size
    val_batch = VALIDATION_BATCH
    if not gpu:
        # Two, because a batch norm of one position needs them and mixup wants even batches.
        most = max(2, 2 * int(CPU_MACS / 3 / max(1, cost["macs"]) / 2))
        batch, val_batch = min(batch, most), min(val_batch, most)
    workers = config.system.loader_workers if pictures and config.data.pipeline == "timm" else 0
    # What loaders hold ready when the first step begins is gone before steps are counted.
    clock = Clock(WARM_STEPS + (2 * workers if gpu else 0))
    batches = _batches(config, pictures, batch, val_batch, clock.warm + MOST)
    task = Probed(config)
    with quiet_lightning():
        trainer = pl.Trainer(
            **trainer_options(config), callbacks=[clock], enable_checkpointing=False
        )
        trainer.fit(task, *batches)
    weights = tensor_bytes(task.state_dict().values())
    state = trainer.optimizers[0].state.values()
    begin, end = clock.train[0], clock.train[-1]
    share = (end.cpu_seconds - begin.cpu_seconds) / (end.seconds - begin.seconds)
    return Measured(
        cost=cost,
        device=clock.device,
        batch=batch,
        picture_seconds=each(clock.train) / batch,
        val_picture_seconds=each(clock.val) / val_batch,
        weights_bytes=weights,
        checkpoint_bytes=weights + sum(tensor_bytes(own.values()) for own in state),
        loading=pictures is not None,
        share=None if gpu or workers else share / config.system.threads,
        took=time.perf_counter() - began,
    )


def wanted(config: RunConfig, pictures: ImageDataset | None) -> ImageDataset | None:
    """As many pictures as the probe of a cell may need, to be sent to its process."""
    if pictures is None:
        return None
    steps = WARM_STEPS + 2 * config.system.loader_workers + MOST
    train = min(config.data.batch_size * steps, MOST_PICTURES)
    return some(pictures, train, VALIDATION_BATCH * VALIDATION_BATCHES)


def _batches(
    config: RunConfig, pictures: ImageDataset | None, batch: int, val_batch: int, steps: int
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training and validation batches, ``steps`` and ``VALIDATION_BATCHES`` of them."""
    if pictures is None:
        return _made_up(config, batch, steps), _made_up(config, val_batch, VALIDATION_BATCHES)
    drawn = some(pictures, batch * steps, val_batch * VALIDATION_BATCHES)
    data, workers = replace(config.data, batch_size=batch), config.system.loader_workers
    train, _ = create_loaders(drawn, data, config.seed, workers)
    return train, create_validation_loader(drawn, data, workers, val_batch)


def _made_up(config: RunConfig, batch: int, count: int) -> DataLoader[Any]:
    model, draw = config.model, torch.Generator().manual_seed(0)
    shape = (batch, model.in_channels, model.image_size, model.image_size)
    one = torch.randn(shape, generator=draw), torch.arange(batch) % model.num_classes

    def copy(pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return pair[0].clone(), pair[1]  # mixup works in place

    return DataLoader([one] * count, batch_size=None, collate_fn=copy)  # type: ignore[arg-type]
