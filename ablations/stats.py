"""Pure functions on arrays. Accuracies go in as percent and come out as percentage points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (n - 1; None for one value) and count."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean paired difference with the half width of its 95% t interval (None for one pair)."""

    mean: float
    half_width: float | None
    n: int


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and spread of values (n,); None for none."""
    if not values:
        return None
    array = np.asarray(values, dtype=float)
    std = float(array.std(ddof=1)) if len(array) > 1 else None
    return Spread(float(array.mean()), std, len(array))


def paired_difference(
    row: Mapping[int, float], baseline: Mapping[int, float], confidence: float = 0.95
) -> Difference | None:
    """Row minus baseline over the seeds that both have; None where they share none.

    Args:
        row: Seed -> value.
        baseline: Seed -> value.
        confidence: Coverage of the t interval.
    """
    seeds = sorted(row.keys() & baseline.keys())
    if not seeds:
        return None
    differences = np.array([row[seed] - baseline[seed] for seed in seeds])
    n = len(differences)
    half_width = None
    if n > 1:
        quantile = float(stdtrit(n - 1, 0.5 + confidence / 2))
        half_width = quantile * float(differences.std(ddof=1)) / n**0.5
    return Difference(float(differences.mean()), half_width, n)
