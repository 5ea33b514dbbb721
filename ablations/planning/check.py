"""Compares what a plan expected with what the runs took."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ablations.planning.plan_file import ExpectedRun
from ablations.store.records import Record


def compare_with_records(
    plan: Mapping[str, ExpectedRun], records: Iterable[Record]
) -> list[dict[str, Any]]:
    """Compare expected and real times of each variant of a plan, and of all of them together.

    Args:
        plan: What is expected of each run, by run id.
        records: Records of the folder.

    Returns:
        JSON values for each variant in the plan's order, then for all runs, with an empty name:
        how many runs were planned and compared, expected and real seconds of those that finished
        on the planned device, the median, smallest and largest ratio of a run (None without any),
        and why the other runs are not compared.
    """
    record_of = {record.run_id: record for record in records}
    comparisons = []
    for name in [*dict.fromkeys(run.variant for run in plan.values()), ""]:
        reasons, compared = Counter[str](), list[tuple[ExpectedRun, float]]()
        for run_id, run in plan.items():
            if name not in ("", run.variant):
                continue
            if reason := _incomparable(run, record_of.get(run_id)):
                reasons[reason] += 1
            else:
                compared.append((run, record_of[run_id].timing["epoch_seconds"]))
        ratios = [took / run.seconds for run, took in compared]
        comparisons.append(
            {
                "variant": name,
                "planned": len(compared) + reasons.total(),
                "compared": len(compared),
                "without_loading": sum(not run.loading for run, _ in compared),
                "expected_seconds": sum(run.seconds for run, _ in compared),
                "took_seconds": sum(took for _, took in compared),
                "ratio": statistics.median(ratios) if ratios else None,
                "ratio_low": min(ratios, default=None),
                "ratio_high": max(ratios, default=None),
                "not_compared": dict(reasons),
            }
        )
    return comparisons


def _incomparable(run: ExpectedRun, record: Record | None) -> str | None:
    """Why a run says nothing about its plan; None if it does."""
    if record is None:
        return "no record yet"
    if record.status != "finished":
        return record.status  # it ended early
    if not record.timing.get("epoch_seconds"):
        return "no time in its record"
    environment = record.environment
    device = environment.get("device") or "an unknown device"
    if device != run.device:
        return f"ran on {device}, planned for {run.device}"
    if device.startswith("cpu") and environment.get("threads") != run.threads:
        return f"ran on {environment.get('threads')} threads, planned for {run.threads}"
    return None
