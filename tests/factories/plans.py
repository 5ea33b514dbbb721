"""Plans and runs to hold against them, written by hand."""

from __future__ import annotations

from dataclasses import replace

from ablations.planning.plan_file import ExpectedRun

CPU = "cpu (Z80)"


EXPECTED = ExpectedRun(
    "Baseline: Baseline", 0, 90.0, 10.0, True, CPU, 1, "2026-01-01T00:00:00+00:00"
)


def ran(each, seconds=150.0, device=CPU, threads=1):
    where = {**each.environment, "device": device, "threads": threads}
    return replace(each, timing={"epoch_seconds": seconds}, environment=where)
