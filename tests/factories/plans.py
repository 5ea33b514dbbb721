"""A planned run, and records to compare with it."""

from __future__ import annotations

from dataclasses import replace

from ablations.planning.plan_file import ExpectedRun

CPU = "cpu (Xeon)"


EXPECTED = ExpectedRun(
    "Baseline: Baseline", 0, 90.0, 10.0, True, CPU, 1, "2026-01-01T00:00:00+00:00"
)


def with_timing(record, seconds=150.0, device=CPU, threads=1):
    """A record as if its run had taken so long on this device."""
    environment = {**record.environment, "device": device, "threads": threads}
    return replace(record, timing={"epoch_seconds": seconds}, environment=environment)
