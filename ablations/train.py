"""train(RunConfig) -> Record. What `ablations train`, the runner's workers and `wandb agent` start.

A run that was killed continues from its last finished epoch and ends with the numbers of one that
was not.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from ablations import data, environment, records, tracking
from ablations.config import RunConfig
from ablations.cost import run_cost
from ablations.data import DataError
from ablations.data.batches import loaders
from ablations.data.checks import check_classes, check_same_data
from ablations.logs import to_file
from ablations.records import Record
from ablations.tasks.classification import Classification

log = logging.getLogger("ablations")
CHECKPOINT = "last.ckpt"  # to resume from; gone once the record is there
WEIGHTS = "weights.pt"  # the model's state dict after the last epoch

Progress = Callable[[dict[str, Any]], None]


def train(config: RunConfig, results: Path, progress: Progress | None = None) -> Record:
    """Train one cell to its end, from where it was left, and write its record.

    Args:
        config: The fully resolved cell.
        results: The folder of all runs; this one's files go to ``<results>/<run_id>``.
        progress: Called after each epoch with ``epoch``, ``epochs``, the metrics and ``speed``
            (training pictures a second).

    Returns:
        The record on disk; the one that was there already if the cell is done. A run that fails
        on its way gives a record with status ``failed`` and the reason.

    Raises:
        ConfigError: The data have another number of classes than the model.
        DataError: The pictures are missing, or other ones than a finished record was made from.
    """
    pictures = data.load(config.data)
    check_classes(config, len(pictures.classes))
    known = records.find(results, config.run_id)
    if known and known.done:
        check_same_data(known, pictures.fingerprint)
        return known
    folder = results / config.run_id
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
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
    with to_file(folder / "log.txt"):
        tracker = tracking.start(config, results)
        shared["tracker"] = tracker.ids
        try:
            shared["cost"] = run_cost(config)
            status, history, device = fit(config, pictures, folder, tracker, progress)
            metrics = summarize(history.rows)
            record = Record(
                status=status,
                metrics=metrics,
                timing=history.timing(time.perf_counter() - started),
                environment=environment.describe(device, config.system.threads),
                **shared,
            )
        except Exception as error:
            log.error("%s", traceback.format_exc())
            record = Record(
                status="failed",
                failure={"kind": failure_kind(error), "message": one_line(error)},
                environment=environment.describe({}, config.system.threads),
                **shared,
            )
        record.write(results)
        if record.done:
            (folder / CHECKPOINT).unlink(missing_ok=True)
        tracker.finish(
            {"status": record.status, "cost": record.cost, "timing": record.timing},
            failed=record.status == "failed",
        )
    return record


class History(pl.Callback):
    """A row an epoch, in the checkpoint and in ``history.csv``; mirrors it and reports progress."""

    def __init__(
        self, folder: Path, tracker: tracking.NoTracker, progress: Progress | None, val: int
    ) -> None:
        self.folder, self.tracker, self.progress, self.val = folder, tracker, progress, val
        self.rows: list[dict[str, float]] = []
        self.pictures = 0
        self.begun = 0.0
        self.trained = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # A resumed run mirrors its whole history: the tracker's run may be a new one.
        for row in self.rows:
            self.tracker.log(int(row["epoch"]), mirrored(row))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.pictures, self.begun = 0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.pictures += len(batch[1])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.trained = time.perf_counter() - self.begun

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classification)
        steps = max(1, self.pictures // pl_module.run.data.batch_size)
        row = {
            "epoch": trainer.current_epoch + 1,
            "train/loss": pl_module.train_loss.item() / steps,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            **pl_module.measured(self.val),
            "pictures": self.pictures,
            "train_seconds": round(self.trained, 4),
            "epoch_seconds": round(time.perf_counter() - self.begun, 4),
        }
        self.rows.append(row)
        write_history(self.folder / "history.csv", self.rows)
        self.tracker.log(int(row["epoch"]), mirrored(row))
        if self.progress:
            self.progress(
                {
                    "epoch": row["epoch"],
                    "epochs": trainer.max_epochs,
                    "val/top1": row["val/top1"],
                    "speed": self.pictures / max(self.trained, 1e-9),
                }
            )

    def timing(self, seconds: float) -> dict[str, float]:
        """``train_seconds`` over all epochs (also of earlier starts), pictures a second in them."""
        trained = sum(row["train_seconds"] for row in self.rows)
        pictures = sum(row["pictures"] for row in self.rows)
        return {
            "seconds": round(seconds, 3),  # of this start
            "epoch_seconds": round(sum(row["epoch_seconds"] for row in self.rows), 3),
            "train_seconds": round(trained, 3),
            "pictures_per_second": round(pictures / trained, 1) if trained else 0.0,
        }


def mirrored(row: dict[str, float]) -> dict[str, float]:
    """A row of history as the tracker sees it."""
    return {name: value for name, value in row.items() if name != "epoch"}


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """A CSV line an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    records.write_atomically(path, text.getvalue())


def summarize(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """``last`` and ``best`` of each metric over the epochs, as far as they are finite."""
    summary: dict[str, dict[str, float]] = {}
    for name in ("val/top1", "val/top5", "val/loss", "train/loss"):
        values = [row[name] for row in rows if math.isfinite(row[name])]
        if values:
            best = min(values) if name.endswith("loss") else max(values)
            summary[name] = {"best": best}
            if math.isfinite(rows[-1][name]):
                summary[name]["last"] = rows[-1][name]
    return summary


def fit(
    config: RunConfig,
    pictures: data.Pictures,
    folder: Path,
    tracker: tracking.NoTracker,
    progress: Progress | None,
) -> tuple[str, History, dict[str, Any]]:
    """Run Lightning's loop; the status, the history and what it ran on."""
    torch.set_num_threads(config.system.threads)
    checkpoint = folder / CHECKPOINT
    resume = usable(checkpoint, config.run_id)
    epoch = resume["epoch"] + 1 if resume else 0
    history = History(folder, tracker, progress, len(pictures.val))
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
                ModelCheckpoint(
                    folder,
                    Path(CHECKPOINT).stem,
                    save_on_train_epoch_end=True,
                    enable_version_counter=False,
                ),
            ],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            deterministic="warn" if torch.cuda.is_available() else True,
            use_distributed_sampler=False,
        )
        task = Classification(config)
        train_batches, val_batches = loaders(
            pictures, config.data, config.seed, config.system.loader_workers, epoch
        )
        trainer.fit(
            task,
            train_batches,
            val_batches,
            ckpt_path=str(checkpoint) if resume else None,
        )
    device = {
        "device": torch.cuda.get_device_name() if task.device.type == "cuda" else "cpu",
        "precision": str(trainer.precision),
    }
    save_weights(folder / WEIGHTS, task.model)
    return "diverged" if task.diverged else "finished", history, device


def precision(config: RunConfig) -> str:
    """Lightning's precision: bfloat16 where a GPU has it; a CPU is faster in float32."""
    asked = config.system.precision
    if asked != "auto":
        return asked
    gpu = config.system.accelerator != "cpu" and torch.cuda.is_available()
    return "bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true"


def usable(checkpoint: Path, run_id: str) -> dict[str, Any] | None:
    """The checkpoint of this run, or None where there is none that can be read."""
    if not checkpoint.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if state["run_id"] == run_id:
            return state
        log.warning("%s is of run %s: starting anew", checkpoint, state["run_id"])
    except Exception as error:  # torch raises what the broken file makes it raise
        log.warning("%s cannot be read, starting anew: %s", checkpoint, one_line(error))
    return None


def save_weights(path: Path, model: torch.nn.Module) -> None:
    """Write a state dict so that a crash leaves no half file."""
    partial = path.with_suffix(".partial")
    torch.save(model.state_dict(), partial)
    partial.replace(path)


def failure_kind(error: Exception) -> str:
    """oom, data or error."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "oom"
    # torch's CPU allocator raises a plain RuntimeError.
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return "oom"
    return "data" if isinstance(error, DataError) else "error"


def one_line(error: Exception) -> str:
    """The kind and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    # `python -m ablations.train` is `ablations train`, for a sweep's `program: ablations.train`.
    import runpy
    import sys

    sys.argv.insert(1, "train")
    runpy.run_module("ablations", run_name="__main__")
