"""What looks are expected to save of a plan's device hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ablations.analysis.stats.looks import Conclusion, Decision, LookPlan
from ablations.analysis.study_plan import plan_study
from ablations.config.schema import RunConfig
from ablations.planning.variants import HOUR, PlannedVariant
from ablations.store.records import Record


def expected_hours(
    runs: Sequence[RunConfig],
    variants: Sequence[PlannedVariant],
    records: Iterable[Record],
    looks: LookPlan,
) -> dict[str, Any]:
    """Device hours of the runs to train with and without looks, as JSON values.

    The records are followed as far as they go: rows that their looks have decided get no more
    seeds, and all others are assumed to need every look (the worst case).

    Args:
        runs: All runs of the study.
        variants: Its variants, probed.
        records: Usable records.
        looks: The looks.

    Raises:
        ConfigError: The runs are no study for such looks.
    """
    plan = plan_study(runs, looks)
    decisions: Mapping[str, Decision] = plan.progress(records).decisions
    decided = {row: d for row, d in decisions.items() if d.verdict is not Conclusion.OPEN}
    everyone = len(decided) == len(plan.rows) - 1
    last = max((each.seeds for each in decided.values()), default=0)
    needed = set()
    for row, run_ids in plan.rows.items():
        seeds = decided[row].seeds if row in decided else looks.looks[-1]
        if row == plan.baseline and everyone:
            seeds = last
        needed |= set(run_ids[:seeds])
    hours = {"all": 0.0, "looks": 0.0}
    for variant in variants:
        for run in variant.todo:
            spent = variant.seconds * variant.devices / HOUR
            hours["all"] += spent
            hours["looks"] += spent if run.run_id in needed else 0.0
    return {
        "looks": list(looks.looks),
        "margin": looks.margin,
        "device_hours_without": hours["all"],
        "device_hours": hours["looks"],
        "device_hours_first_look": _first_look(plan.rows, variants, looks.looks[0]),
        "decided": sorted(decided),
        "rows": len(plan.rows) - 1,
    }


def _first_look(
    rows: Mapping[str, Sequence[str]], variants: Sequence[PlannedVariant], seeds: int
) -> float:
    """Device hours if the first look decides every row."""
    first = {run_id for run_ids in rows.values() for run_id in run_ids[:seeds]}
    return sum(
        variant.seconds * variant.devices / HOUR
        for variant in variants
        for run in variant.todo
        if run.run_id in first
    )
