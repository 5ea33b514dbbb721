"""W&B mirrors what happens; the record on disk is the truth.

Offline unless WANDB_MODE says otherwise or a sweep agent started the run. Nothing here may end a
run: a tracker that fails says so once, in the log, and training goes on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablations.config import RunConfig
from ablations.labels import describe

log = logging.getLogger(__name__)


class Tracker:
    """Keeps nothing; the others add to it."""

    def __init__(self) -> None:
        self.ids: dict[str, Any] = {}

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        """Mirror one epoch's metrics."""

    def finish(self, summary: dict[str, Any], failed: bool) -> None:
        """End the run with what its record says."""


class WandbTracker(Tracker):
    """One W&B run, named after what the cell changes; its group is the cell without its seed."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        import wandb

        mode = os.environ.get("WANDB_MODE")
        if mode is None:
            mode = "online" if os.environ.get("WANDB_SWEEP_ID") else "offline"
        folder.mkdir(parents=True, exist_ok=True)
        change = describe(config)
        self.run = wandb.init(
            project=config.system.project,
            name=f"{change} seed {config.seed}",
            group=change[:128],
            job_type="train",
            tags=[config.recipe],
            dir=str(folder),
            mode=mode,  # type: ignore[arg-type]
            config={"run_id": config.run_id, **config.to_json()},
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )
        self.run.define_metric("epoch")
        self.run.define_metric("*", step_metric="epoch")
        self.run.define_metric("val/top1", step_metric="epoch", summary="max,last")
        self.ids = {"wandb": self.run.id, "project": config.system.project, "mode": mode}

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        self.run.log({"epoch": epoch, **metrics})

    def finish(self, summary: dict[str, Any], failed: bool) -> None:
        self.run.summary.update(summary)
        self.run.finish(exit_code=1 if failed else 0)


class Guarded(Tracker):
    """A tracker whose failures are told in the log and otherwise ignored."""

    def __init__(self, make: Callable[[], Tracker]) -> None:
        self.inner = Tracker()
        self._try(lambda: setattr(self, "inner", make()))
        self.ids = self.inner.ids

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # whatever a tracker's library may raise
            log.warning("the tracker failed and is left out from here: %s", error)
            self.inner = Tracker()

    def log(self, epoch: int, metrics: dict[str, float]) -> None:
        self._try(lambda: self.inner.log(epoch, metrics))

    def finish(self, summary: dict[str, Any], failed: bool) -> None:
        self._try(lambda: self.inner.finish(summary, failed))


def start(config: RunConfig, results: Path) -> Tracker:
    """The tracker that ``system.tracker`` names, its files under ``<results>/wandb``."""
    if config.system.tracker == "none":
        return Tracker()
    return Guarded(lambda: WandbTracker(config, results))
