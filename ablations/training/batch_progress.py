"""Counts the batches of a run and reports its position: it observes, and changes no number."""

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

REPORT_SECONDS = 1.0  # between two reports, at least
WRITE_SECONDS = 5.0  # between two writes of the file, at least
SPEED_REPORTS = 30  # over which the speed is taken
STEP = 3  # forward and backward: a training image takes about as long as three of validation


class ProgressCallback(pl.Callback):
    """Reports where a run is, at the end of a batch; most batches cost it a look at the clock.

    Args:
        folder: The run's, for ``progress.json``.
        train: Training batches of this process.
        val: Validation batches of this process.
        report: Called with a position, once a second at most.
    """

    def __init__(
        self,
        folder: Path,
        train: DataLoader[Any],
        val: DataLoader[Any],
        report: Callable[[RunProgress], None] | None = None,
    ) -> None:
        self.folder, self.report = folder, report
        self.batches = {TRAINING: len(train), VALIDATING: len(val)}
        self.batch_size = train.batch_size or 1
        # An epoch's work in validation images, and that of a batch of each phase.
        self.unit = {TRAINING: STEP * self.batch_size, VALIDATING: val.batch_size or 1}
        self.training = self.unit[TRAINING] * len(train)
        self.validation = max(1, len(val.sampler))  # type: ignore[arg-type]
        self.next_report = self.next_write = 0.0
        self.start: tuple[float, float] | None = None  # the first report: when, and what was done
        self.marks: deque[tuple[float, int]] = deque(maxlen=SPEED_REPORTS)  # when, batches
        self.speed: float | None = None

    @contextlib.contextmanager
    def removed(self) -> Iterator[None]:
        """Remove the file at the end of the block, unless another process has the run by then."""
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
            done: int = given[3] + 1
            self._rate(now, done, trainer.world_size)
            self._tell(trainer, now, TRAINING, done, self.unit[TRAINING] * done)

    def on_validation_batch_end(self, trainer: pl.Trainer, *given: Any) -> None:
        if (now := time.monotonic()) >= self.next_report:
            done: int = given[3] + 1
            validated = min(self.validation, self.unit[VALIDATING] * done)
            self._tell(trainer, now, VALIDATING, done, self.training + validated)

    def _rate(self, now: float, done: int, world: int) -> None:
        self.marks.append((now, done))
        then, before = self.marks[0]
        if done > before:
            self.speed = (done - before) * self.batch_size * world / max(now - then, 1e-9)

    def _tell(self, trainer: pl.Trainer, now: float, phase: str, done: int, work: int) -> None:
        fraction = round(min(1.0, work / (self.training + self.validation)), 4)
        epoch, epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        here = RunProgress(epoch, epochs, phase, done, self.batches[phase], fraction, self.speed)
        begun, before = self.start = self.start or (now, here.done)
        if here.done > before:
            left = (now - begun) / (here.done - before) * (1 - here.done)
            here = replace(here, seconds_left=left)
        self.next_report = now + REPORT_SECONDS
        if now >= self.next_write:
            run_progress.write_progress(self.folder, here)
            self.next_write = time.monotonic() + WRITE_SECONDS
        if self.report:
            self.report(here)
