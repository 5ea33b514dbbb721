"""A run's history: a row an epoch, in the checkpoint, in ``history.csv`` and to whoever watches."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ablations import data
from ablations.config import plugins
from ablations.store import records
from ablations.tracking.tracker import Tracker
from ablations.training import code_hash
from ablations.training.environment import cpu_model
from ablations.training.tasks.classification import Classification

log = logging.getLogger(__name__)
Progress = Callable[[dict[str, Any]], None]


class History(pl.Callback):
    """A row an epoch, in the checkpoint and in ``history.csv``; mirrors it and reports progress."""

    def __init__(
        self,
        folder: Path,
        pictures: data.ImageDataset,
        tracker: Tracker,
        progress: Progress | None,
    ) -> None:
        self.folder, self.tracker, self.progress = folder, tracker, progress
        self.identity = pictures.identity
        self.rows: list[dict[str, float]] = []
        self.device: dict[str, Any] = {}
        self.devices: list[str] = []  # in the order in which its starts used them
        self.pictures = 0
        self.lr = 0.0
        self.begun = 0.0
        self.trained = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "devices": self.devices}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])
        self.devices = list(state.get("devices", []))

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(pl_module, Classification)
        checkpoint["run_id"] = pl_module.run.run_id
        checkpoint.update(self.identity)
        checkpoint["diverged"] = pl_module.diverged
        checkpoint["code"] = code_hash.current_hashes()
        checkpoint["precision"] = str(trainer.precision)
        checkpoint["plugins"] = plugins.mixer_versions(pl_module.run.model.mixers)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Here, because Lightning moves the model back to the CPU when it is done.
        device = device_name(pl_module)
        if device not in self.devices:
            self.devices = [*self.devices, device]
        self.device = {
            "device": device,
            "devices": self.devices,
            "precision": str(trainer.precision),
        }
        # A resumed run mirrors its whole history: the tracker's run may be a new one.
        for row in self.rows:
            self.tracker.log(int(row["epoch"]), mirrored(row))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.pictures, self.begun = 0, time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self.pictures += len(batch[1]) * trainer.world_size  # all have as many

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.trained = time.perf_counter() - self.begun

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classification)
        steps = max(1, self.pictures // pl_module.run.data.batch_size)
        row = {
            "epoch": trainer.current_epoch + 1,
            "train/loss": pl_module.epoch_loss / steps,
            "lr": self.lr,  # of the epoch's last step
            **pl_module.measured(),
            "pictures": self.pictures,
            "train_seconds": round(self.trained, 4),
            "epoch_seconds": round(time.perf_counter() - self.begun, 4),
        }
        self.rows.append(row)
        records.write_history(self.folder / records.HISTORY_FILE, self.rows)
        self.tracker.log(int(row["epoch"]), mirrored(row))
        speed = self.pictures / max(self.trained, 1e-9)
        log.info(
            "epoch %d/%d: top-1 %.2f%%, loss %.4f, %.0f images/s",
            row["epoch"],
            trainer.max_epochs,
            row["val/top1"],
            row["train/loss"],
            speed,
        )
        if self.progress:
            self.progress(
                {
                    "epoch": row["epoch"],
                    "epochs": trainer.max_epochs,
                    "val/top1": row["val/top1"],
                    "speed": speed,
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


def device_name(module: pl.LightningModule) -> str:
    """The GPU or the CPU that a module is on, as records name it."""
    on_gpu = module.device.type == "cuda"
    return torch.cuda.get_device_name() if on_gpu else f"cpu ({cpu_model()})"


def mirrored(row: dict[str, float]) -> dict[str, float]:
    """A row of history as the tracker sees it."""
    return {name: value for name, value in row.items() if name != "epoch"}


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
