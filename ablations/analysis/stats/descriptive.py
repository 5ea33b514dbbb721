"""Mean and standard deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ablations.analysis.stats._common import check_finite, mean_and_variance

FEW = 5  # up to this many values, a table can show the values themselves


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (n - 1; None for one value), count, and the values (n,)."""

    mean: float
    std: float | None
    n: int
    values: tuple[float, ...] = ()

    @property
    def few_values(self) -> tuple[float, ...]:
        """The values if there are at most five, else none."""
        return self.values if self.n <= FEW else ()


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and standard deviation of values (n,) in percent; None for no values.

    Raises:
        StatisticsError: A value is not finite.
    """
    if not len(values):
        return None
    for position, value in enumerate(values, start=1):
        check_finite(value, f"value {position} of {len(values)}")
    mean, variance = mean_and_variance(values)
    std = None if variance is None else math.sqrt(variance)
    return Spread(mean, std, len(values), tuple(map(float, values)))
