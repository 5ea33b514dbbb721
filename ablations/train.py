"""train(RunConfig) -> Record. What `ablations train`, the runner's workers and `wandb agent` start.

A run that was killed continues from its last finished epoch and ends with the numbers of one that
was not.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch.utils.data import DataLoader

from ablations import begun, data, environment, plugins, records
from ablations.config import RunConfig
from ablations.cost import run_cost
from ablations.data import DataError
from ablations.data.batches import loaders
from ablations.data.checks import check_classes, check_same_data
from ablations.history import History, Progress, summarize
from ablations.logs import to_file
from ablations.records import Record
from ablations.signals import Interrupted, Signals
from ablations.tasks.classification import Classification
from ablations.tracking import mirror
from poolformer.checkpoints import write_weights
from poolformer.config import ConfigError

log = logging.getLogger("ablations")
CHECKPOINT = "last.ckpt"  # to resume from; gone once the record is there
WEIGHTS = "weights.pt"  # the model's state dict after the last epoch


def train(
    config: RunConfig,
    results: Path,
    progress: Progress | None = None,
    reuse: bool = True,
    unsent: Callable[[Path], None] | None = None,
    signals: Signals | None = None,
) -> Record:
    """Train one cell to its end, from where it was left, and write its record.

    Args:
        config: The fully resolved cell.
        results: The folder of all runs; this one's files go to ``<results>/<run_id>``.
        progress: Called after each epoch with ``epoch``, ``epochs``, the metrics and ``speed``
            (training pictures a second).
        reuse: Whether a record that is there already is enough.
        unsent: Called with the tracker's folder where not all of it has arrived.
        signals: Where the caller handles SIGTERM already.

    Returns:
        The record on disk; the one that was there already if the cell is done. A run that fails
        on its way gives a record with status ``failed`` and the reason.

    Raises:
        ConfigError: What this machine or these pictures cannot give: a GPU, the model's classes.
        DataError: The pictures are missing, or other ones than the run was begun or ended with.
        RecordError: The results folder cannot be written.
        TrackerError: W&B refuses the run: no such entity, another key.
        Interrupted: SIGINT or SIGTERM.
    """
    signals = signals or Signals()
    with signals.handled():
        return _train(config, results, progress, reuse, unsent, signals)


def _train(
    config: RunConfig,
    results: Path,
    progress: Progress | None,
    reuse: bool,
    unsent: Callable[[Path], None] | None,
    signals: Signals,
) -> Record:
    started = time.perf_counter()
    plugins.load(config.system.plugins)
    mixers = plugins.versions(config.model.mixers)
    where = environment.describe({"plugins": mixers}, config.system.threads)
    on_gpu(config.system.accelerator)
    pictures = data.load(config.data)
    check_classes(config, len(pictures.classes))
    known = records.find(results, config.run_id)
    if known and known.done and reuse:
        check_same_data(known.run_id, known.data.get("fingerprint"), pictures.fingerprint)
        plugins.check_same(known.run_id, known.environment.get("plugins", {}), mixers)
        return known
    # What is wrong with the input shows here, before anything is written.
    state = usable(results / config.run_id / CHECKPOINT, config.run_id)
    if state:
        check_same_data(config.run_id, state["fingerprint"], pictures.fingerprint)
        plugins.check_same(config.run_id, state.get("plugins", {}), mixers)
    batches = loaders(
        pictures,
        config.data,
        config.seed,
        config.system.loader_workers,
        epoch=state["epoch"] + 1 if state else 0,
    )
    records.check_writable(results)
    shared: dict[str, Any] = {
        "run_id": config.run_id,
        "config": config.to_json(),
        "data": {
            "fingerprint": pictures.fingerprint,
            "classes": len(pictures.classes),
            "train": len(pictures.train),
            "val": len(pictures.val),
        },
    }
    with begun.folder(results, config.run_id) as folder, to_file(folder / begun.LOG):
        with signals.held():  # so that W&B hears of a signal that comes meanwhile
            before = begun.tracker_ids(results, config.run_id, known)
            tracker = mirror.start(config, results, before)
        try:
            with begun.marked(config, results, tracker.ids):
                signals.check()
                if known and known.done:
                    records.set_aside(results, config.run_id)
                try:
                    shared |= {"tracker": tracker.ids, "cost": cost_or_none(config)}
                    history = History(folder, pictures, tracker, progress)
                    status = fit(config, batches, folder, history, signals, state)
                    record = Record(
                        status=status,
                        metrics=summarize(history.rows),
                        timing=history.timing(time.perf_counter() - started),
                        environment=where | history.device | environment.ended(),
                        **shared,
                    )
                except Exception as error:
                    log.error("%s", traceback.format_exc())
                    record = Record(
                        status="failed",
                        failure={"kind": failure_kind(error), "message": one_line(error)},
                        environment=where | environment.ended(),
                        **shared,
                    )
                records.replace(results, record)
        except KeyboardInterrupt as stopped:
            tracker.interrupt(getattr(stopped, "code", 130))
            if isinstance(stopped, Interrupted):
                stopped.told = True
            if tracker.unsent and unsent:
                unsent(tracker.unsent)
            raise
        except OSError:  # a full disk, say
            tracker.interrupt(1)  # the next run in this process must not find it open
            raise
        if record.done:
            (folder / CHECKPOINT).unlink(missing_ok=True)
        tracker.finish(record, kept(folder, config.system.log_model))
    if tracker.unsent and unsent:
        unsent(tracker.unsent)
    return record


def kept(folder: Path, weights: bool) -> list[Path]:
    """The files of a run that its tracker keeps, as far as they are there."""
    names = [records.FILE, records.HISTORY, *([WEIGHTS] if weights else [])]
    return [folder / name for name in names if (folder / name).is_file()]


def cost_or_none(config: RunConfig) -> dict[str, Any]:
    """The cost of a run; a model whose cost cannot be counted can still be trained."""
    try:
        return run_cost(config)
    except Exception as error:  # whatever fvcore makes of a new operator
        log.warning("the cost cannot be counted: %s", one_line(error))
        return {}


class StopAtBatchEnd(pl.Callback):
    """Raises Interrupted at the end of a batch where a signal has come."""

    def __init__(self, signals: Signals) -> None:
        self.signals = signals

    def on_train_batch_end(self, *_: Any) -> None:
        self.signals.check()

    def on_validation_batch_end(self, *_: Any) -> None:
        self.signals.check()


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that are replaced by a rename within their folder: never half a file."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        partial = Path(f"{path}.partial")
        torch.save(checkpoint, partial)
        partial.replace(path)


def fit(
    config: RunConfig,
    batches: tuple[DataLoader[Any], DataLoader[Any]],
    folder: Path,
    history: History,
    signals: Signals,
    state: dict[str, Any] | None,
) -> str:
    """Run Lightning's loop to the end; the status.

    Args:
        config: The cell.
        batches: Of training and validation.
        folder: Where its checkpoint and its weights go.
        history: Its callback.
        signals: The one that ends it early.
        state: The checkpoint that it continues from.

    Raises:
        Interrupted: A signal.
    """
    torch.set_num_threads(config.system.threads)
    task = Classification(config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")  # advice on workers, loggers
        trainer = pl.Trainer(
            accelerator=config.system.accelerator,
            devices=1,
            precision=precision(config),  # type: ignore[arg-type]
            max_epochs=config.optim.all_epochs,
            gradient_clip_val=config.optim.grad_clip,
            callbacks=[
                history,
                StopAtBatchEnd(signals),
                ModelCheckpoint(
                    folder,
                    Path(CHECKPOINT).stem,
                    save_on_train_epoch_end=True,
                    enable_version_counter=False,
                ),
            ],
            plugins=[WholeFiles()],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # A GPU operator without a deterministic form is told in the log, not refused.
            deterministic="warn" if torch.cuda.is_available() else True,
            use_distributed_sampler=False,
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


def usable(checkpoint: Path, run_id: str) -> dict[str, Any] | None:
    """The checkpoint of this run, or None where there is none that can be read.

    A broken one is put aside, not overwritten. A file system that fails is an error, not a reason
    to train anew.
    """
    if not checkpoint.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state["run_id"] == run_id:
            return state
        reason = f"is of run {state['run_id']}"
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch raises what the broken file makes it raise
        reason = f"cannot be read ({one_line(error)})"
    aside = checkpoint.with_suffix(".broken")
    checkpoint.replace(aside)
    print(f"{checkpoint} {reason}: starting anew, it is kept as {aside.name}", file=sys.stderr)
    return None


def failure_kind(error: Exception) -> str:
    """oom, data or error."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "oom"
    # torch's CPU allocator raises a plain RuntimeError.
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return "oom"
    return "data" if isinstance(error, DataError) else "error"


def one_line(error: Exception) -> str:
    """The kind and message of an error, in one line."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    # A loader process sends its whole traceback; the message is the last line.
    if lines[0].startswith("Caught "):
        kind, _, message = lines[-1].partition(": ")
        return f"{kind.rsplit('.', 1)[-1]}: {message}"
    return f"{type(error).__name__}: {lines[0]}"


if __name__ == "__main__":
    # `python -m ablations.train` is `ablations train`, for a sweep's `program: ablations.train`.
    import runpy

    sys.argv.insert(1, "train")
    runpy.run_module("ablations", run_name="__main__")
