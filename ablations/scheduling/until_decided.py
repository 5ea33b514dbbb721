"""Trains the runs of a planned study look by look: decided rows get no more seeds.

What is next follows from the records and the plan alone, so several runners and repeated commands
train the same runs, and each waits for the runs of the others as it does within a look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ablations.analysis.stats.looks import LookProgress
from ablations.analysis.study_plan import StudyPlan
from ablations.config.schema import RunConfig
from ablations.scheduling.scheduler import Outcome


class HasConfig(Protocol):
    """Anything that names a run, such as ``SweepRun``."""

    @property
    def config(self) -> RunConfig:
        """The run."""


Run = TypeVar("Run", bound=HasConfig)


def run_until_decided(
    plan: StudyPlan,
    runs: Sequence[Run],
    train: Callable[[Sequence[Run]], Outcome],
    on_look: Callable[[LookProgress], None] = lambda progress: None,
) -> tuple[Outcome, LookProgress]:
    """Train the runs of each look, until all rows are decided or no look is left.

    Failed runs stay failed until the next command, and no look waits for them. Where a run has no
    record in the end (refused, stale, left without a device, stopped), its look is not taken, and
    the study ends.

    Args:
        plan: The plan, which is in ``study.json``.
        runs: All runs of the plan.
        train: Trains runs, or reuses their records, as ``run_study`` does.
        on_look: Called after each look.

    Returns:
        What became of all runs, and how far the looks are. A look that could not be taken is the
        next one, with the seeds that it misses.
    """
    outcome = Outcome()
    progress = plan.progress([])
    while (look := progress.look) is not None:
        wanted = plan.run_ids(progress.missing)
        outcome.add(train([run for run in runs if run.config.run_id in wanted]))
        progress = plan.progress(outcome.records)
        if outcome.interrupted or progress.look == look:
            break
        on_look(progress)
    return outcome, progress
