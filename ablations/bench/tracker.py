"""The cost of mirroring a run to W&B."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

from ablations.bench.timing import (
    BenchResult,
    Report,
    compare,
    describe_machine,
    in_scratch_folder,
    time_in_turns,
)
from ablations.config.schema import RunConfig
from ablations.tracking.client import mode

LIMIT = 1.02  # time with W&B over time without


def bench_tracker(config: RunConfig, rounds: int, report: Report) -> BenchResult:
    """Time a run mirrored to W&B against the same run without: at most 2% more.

    Args:
        config: The run; it is trained anew each time.
        rounds: How often each is timed.
        report: Called with one line per round.
    """
    from ablations.training.train import train

    os.environ.setdefault("WANDB_MODE", "offline")  # keep these runs out of the user's account

    def train_with(tracker: str, results: Path) -> None:
        run = replace(config, system=replace(config.system, tracker=tracker))
        record = train(run, results)
        if not record.done:
            raise RuntimeError(f"the run failed: {record.failure}")

    calls = {name: in_scratch_folder(partial(train_with, name)) for name in ("wandb", "none")}
    title = f"tracker: recipe {config.recipe}, W&B {mode()}, {describe_machine()}"
    return compare(title, time_in_turns(calls, rounds, report), {"none": LIMIT})
