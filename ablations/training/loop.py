"""Lightning's loop over one run: from its checkpoint, or from the start, to its last epoch."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only
from torch import nn
from torch.utils.data import DataLoader

from ablations.config.precision import resolve_precision
from ablations.config.schema import RunConfig
from ablations.data import ImageDataset
from ablations.data.memory import loader_death, memory_shortage
from ablations.errors import ConfigError, DataError, RankError
from ablations.machine import files
from ablations.store.records import CHECKPOINT_FILE, WEIGHTS_FILE
from ablations.store.run_progress import RunProgress
from ablations.text.phrases import pluralize
from ablations.training.batch_progress import ProgressCallback
from ablations.training.history import History
from ablations.training.ranks import SINGLE_PROCESS, ExternalDDPStrategy, RankEnvironment, RankInfo
from ablations.training.signals import Interrupted, Signals
from ablations.training.tasks.classification import Classification
from poolformer.checkpoints import encode_weights
from poolformer.metaformer import MetaFormer

Batches = tuple[DataLoader[Any], DataLoader[Any]]


class CheckpointCallback(pl.Callback):
    """Asks at the end of each batch whether to go on, and keeps each epoch in a checkpoint.

    Lightning's ModelCheckpoint looks at every step what it has to do; here the epoch is the unit.
    """

    def __init__(self, checkpoint: Path, check: Callable[[], None]) -> None:
        self.checkpoint, self.check = checkpoint, check

    def on_train_batch_end(self, *_: Any) -> None:
        self.check()

    def on_validation_batch_end(self, *_: Any) -> None:
        self.check()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.checkpoint)  # of all ranks: they wait for each other there


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are replaced by a rename within their folder: never half a file."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        # Unlike torch, this reports a full disk.
        with files.atomic_write(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Of tensors and plain values only: no code of the file is run, whoever wrote it."""
        return super().load_checkpoint(path, map_location, weights_only=True)


def fit(
    config: RunConfig,
    batches: Batches,
    folder: Path,
    history: History,
    signals: Signals,
    check: Callable[[], None],
    state: dict[str, Any] | None,
    seat: RankInfo = SINGLE_PROCESS,
    report: Callable[[RunProgress], None] | None = None,
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
        seat: This process's among those that train the run; they are in one process group.
        report: Called within epochs, once a second at most, with where the run is.

    Raises:
        Interrupted: A signal.
    """
    watch = ProgressCallback(folder, *batches, report)
    with quiet_lightning(), watch.removed():
        callbacks = [watch, history, CheckpointCallback(folder / CHECKPOINT_FILE, check)]
        task, trainer = built(config, callbacks, seat)
        if has_diverged(state):
            # It had ended; only its record is missing.
            assert state is not None
            task.load_state_dict(state["state_dict"])
            history.load_state_dict(state["callbacks"][history.state_key])
            history.on_fit_start(trainer, task)
            task.diverged = True
        else:
            try:
                with signals.held():
                    path = str(folder / CHECKPOINT_FILE) if state else None
                    trainer.fit(task, *batches, ckpt_path=path)
                signals.check()
            except SystemExit as stopped:  # Lightning's word for SIGINT and SIGTERM
                raise Interrupted(signals.came or 130) from stopped
    with files.atomic_write(folder / WEIGHTS_FILE) as file:
        file.write(encode_weights(task.model.state_dict(), WEIGHTS_FILE))
    return "diverged" if task.diverged else "finished"


def fit_worker(
    config: RunConfig, batches: Batches, folder: Path, resumes: bool, seat: RankInfo
) -> None:
    """The loop of a process that is not rank 0: the same steps, and nothing is kept or told.

    Args:
        config: The cell.
        batches: Its share of training and validation.
        folder: Where rank 0 has the checkpoint.
        resumes: Whether they continue from it.
        seat: This process's.
    """
    with quiet_lightning():
        keeper = CheckpointCallback(folder / CHECKPOINT_FILE, lambda: None)
        task, trainer = built(config, [keeper], seat)
        path = str(folder / CHECKPOINT_FILE) if resumes else None
        trainer.fit(task, *batches, ckpt_path=path)


def has_diverged(state: dict[str, Any] | None) -> bool:
    """Whether a checkpoint is of a run that has diverged: there is nothing left to train."""
    return bool(state and state["diverged"])


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Leave out Lightning's advice on loader processes, loggers and srun."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        yield


def built(
    config: RunConfig, callbacks: list[pl.Callback], seat: RankInfo
) -> tuple[Classification, pl.Trainer]:
    """A run's task and its Trainer; the last callback sees what the others have done."""
    torch.set_num_threads(config.system.threads)
    # Operators are to be deterministic (`options`). What torch does besides, filling each tensor
    # before it is written, only shows who reads what nobody wrote, for a 20th of the time.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    # Lightning has read it from the environment, where it may be that of a task of srun's.
    setattr(rank_zero_only, "rank", seat.rank)  # noqa: B010
    own = trainer_options(config, seat)
    trainer = pl.Trainer(
        **{**own, "plugins": [*own["plugins"], AtomicCheckpointIO()]},
        callbacks=callbacks,
        enable_checkpointing=False,  # of Lightning's own accord
    )
    if seat.world > 1:
        # Rank 0 alone decides on signals, and leaves alone. Lightning would tell the others in an
        # exchange of its own: at every step, which on a GPU waits for it, and in the handler too,
        # where it meets whatever exchange is under way.
        setattr(trainer._signal_connector, "register_signal_handlers", lambda: None)  # noqa: B010
        setattr(trainer.fit_loop.epoch_loop, "_broadcast_sigterm_tensor", lambda: None)  # noqa: B010
    return Classification(config), trainer


def trainer_options(config: RunConfig, seat: RankInfo = SINGLE_PROCESS) -> dict[str, Any]:
    """What Lightning's Trainer is told of a run; a plan times its steps with the same.

    Args:
        config: The run.
        seat: This process's among those that train it.
    """
    where: dict[str, Any] = {"devices": 1}
    if seat.world > 1:
        where = {
            "devices": config.system.devices,
            "num_nodes": config.system.nodes,
            "strategy": ExternalDDPStrategy(),
            "sync_batchnorm": True,  # the statistics are the whole batch's, as on one device
        }
    return {
        **where,
        "accelerator": config.system.accelerator,
        "plugins": [RankEnvironment(seat)],
        "precision": resolve_precision(config.system),
        "max_epochs": config.optim.total_epochs,
        "gradient_clip_val": config.optim.grad_clip,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        # A GPU operator without a deterministic form is told in the log, not refused.
        "deterministic": "warn" if torch.cuda.is_available() else True,
        "use_distributed_sampler": False,
    }


def check_devices(config: RunConfig, pictures: ImageDataset) -> None:
    """Raise where a run cannot be trained on as many devices as it asks for.

    Raises:
        ConfigError: A batch norm on CPUs, or too few GPUs.
        DataError: Too few validation pictures to share out.
    """
    system = config.system
    gpu = uses_gpu(system.accelerator)
    if system.world_size == 1:
        return
    if gpu and torch.cuda.device_count() < system.devices:
        raise ConfigError(
            f"system.devices {system.devices}: this process sees "
            f"{pluralize(torch.cuda.device_count(), 'GPU')}"
        )
    if not gpu and normalizes_batches(config):
        raise ConfigError(
            f"system.devices {system.devices} on system.nodes {system.nodes}: on CPUs torch has no "
            "batch norm over several processes: take one, or GPUs, or another model.norm (group, "
            "layer, none)"
        )
    if len(pictures.val) < system.world_size:
        raise DataError(
            f"{pluralize(len(pictures.val), 'validation image')} cannot be shared out among "
            f"{system.world_size} processes"
        )


def normalizes_batches(config: RunConfig) -> bool:
    """Whether the model has a batch norm, the config's or a token mixer's own."""
    with torch.random.fork_rng(devices=[]):
        model = MetaFormer(config.model)
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def uses_gpu(accelerator: str) -> bool:
    """Whether ``system.accelerator`` means a GPU on this machine.

    Raises:
        ConfigError: One is asked for and there is none.
    """
    found = torch.cuda.is_available()
    if accelerator == "gpu" and not found:
        raise ConfigError("system.accelerator gpu: this machine has none that torch can use")
    return found and accelerator != "cpu"


def failure_kind(error: Exception) -> str:
    """oom, data, killed or error."""
    if isinstance(error, RankError):
        return error.kind
    if isinstance(error, torch.OutOfMemoryError) or memory_shortage(error):
        return "oom"
    if loader_death(error):
        return "killed"
    return "data" if isinstance(error, DataError) else "error"


def summarize_error(error: BaseException) -> str:
    """The kind and message of an error, in one line."""
    lines = str(error).strip().splitlines()
    if isinstance(error, RankError):
        return str(error)
    if not isinstance(error, DataError) and (told := memory_shortage(error) or loader_death(error)):
        return f"{type(error).__name__}: {told}"
    if not lines:
        return type(error).__name__
    # A loader process sends its whole traceback; the message is the last line.
    if lines[0].startswith("Caught "):
        kind, _, message = lines[-1].partition(": ")
        return f"{kind.rsplit('.', 1)[-1]}: {message}"
    return f"{type(error).__name__}: {lines[0]}"
