"""What mirroring a run to W&B costs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ablations.bench.timing import Finding, compare, machine, summary
from ablations.config.schema import RunConfig
from ablations.tracking.client import mode


def measure(config: RunConfig, rounds: int, told: Callable[[str], None]) -> Finding:
    """A run mirrored to W&B against the same run without: at most 2% of its wall time.

    Args:
        config: The run; trained anew each time, in a folder that is thrown away.
        rounds: How often.
        told: Called with a line a round.
    """
    from ablations.training.train import train

    os.environ.setdefault("WANDB_MODE", "offline")  # nobody wants these runs in an account

    def trained(name: str) -> Callable[[], object]:
        cell = replace(config, system=replace(config.system, tracker=name))

        def call() -> None:
            with tempfile.TemporaryDirectory() as scratch:
                record = train(cell, Path(scratch))
            if not record.done:
                raise RuntimeError(f"the run failed: {record.failure}")

        return call

    found = compare(("wandb", trained("wandb")), ("none", trained("none")), rounds, 1.02, told)
    return summary(f"tracker: recipe {config.recipe}, W&B {mode()}, {machine()}", found)
