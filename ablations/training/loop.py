"""Lightning's loop over one run: from its checkpoint, or from the start, to its last epoch."""

from __future__ import annotations

import contextlib
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader

from ablations.config.precision import resolve_precision
from ablations.config.schema import RunConfig
from ablations.machine import files
from ablations.store.predictions import save_predictions
from ablations.store.records import CHECKPOINT_FILE, WEIGHTS_FILE
from ablations.store.run_progress import RunProgress
from ablations.training.distributed.ranks import SINGLE_PROCESS, RankInfo
from ablations.training.distributed.strategy import ExternalDDPStrategy, RankEnvironment
from ablations.training.history import History
from ablations.training.progress_callback import ProgressCallback
from ablations.training.signals import Interrupted, Signals
from ablations.training.tasks.classification import Classification
from poolformer.checkpoints import encode_weights

Batches = tuple[DataLoader[Any], DataLoader[Any]]


class LoopCallback(pl.Callback):
    """Writes a checkpoint after each epoch, and checks after each batch whether to go on.

    Lightning's ModelCheckpoint looks at every step whether a checkpoint is due. Its handler of
    SIGTERM would broadcast the signal to the other ranks, in the middle of whatever collective is
    running. Here rank 0 alone decides on signals: this process's handler stays.
    """

    def __init__(self, checkpoint: Path, check: Callable[[], None]) -> None:
        self.checkpoint, self.check = checkpoint, check

    def on_fit_start(self, *_: Any) -> None:
        self.sigterm_handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, *_: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.sigterm_handler)

    def on_train_batch_end(self, *_: Any) -> None:
        self.check()

    def on_validation_batch_end(self, *_: Any) -> None:
        self.check()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.checkpoint)  # on all ranks: they wait for each other there


class AtomicCheckpointIO(TorchCheckpointIO):
    """Replaces checkpoints atomically: a reader never sees half a file."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        # Unlike torch, this reports a full disk.
        with files.atomic_write(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load tensors and plain values only, so that no code of the file runs."""
        return super().load_checkpoint(path, map_location, weights_only=True)


def fit(
    config: RunConfig,
    batches: Batches,
    folder: Path,
    history: History,
    signals: Signals,
    check: Callable[[], None],
    state: dict[str, Any] | None,
    info: RankInfo = SINGLE_PROCESS,
    on_progress: Callable[[RunProgress], None] | None = None,
) -> str:
    """Train a run to its end as rank 0; the status, ``finished`` or ``diverged``.

    Args:
        config: The run.
        batches: Loaders of training and validation.
        folder: The folder of the run, for its checkpoint, weights and predictions.
        history: The callback that records the epochs.
        signals: Interrupts the loop.
        check: Called after each batch; an exception that it raises ends the loop.
        state: The checkpoint to continue from.
        info: This process's rank. All ranks are in one process group.
        on_progress: Called within epochs, at most once a second.

    Raises:
        Interrupted: A signal.
    """
    progress = ProgressCallback(folder, *batches, on_progress)
    with quiet_lightning(), progress:
        callbacks = [progress, history, LoopCallback(folder / CHECKPOINT_FILE, check)]
        task, trainer = _build(config, callbacks, info)
        if state and state["diverged"]:  # it has ended and only lacks its record
            task.load_state_dict(state["state_dict"])
            history.load_state_dict(state["callbacks"][history.state_key])
            history.on_fit_start(trainer, task)
            task.diverged = True
        else:
            try:
                with signals.deferred():
                    path = folder / CHECKPOINT_FILE if state else None
                    trainer.fit(task, *batches, ckpt_path=path)
                signals.check()
            except SystemExit as error:  # how Lightning ends after a KeyboardInterrupt
                raise Interrupted(signals.received or 130) from error
    with files.atomic_write(folder / WEIGHTS_FILE) as file:
        file.write(encode_weights(task.model.state_dict(), WEIGHTS_FILE))
    save_predictions(folder, history.predictions())
    return "diverged" if task.diverged else "finished"


def fit_worker(
    config: RunConfig, batches: Batches, folder: Path, resume: bool, info: RankInfo
) -> None:
    """Take the same steps as rank 0, in another process; nothing is recorded or reported.

    Args:
        config: The run.
        batches: This rank's share of training and validation.
        folder: The folder of the run, with rank 0's checkpoint.
        resume: Whether to continue from the checkpoint.
        info: This process's rank.
    """
    checkpoint = folder / CHECKPOINT_FILE
    with quiet_lightning():
        task, trainer = _build(config, [LoopCallback(checkpoint, lambda: None)], info)
        trainer.fit(task, *batches, ckpt_path=checkpoint if resume else None)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's advice on loader workers, loggers and srun."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        yield


def _build(
    config: RunConfig, callbacks: list[pl.Callback], info: RankInfo
) -> tuple[Classification, pl.Trainer]:
    """The task of a run and its Trainer; the last callback sees the work of the others."""
    torch.set_num_threads(config.system.threads)
    # `trainer_options` asks for deterministic operators. torch then also fills each new tensor,
    # which only helps to find reads of uninitialized memory and costs a 20th of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # Lightning has read the rank from the environment, which may describe a task of srun.
    rank_zero_only.rank = info.rank  # type: ignore[attr-defined]
    trainer = pl.Trainer(**trainer_options(config, info), callbacks=callbacks)
    if info.world_size > 1:
        # Lightning broadcasts a flag for SIGTERM before every step, which makes a GPU wait. No
        # public option or hook turns this off.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
    return Classification(config), trainer


def trainer_options(config: RunConfig, info: RankInfo = SINGLE_PROCESS) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for a run; a plan times its steps with the same.

    Args:
        config: The run.
        info: This process's rank.
    """
    devices: dict[str, Any] = {"devices": 1}
    if info.world_size > 1:
        devices = {
            "devices": config.system.devices,
            "num_nodes": config.system.nodes,
            "strategy": ExternalDDPStrategy(),
            "sync_batchnorm": True,  # statistics of the whole batch, as on one device
        }
    return {
        **devices,
        "accelerator": config.system.accelerator,
        "plugins": [RankEnvironment(info), AtomicCheckpointIO()],
        "precision": resolve_precision(config.system),
        "max_epochs": config.optim.total_epochs,
        "gradient_clip_val": config.optim.grad_clip,
        "logger": False,
        "enable_checkpointing": False,  # Lightning's own
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        # An operator without a deterministic form on a GPU is a warning in the log, not an error.
        "deterministic": "warn" if torch.cuda.is_available() else True,
        "use_distributed_sampler": False,
    }
