"""Reports the progress of a run within its epochs. It observes and changes no number."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
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
        # The cost of a batch of each phase, and of an epoch, in validation images.
        self.cost = {TRAINING: TRAINING_COST * self.batch_size, VALIDATING: val.batch_size or 1}
        self.training_cost = self.cost[TRAINING] * len(train)
        self.validation_cost = max(1, len(val.sampler))  # type: ignore[arg-type]
        self.next_report = self.next_write = 0.0
        self.first: tuple[float, float] | None = None  # the first report: time, share of the run
        self.marks: deque[tuple[float, int]] = deque(maxlen=SPEED_REPORTS)  # time, batches
        self.speed: float | None = None

    @contextlib.contextmanager
    def removed(self) -> Iterator[None]:
        """Remove the file when the block ends, unless another process has taken the run over."""
        try:
            yield
        except LeaseLostError:
            raise
        except BaseException:
            run_progress.remove_progress(self.folder)
            raise
        run_progress.remove_progress(self.folder)

    def on_train_epoch_start(self, *_: Any) -> None:
        self.marks.clear()

    def on_train_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        if (now := time.monotonic()) >= self.next_report:
            batches: int = given[3] + 1
            self._update_speed(now, batches, trainer.world_size)
            self._report(trainer, now, TRAINING, batches, self.cost[TRAINING] * batches)

    def on_validation_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        if (now := time.monotonic()) >= self.next_report:
            batches: int = given[3] + 1
            validated = min(self.validation_cost, self.cost[VALIDATING] * batches)
            self._report(trainer, now, VALIDATING, batches, self.training_cost + validated)

    def _update_speed(self, now: float, batches: int, world_size: int) -> None:
        self.marks.append((now, batches))
        then, before = self.marks[0]
        if batches > before:
            images = (batches - before) * self.batch_size * world_size
            self.speed = images / max(now - then, 1e-9)

    def _report(self, trainer: pl.Trainer, now: float, phase: str, batches: int, cost: int) -> None:
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
