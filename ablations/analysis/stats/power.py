"""Power of the t tests: what a number of seeds can detect, and how many seeds an effect takes."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache

from scipy.special import chdtr, nctdtr, stdtrit

from ablations.analysis.stats._common import ALPHA, error_scale
from ablations.errors import StatisticsError

MAX_SEEDS = 1_000_000

Degrees = Callable[[int], float]


def detection_power(
    effect: float,
    std: float,
    n: int,
    n_baseline: int | None = None,
    alpha: float = ALPHA,
    df: float | None = None,
    images_error: float = 0.0,
) -> float | None:
    """The chance that a two-sided t test detects a true difference; None for ``std`` 0 or n < 2.

    By the noncentral t distribution (Cohen, Statistical Power Analysis, 1988), as in statsmodels'
    ``TTestPower`` and ``TTestIndPower``. The standard deviation counts as known. Estimated from
    three seeds it is a rough guess, and so is the power.

    Args:
        effect: The true difference in points, of either sign.
        std: Standard deviation in points: of the differences if paired, else of each side, both
            taken as equal. ``Difference.std`` is that.
        n: Pairs, or seeds of the row.
        n_baseline: Seeds of the baseline; None for pairs.
        alpha: Significance level. For a table of m rows with Holm's correction, alpha / m is
            conservative.
        df: Degrees of freedom of the standard error; None for those of the t test.
        images_error: The part of the standard error in points that more seeds do not lower.

    Raises:
        StatisticsError: A number is not finite, ``std`` is below 0, or alpha is not between 0 and
            1.
    """
    check_plan(std, alpha, effect=effect)
    if not std or n < 2 or (n_baseline is not None and n_baseline < 2):
        return None
    shift = abs(effect) / math.hypot(std * error_scale(n, n_baseline), images_error)
    return _power(df or _degrees(n, n_baseline), shift, alpha)


def minimum_effect(
    std: float,
    n: int,
    n_baseline: int | None = None,
    power: float = 0.8,
    alpha: float = ALPHA,
    df: float | None = None,
) -> float | None:
    """The smallest true difference in points that n seeds detect with this power.

    ``detection_power`` solved for the effect. It depends on the spread and n alone, never on the
    observed difference. None for ``std`` 0 or n below 2.

    Args:
        std: As in ``detection_power``.
        n: Pairs, or seeds of the row.
        n_baseline: Seeds of the baseline; None for pairs.
        power: Chance of detection, above alpha.
        alpha: Significance level.
        df: Degrees of freedom of the standard error; None for those of the t test.

    Raises:
        StatisticsError: ``std`` is below 0 or not finite, alpha is not between 0 and 1, or the
            power is not between alpha and 1.
    """
    check_plan(std, alpha, power)
    if not std or n < 2 or (n_baseline is not None and n_baseline < 2):
        return None
    shift = _noncentrality(df or _degrees(n, n_baseline), power, alpha)
    return shift * std * error_scale(n, n_baseline)


def seeds_needed(
    effect: float,
    std: float,
    paired: bool = True,
    power: float = 0.8,
    alpha: float = ALPHA,
    degrees: Degrees | None = None,
    images_error: float = 0.0,
) -> int | None:
    """The fewest seeds (of the row and of the baseline each) that detect a true difference.

    The smallest n whose ``minimum_effect`` is at most the effect. None for an effect or a ``std``
    of 0, and where a million seeds are not enough.

    Args:
        effect: The true difference in points, of either sign.
        std: As in ``detection_power``.
        paired: Whether row and baseline share their seeds.
        power: Chance of detection, above alpha.
        alpha: Significance level.
        degrees: Degrees of freedom by number of seeds; None for those of the t tests.
        images_error: As in ``detection_power``.

    Raises:
        StatisticsError: A number is not finite, ``std`` is below 0, alpha is not between 0 and 1,
            or the power is not between alpha and 1.
    """
    check_plan(std, alpha, power, effect)
    if not effect or not std:
        return None

    def enough(n: int) -> bool:
        n_baseline = None if paired else n
        shift = abs(effect) / math.hypot(std * error_scale(n, n_baseline), images_error)
        # The tolerance makes n enough for the effect that ``minimum_effect`` gives for n.
        df = degrees(n) if degrees else _degrees(n, n_baseline)
        return _power(df, shift, alpha) >= power - 1e-9

    few, many = 1, 2
    while not enough(many):
        few, many = many, 2 * many
        if few > MAX_SEEDS:
            return None
    found = bisect_left(range(many), True, lo=few + 1, key=enough)
    return found if found <= MAX_SEEDS else None


def check_plan(
    std: float, alpha: float, power: float | None = None, effect: float | None = None
) -> None:
    """Raise StatisticsError for arguments that no study can have."""
    if effect is not None and not math.isfinite(effect):
        raise StatisticsError(f"effect {effect} must be a number of points")
    if not 0 <= std < math.inf:
        raise StatisticsError(f"standard deviation {std} must be a number of points, 0 or more")
    if not 0 < alpha < 1:
        raise StatisticsError(f"alpha {alpha} must be between 0 and 1, such as 0.05")
    if power is not None and not alpha < power < 1:
        raise StatisticsError(f"power {power} must be between alpha ({alpha}) and 1, such as 0.8")


def _degrees(n: int, n_baseline: int | None) -> int:
    return n - 1 if n_baseline is None else n + n_baseline - 2


def _power(df: float, shift: float, alpha: float) -> float:
    """Chance that |T| exceeds its two-sided critical value, T noncentral by ``shift``."""
    critical = -float(stdtrit(df, alpha / 2))
    if shift > 1e4:  # nctdtr fails here, but T is its shift up to 1e-8 (the normal part is small)
        return float(chdtr(df, df * (shift / critical) ** 2))
    below, opposite = float(nctdtr(df, shift, critical)), float(nctdtr(df, shift, -critical))
    # nctdtr gives NaN for tails that are too small to compute; they are below 1e-14.
    below, opposite = (0.0 if math.isnan(tail) else tail for tail in (below, opposite))
    return 1 - below + opposite


@lru_cache(maxsize=4096)
def _noncentrality(df: float, power: float, alpha: float) -> float:
    """The shift at which ``_power`` equals ``power``, by regula falsi (the Illinois variant).

    statsmodels' ``solve_power`` stops at wrong values for small alpha (5.5 standard deviations
    where 11.8 are right, for three pairs at 0.05 / 13), ``nctdtrinc`` is good to seven digits only,
    and importing ``scipy.optimize`` takes longer than all rows of a table.
    """

    def miss(shift: float) -> float:
        return _power(df, shift, alpha) - power

    guess = -float(stdtrit(df, alpha / 2)) + float(stdtrit(df, power))  # as if T were shifted whole
    low, high = 0.0, max(guess, 1.0)
    miss_low, miss_high = alpha - power, miss(high)
    while miss_high < 0:
        low, miss_low = high, miss_high
        high *= 2
        miss_high = miss(high)
    before = 0.0
    for _ in range(100):
        middle = high - miss_high * (high - low) / (miss_high - miss_low)
        found = miss(middle)
        if abs(found) < 1e-13 or not low < middle < high:
            return middle
        if found < 0:
            miss_high /= 2 if before < 0 else 1  # the same end moves again
            low, miss_low = middle, found
        else:
            miss_low /= 2 if before > 0 else 1
            high, miss_high = middle, found
        before = found
    return high
