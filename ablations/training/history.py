"""The history of a run, a row per epoch: in the checkpoint, in ``history.csv`` and in W&B."""

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
from ablations.store import history_csv, records
from ablations.store.predictions import Predictions
from ablations.tracking.tracker import Tracker
from ablations.training import code_hash
from ablations.training.environment import cpu_model
from ablations.training.tasks.base import Task

log = logging.getLogger(__name__)
EpochReport = Callable[[dict[str, Any]], None]


class History(pl.Callback):
    """Records a row per epoch, mirrors it to the tracker and reports it.

    Attributes:
        rows: The rows of all epochs.
        predicted: A task's ``predictions`` at the last epoch.
        device: What a record says of the device, once training has started.
    """

    def __init__(
        self,
        folder: Path,
        images: data.ImageDataset,
        tracker: Tracker,
        on_epoch: EpochReport | None,
    ) -> None:
        self.folder, self.tracker, self.on_epoch = folder, tracker, on_epoch
        self.identity = images.identity
        self.rows: list[dict[str, float]] = []
        self.predicted = torch.zeros((3, 0), dtype=torch.int32)
        self.device: dict[str, Any] = {}
        self.devices: list[str] = []  # in the order in which the starts of the run used them
        self.images = 0
        self.lr = self.start = self.train_seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "devices": self.devices, "predicted": self.predicted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = list(state["rows"])
        self.devices = list(state.get("devices", []))
        self.predicted = state["predicted"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        assert isinstance(pl_module, Task)
        checkpoint |= {
            **self.identity,
            "run_id": pl_module.run.run_id,
            "diverged": pl_module.diverged,
            "code": code_hash.current_hashes(),
            "precision": str(trainer.precision),
            "plugins": plugins.mixer_versions(pl_module.run.model.mixers),
        }

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Now, because Lightning moves the model back to the CPU at the end.
        device = device_name(pl_module)
        if device not in self.devices:
            self.devices = [*self.devices, device]
        self.device = {
            "device": device,
            "devices": self.devices,
            "precision": str(trainer.precision),
        }
        # A resumed run mirrors all epochs: the tracker's run may be a new one.
        for row in self.rows:
            self._mirror(row)

    def on_train_epoch_start(self, *_: Any) -> None:
        self.images, self.start = 0, time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.lr = trainer.optimizers[0].param_groups[0]["lr"]
        self.images += len(batch[1]) * trainer.world_size  # the same number on all ranks

    def on_validation_start(self, *_: Any) -> None:
        self.train_seconds = time.perf_counter() - self.start

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Task)
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs
        steps = max(1, self.images // pl_module.run.data.batch_size)
        row = {
            "epoch": epoch,
            "train/loss": pl_module.epoch_loss / steps,
            "lr": self.lr,  # of the last step
            **pl_module.validation_metrics,
            "pictures": self.images,
            "train_seconds": round(self.train_seconds, 4),
            "epoch_seconds": round(time.perf_counter() - self.start, 4),
        }
        self.rows.append(row)
        self.predicted = pl_module.predictions
        history_csv.write_history(self.folder / records.HISTORY_FILE, self.rows)
        self._mirror(row)
        top1, speed = row["val/top1"], self.images / max(self.train_seconds, 1e-9)
        log.info(
            "epoch %d/%d: top-1 %.2f%%, loss %.4f, %.0f images/s",
            *(epoch, epochs, top1, row["train/loss"], speed),
        )
        if self.on_epoch:
            report = {"epoch": epoch, "epochs": epochs, "val/top1": top1, "speed": speed}
            self.on_epoch(report)

    def _mirror(self, row: dict[str, float]) -> None:
        metrics = {name: value for name, value in row.items() if name != "epoch"}
        self.tracker.log(int(row["epoch"]), metrics)

    def predictions(self) -> Predictions:
        """What the run predicted for the validation images at its last epoch."""
        predicted, top5, labels = self.predicted.numpy()
        fingerprint = self.identity["fingerprint"]
        return Predictions(predicted, predicted == labels, top5 > 0, labels, fingerprint)

    def timing(self, seconds: float) -> dict[str, float]:
        """The timing of a record, over all epochs, also of earlier starts.

        Args:
            seconds: The duration of this start.
        """
        trained = sum(row["train_seconds"] for row in self.rows)
        images = sum(row["pictures"] for row in self.rows)
        return {
            "seconds": round(seconds, 3),
            "epoch_seconds": round(sum(row["epoch_seconds"] for row in self.rows), 3),
            "train_seconds": round(trained, 3),
            "pictures_per_second": round(images / trained, 1) if trained else 0.0,
        }


def device_name(module: pl.LightningModule) -> str:
    """The GPU or the CPU that a module is on, as records name it."""
    on_gpu = module.device.type == "cuda"
    return torch.cuda.get_device_name() if on_gpu else f"cpu ({cpu_model()})"


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
