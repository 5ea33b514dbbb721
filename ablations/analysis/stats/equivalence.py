"""Equivalence tests: whether a difference is smaller than a margin, and the seeds that takes."""

from __future__ import annotations

import math
from bisect import bisect_left

from scipy.special import stdtr

from ablations.analysis.stats._common import ALPHA
from ablations.analysis.stats.differences import Difference
from ablations.analysis.stats.power import (
    MAX_SEEDS,
    check_plan,
    detection_power,
    seeds_needed,
)
from ablations.errors import StatisticsError


def equivalence_p_value(difference: Difference, margin: float) -> float | None:
    """The p-value of "the difference is the margin or more, either way"; None where p is None.

    Two one-sided t tests, TOST (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987), paired or
    Welch's like the difference; the larger of the two p-values. Below alpha, the difference lies
    within the margin: the same as a (1 - 2 alpha) interval that does. A large p-value is no
    evidence, neither for a difference nor against one.

    Args:
        difference: The difference.
        margin: The smallest difference in points that would matter, fixed in advance.

    Raises:
        StatisticsError: The margin is not above 0.
    """
    if not 0 < margin < math.inf:
        raise StatisticsError(f"margin {margin} must be above 0, in percentage points")
    if not difference.standard_error or difference.df is None:
        return None
    # The test against the nearer margin has the larger p.
    t = (abs(difference.mean) - margin) / difference.standard_error
    return float(stdtr(difference.df, t))


def seeds_for_equivalence(
    effect: float,
    std: float,
    margin: float,
    paired: bool = True,
    power: float = 0.8,
    alpha: float = ALPHA,
) -> int | None:
    """The fewest seeds (of the row and of the baseline each) that show a difference is negligible.

    Both one-sided tests must reject. Adding up their misses is exact except for intervals that
    reach both ends at once, where it is conservative. None for a ``std`` of 0 and where a million
    seeds are not enough.

    Args:
        effect: The true difference in points, within the margin.
        std: As in ``detection_power``.
        margin: The smallest difference in points that would matter.
        paired: Whether row and baseline share their seeds.
        power: Chance that both tests reject, above alpha.
        alpha: Significance level of each one-sided test.

    Raises:
        StatisticsError: A number is not finite, ``std`` is below 0, the effect is not within the
            margin, alpha is not between 0 and 1/2, or the power is not between 2 alpha and 1.
    """
    check_plan(std, 2 * alpha, power, effect)
    if not abs(effect) < margin < math.inf:
        raise StatisticsError(f"effect {effect} must lie within the margin {margin}, in points")
    ends = margin - abs(effect), margin + abs(effect)
    # The nearer end alone needs the lower bound.
    least = seeds_needed(ends[0], std, paired, power, 2 * alpha)
    if least is None:
        return None

    def enough(n: int) -> bool:
        n_baseline = None if paired else n
        found = [detection_power(end, std, n, n_baseline, 2 * alpha) or 0.0 for end in ends]
        return sum(found) - 1 >= power - 1e-9

    found = bisect_left(range(MAX_SEEDS + 1), True, lo=least, key=enough)
    return found if found <= MAX_SEEDS else None
