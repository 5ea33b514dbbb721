"""Equivalence: the seeds that it takes to show that a difference is smaller than a margin."""

from __future__ import annotations

import math
from bisect import bisect_left

from ablations.analysis.stats._common import ALPHA
from ablations.analysis.stats.power import (
    MAX_SEEDS,
    Degrees,
    check_plan,
    detection_power,
    seeds_needed,
)
from ablations.errors import StatisticsError


def seeds_for_equivalence(
    effect: float,
    std: float,
    margin: float,
    paired: bool = True,
    power: float = 0.8,
    alpha: float = ALPHA,
    degrees: Degrees | None = None,
    images_error: float = 0.0,
) -> int | None:
    """The fewest seeds (of the row and of the baseline each) that show a difference is negligible.

    Two one-sided t tests, TOST (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987), must reject: the
    (1 - 2 alpha) interval must lie within the margin. Adding up their misses is exact except for
    intervals that reach both ends at once, where it is conservative. None for a ``std`` of 0 and
    where a million seeds are not enough.

    Args:
        effect: The true difference in points, within the margin.
        std: As in ``detection_power``.
        margin: The smallest difference in points that would matter.
        paired: Whether row and baseline share their seeds.
        power: Chance that both tests reject, above alpha.
        alpha: Significance level of each one-sided test.
        degrees: Degrees of freedom by number of seeds; None for those of the t tests.
        images_error: As in ``detection_power``.

    Raises:
        StatisticsError: A number is not finite, ``std`` is below 0, the effect is not within the
            margin, alpha is not between 0 and 1/2, or the power is not between 2 alpha and 1.
    """
    check_plan(std, 2 * alpha, power, effect)
    if not abs(effect) < margin < math.inf:
        raise StatisticsError(f"effect {effect} must lie within the margin {margin}, in points")
    ends = margin - abs(effect), margin + abs(effect)
    # The nearer end alone needs the lower bound.
    least = seeds_needed(ends[0], std, paired, power, 2 * alpha, degrees, images_error)
    if least is None:
        return None

    def enough(n: int) -> bool:
        n_baseline = None if paired else n
        df = degrees(n) if degrees else None
        found = [
            detection_power(end, std, n, n_baseline, 2 * alpha, df, images_error) or 0.0
            for end in ends
        ]
        return sum(found) - 1 >= power - 1e-9

    found = bisect_left(range(MAX_SEEDS + 1), True, lo=least, key=enough)
    return found if found <= MAX_SEEDS else None
