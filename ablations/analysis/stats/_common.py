"""What the statistics share: levels, checks of arguments, mean and variance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ablations.errors import StatisticsError

ALPHA = 0.05  # the default level of every test
CONFIDENCE = 1 - ALPHA  # the default coverage of every interval

# Metrics are computed in single precision, so values that agree to this fraction of their size
# differ by rounding only: 0.00004 points at an accuracy of 80%, where one image of 50,000 is 0.002.
ROUNDING = 4 * 2.0**-23


def check_finite(value: float, name: str) -> None:
    """Raise StatisticsError for NaN and infinity."""
    if not math.isfinite(value):
        raise StatisticsError(f"{name} is {value}: leave that run out, or count it as failed")


def check_confidence(confidence: float) -> None:
    """Raise StatisticsError unless the confidence is between 0 and 1."""
    if not 0 < confidence < 1:
        raise StatisticsError(f"confidence {confidence} must be between 0 and 1, such as 0.95")


def mean_and_variance(
    values: Sequence[float], magnitude: float | None = None
) -> tuple[float, float | None]:
    """Mean and sample variance (n - 1) of values (n,); the variance of one value is None.

    A deviation that is within the rounding of single precision gives a variance of exactly 0.
    For a handful of seeds this is ten times as fast as numpy.

    Args:
        values: At least one.
        magnitude: What the rounding is relative to; by default the largest of the values.
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    if magnitude is None:
        magnitude = max(map(abs, values))
    variance = math.fsum([(value - mean) ** 2 for value in values]) / (n - 1)
    return mean, variance if math.sqrt(variance) > ROUNDING * magnitude else 0.0


def error_scale(n: int, n_baseline: int | None) -> float:
    """Standard error of a difference for a standard deviation of 1; ``n_baseline`` None: paired."""
    return math.sqrt(1 / n) if n_baseline is None else math.sqrt(1 / n + 1 / n_baseline)
