"""Bootstrap interval of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ablations.analysis.stats._common import CONFIDENCE, check_confidence
from ablations.analysis.stats.descriptive import spread

if TYPE_CHECKING:
    import numpy as np


def bootstrap_interval(
    values: Sequence[float],
    generator: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = 9999,
) -> tuple[float, float] | None:
    """Lower and upper end in percent of a bootstrap interval for the mean of values (n,).

    Bias-corrected and accelerated (Efron, JASA 82, 1987), by ``scipy.stats.bootstrap``. The same
    seed of the generator gives the same interval. None below two values and where all are equal.
    It does not assume a normal distribution, but it resamples only the observed values: with three
    to five of them it is too narrow, and the t interval is the one to report.

    Args:
        values: Percent, (n,).
        generator: The source of the resamples; its state advances.
        confidence: Coverage, between 0 and 1.
        resamples: How many.

    Raises:
        StatisticsError: A value is not finite, or the confidence is not between 0 and 1.
    """
    check_confidence(confidence)
    found = spread(values)
    if found is None or not found.std:
        return None

    import numpy as np
    from scipy.stats import bootstrap

    interval = bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        confidence_level=confidence,
        n_resamples=resamples,
        method="BCa",
        rng=generator,
    ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None
