"""A few real training steps and validation batches of a variant, timed: its module, its Trainer.

The pictures come through the run's own loaders where they are here; else they are made up, and
loading is not in the figures.
"""

from __future__ import annotations

import io
import statistics
import time
import warnings
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import IO, Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from ablations import code, plugins
from ablations.config import RunConfig
from ablations.cost import model_cost
from ablations.data import Pictures
from ablations.data.batches import VALIDATION_BATCH, loaders, validation
from ablations.fit import on_gpu, options
from ablations.history import device_name
from ablations.plan.pictures import some
from ablations.tasks.classification import Classification
from ablations.train import failure_kind, one_line

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
        checkpoint_bytes: What is kept to resume from: weights and the optimizer's state.
        weights_bytes: What is kept at the end.
        loading: Whether loading the pictures is in the seconds.
        share: Of the time of its threads, what it had of a core: below 1 where others have the
            rest, or it waits for a GPU or for loaders.
    """

    cost: dict[str, int]
    device: str
    batch: int
    picture_seconds: float
    val_picture_seconds: float
    checkpoint_bytes: int
    weights_bytes: int
    loading: bool
    share: float


class Probed(Classification):
    """The task, which goes on whatever its loss is: a few steps say nothing about divergence."""

    def _sound(self, loss: float) -> bool:
        return True


class Clock(pl.Callback):
    """Times batches and ends the first epoch once there are enough."""

    def __init__(self, warm: int, mean: bool) -> None:
        self.warm, self.mean = warm, mean
        self.marks: list[tuple[int, float]] = []  # batches done, seconds
        self.cpu_seconds: list[float] = []  # at the same moments
        self.val_marks: list[float] = []
        self.device = ""

    def on_train_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        done: int = given[-1] + 1
        counted = done - self.warm
        on_gpu = trainer.strategy.root_device.type == "cuda"
        if counted < 0 or (on_gpu and counted % EVERY):
            return
        self.marks.append((done, now(trainer)))
        self.cpu_seconds.append(time.process_time())
        spent = self.marks[-1][1] - self.marks[0][1]
        if (counted >= FEWEST and spent > SECONDS) or (counted and spent > LONGEST):
            trainer.should_stop = True

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.val_marks.append(now(trainer))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.device = device_name(pl_module)
        trainer.save_checkpoint("counted")  # by Sizes, which writes no file
        trainer.should_stop = True

    def on_save_checkpoint(self, *given: Any) -> None:
        _, task, checkpoint = given  # a run's has these besides
        checkpoint["code"] = code.versions()
        checkpoint["plugins"] = plugins.versions(task.run.model.mixers)

    def step_seconds(self) -> float:
        """Of a step: the median, or the mean where loaders give batches in bursts."""
        steps = [(end - begin) / (b - a) for (a, begin), (b, end) in pairwise(self.marks)]
        if not self.mean:
            return statistics.median(steps)
        (first, begin), (last, end) = self.marks[0], self.marks[-1]
        return (end - begin) / (last - first)

    def share(self) -> float:
        """CPU seconds a second while steps were counted."""
        (_, begin), (_, end) = self.marks[0], self.marks[-1]
        return (self.cpu_seconds[-1] - self.cpu_seconds[0]) / (end - begin)

    def val_batch_seconds(self) -> float:
        """Of a validation batch."""
        return statistics.median(end - begin for begin, end in pairwise(self.val_marks))


class Sizes(TorchCheckpointIO):
    """How many bytes a checkpoint has, without writing it."""

    size = 0

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        self.size = saved_bytes(checkpoint)


class Counter(io.RawIOBase):
    """A file that only counts what is written to it."""

    size = 0

    def write(self, data: Any) -> int:
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes


def saved_bytes(state: Any) -> int:
    """The size of the file that ``torch.save`` makes of a state."""
    counter = Counter()
    torch.save(state, cast(IO[bytes], counter))
    return counter.size


def attempt(config: RunConfig, pictures: Pictures | None) -> Measured | str:
    """``measure``, or why it fails: kind and message."""
    try:
        return measure(config, pictures)
    except Exception as error:  # whatever a model that cannot be trained raises
        return f"{failure_kind(error)}: {one_line(error)}"


def measure(config: RunConfig, pictures: Pictures | None) -> Measured:
    """Train a variant for some seconds; sets torch's threads and seeds, so in its own process.

    Args:
        config: A cell of it.
        pictures: Those of the run; None for made-up ones of the same shape.
    """
    plugins.load(config.system.plugins)
    torch.set_num_threads(config.system.threads)
    cost = model_cost(config.model)
    gpu = on_gpu(config.system.accelerator)
    batch = config.data.batch_size // config.system.processes
    val_batch = VALIDATION_BATCH
    if not gpu:
        # Two, because a batch norm of one position needs them and mixup wants even batches.
        batch = min(batch, max(2, 2 * int(CPU_MACS / 3 / max(1, cost["macs"]) / 2)))
        val_batch = min(val_batch, max(2, int(CPU_MACS / 3 / max(1, cost["macs"]))))
    workers = config.system.loader_workers if pictures and config.data.pipeline == "timm" else 0
    # What loaders hold ready when the first step begins is gone before steps are counted.
    warm = WARM_STEPS + (2 * workers if gpu else 0)
    clock, sizes = Clock(warm, mean=workers > 0), Sizes()
    batches = _batches(config, pictures, batch, val_batch, warm + MOST)
    own = {**options(config), "devices": 1, "callbacks": [clock], "plugins": [sizes]}
    task = Probed(config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")  # advice on workers, loggers
        pl.Trainer(**own, enable_checkpointing=False).fit(task, *batches)
    return Measured(
        cost=cost,
        device=clock.device,
        batch=batch,
        picture_seconds=clock.step_seconds() / batch,
        val_picture_seconds=clock.val_batch_seconds() / val_batch,
        checkpoint_bytes=sizes.size,
        weights_bytes=saved_bytes(dict(task.model.state_dict())),
        loading=pictures is not None,
        share=clock.share() / config.system.threads,
    )


def now(trainer: pl.Trainer) -> float:
    """Seconds; on a GPU once it has done what it was given."""
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def wanted(config: RunConfig, pictures: Pictures | None) -> Pictures | None:
    """As many pictures as the probe of a cell may need, to be sent to its process."""
    if pictures is None:
        return None
    steps = WARM_STEPS + 2 * config.system.loader_workers + MOST
    train = min(config.data.batch_size * steps, MOST_PICTURES)
    return some(pictures, train, VALIDATION_BATCH * VALIDATION_BATCHES)


def _batches(
    config: RunConfig, pictures: Pictures | None, batch: int, val_batch: int, steps: int
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training and validation batches, ``steps`` and ``VALIDATION_BATCHES`` of them."""
    if pictures is None:
        return _made_up(config, batch, steps), _made_up(config, val_batch, VALIDATION_BATCHES)
    drawn = some(pictures, batch * steps, val_batch * VALIDATION_BATCHES)
    data, workers = replace(config.data, batch_size=batch), config.system.loader_workers
    train, _ = loaders(drawn, data, config.seed, workers)
    return train, validation(drawn, data, workers, val_batch)


def _made_up(config: RunConfig, batch: int, count: int) -> DataLoader[Any]:
    model, draw = config.model, torch.Generator().manual_seed(0)
    shape = (batch, model.in_channels, model.image_size, model.image_size)
    one = torch.randn(shape, generator=draw), torch.arange(batch) % model.num_classes

    def copy(pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return pair[0].clone(), pair[1]  # mixup works in place

    return DataLoader([one] * count, batch_size=None, collate_fn=copy)  # type: ignore[arg-type]
