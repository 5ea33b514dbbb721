"""Reports the progress of a run within its epochs. It observes and changes no number."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from ablations.errors import LeaseLostError
from ablations.store import run_progress
from ablations.store.run_progress import TRAINING, VALIDATING, RunProgress

REPORT_SECONDS = 1.0  # at least, between two reports
WRITE_SECONDS = 5.0  # at least, between two writes of the file
SPEED_REPORTS = 30  # the speed is that of the last reports
TRAINING_COST = 3  # training on an image takes about as long as validating three


class ProgressCallback(pl.Callback):
    """Reports progress at the end of a batch; most batches only read the clock.

    As a context manager it removes ``progress.json`` at the end.

    Args:
        folder: The folder of the run, for ``progress.json``.
        train: The training loader of this process.
        val: The validation loader of this process.
        on_progress: Called at most once a second.
    """

    def __init__(
        self,
        folder: Path,
        train: DataLoader[Any],
        val: DataLoader[Any],
        on_progress: Callable[[RunProgress], None] | None = None,
    ) -> None:
        self.folder, self.on_progress = folder, on_progress
        self.batches = {TRAINING: len(train), VALIDATING: len(val)}
        self.batch_size = train.batch_size or 1
        # The cost of a batch of each phase, and of each phase, in validation images.
        self.cost = {TRAINING: TRAINING_COST * self.batch_size, VALIDATING: val.batch_size or 1}
        self.training_cost = self.cost[TRAINING] * len(train)
        self.validation_cost = max(1, len(val.sampler))  # type: ignore[arg-type]
        self.next_report = self.next_write = 0.0
        self.first: tuple[float, float] | None = None  # the first report: time, share of the run
        self.marks: deque[tuple[float, int]] = deque(
            maxlen=SPEED_REPORTS
        )  # time, images of the epoch
        self.speed: float | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not LeaseLostError:  # then another process writes the file
            run_progress.remove_progress(self.folder)

    def on_train_epoch_start(self, *_: Any) -> None:
        self.marks.clear()

    def on_train_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        self._report(trainer, TRAINING, given[3] + 1)

    def on_validation_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        self._report(trainer, VALIDATING, given[3] + 1)

    def _report(self, trainer: pl.Trainer, phase: str, batches: int) -> None:
        if (now := time.monotonic()) < self.next_report:
            return
        cost = self.cost[phase] * batches
        if phase == TRAINING:
            self._update_speed(now, batches * self.batch_size * trainer.world_size)
        else:
            cost = self.training_cost + min(self.validation_cost, cost)
        fraction = round(min(1.0, cost / (self.training_cost + self.validation_cost)), 4)
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        of_phase = self.batches[phase]
        progress = RunProgress(epoch, epochs, phase, batches, of_phase, fraction, self.speed)
        start, before = self.first = self.first or (now, progress.done)
        if progress.done > before:
            left = (now - start) / (progress.done - before) * (1 - progress.done)
            progress = replace(progress, seconds_left=left)
        self.next_report = now + REPORT_SECONDS
        if now >= self.next_write:
            run_progress.write_progress(self.folder, progress)
            self.next_write = time.monotonic() + WRITE_SECONDS
        if self.on_progress:
            self.on_progress(progress)

    def _update_speed(self, now: float, images: int) -> None:
        self.marks.append((now, images))
        then, before = self.marks[0]
        if images > before:
            self.speed = (images - before) / max(now - then, 1e-9)
