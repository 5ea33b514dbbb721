"""Lightning's loop over one run: from its checkpoint, or from the start, to its last epoch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from ablations.config import RunConfig
from ablations.history import History
from ablations.records import CHECKPOINT, PARTIAL, WEIGHTS
from ablations.signals import Interrupted, Signals
from ablations.tasks.classification import Classification
from poolformer.checkpoints import write_weights
from poolformer.config import ConfigError


class AtBatchEnd(pl.Callback):
    """Asks at the end of each batch whether to go on."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def on_train_batch_end(self, *_: Any) -> None:
        self.check()

    def on_validation_batch_end(self, *_: Any) -> None:
        self.check()


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are replaced by a rename within their folder: never half a file."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        partial = Path(f"{path}{PARTIAL}")
        with partial.open("wb") as file:  # which says, unlike torch, that the disk is full
            torch.save(checkpoint, file)
        partial.replace(path)


def fit(
    config: RunConfig,
    batches: tuple[DataLoader[Any], DataLoader[Any]],
    folder: Path,
    history: History,
    signals: Signals,
    check: Callable[[], None],
    state: dict[str, Any] | None,
) -> str:
    """Run Lightning's loop to the end; the status.

    Args:
        config: The cell.
        batches: Of training and validation.
        folder: Where its checkpoint and its weights go.
        history: Its callback.
        signals: What ends it early.
        check: Called after each batch; what it raises ends the loop there.
        state: The checkpoint that it continues from.

    Raises:
        Interrupted: A signal.
    """
    torch.set_num_threads(config.system.threads)
    task = Classification(config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")  # advice on workers, loggers
        trainer = pl.Trainer(
            **options(config),
            callbacks=[
                history,
                AtBatchEnd(check),
                ModelCheckpoint(
                    folder,
                    Path(CHECKPOINT).stem,
                    save_on_train_epoch_end=True,
                    enable_version_counter=False,
                ),
            ],
            plugins=[WholeFiles()],
        )
        if state and state["diverged"]:
            # It had ended; only its record is missing.
            task.load_state_dict(state["state_dict"])
            history.load_state_dict(state["callbacks"][history.state_key])
            history.on_fit_start(trainer, task)
            task.diverged = True
        else:
            try:
                with signals.held():
                    path = str(folder / CHECKPOINT) if state else None
                    trainer.fit(task, *batches, ckpt_path=path)
                signals.check()
            except SystemExit as stopped:  # Lightning's word for SIGINT and SIGTERM
                raise Interrupted(signals.came or 130) from stopped
    write_weights(task.model.state_dict(), folder / WEIGHTS)
    return "diverged" if task.diverged else "finished"


def options(config: RunConfig) -> dict[str, Any]:
    """What Lightning's Trainer is told of a run; a plan times its steps with the same."""
    return {
        "accelerator": config.system.accelerator,
        "devices": 1,
        "precision": precision(config),
        "max_epochs": config.optim.all_epochs,
        "gradient_clip_val": config.optim.grad_clip,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        # A GPU operator without a deterministic form is told in the log, not refused.
        "deterministic": "warn" if torch.cuda.is_available() else True,
        "use_distributed_sampler": False,
    }


def on_gpu(accelerator: str) -> bool:
    """Whether ``system.accelerator`` means a GPU on this machine.

    Raises:
        ConfigError: One is asked for and there is none.
    """
    found = torch.cuda.is_available()
    if accelerator == "gpu" and not found:
        raise ConfigError("system.accelerator gpu: this machine has none that torch can use")
    return found and accelerator != "cpu"


def precision(config: RunConfig) -> str:
    """Lightning's precision: bfloat16 where a GPU has it; a CPU is faster in float32."""
    asked = config.system.precision
    if asked != "auto":
        return asked
    bf16 = on_gpu(config.system.accelerator) and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if bf16 else "32-true"
