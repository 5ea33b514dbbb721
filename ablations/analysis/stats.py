"""Pure functions on outcomes by seed. Percent go in, percentage points come out, never a NaN.

What cannot be known is None: the spread of one seed, the interval of one pair. A value that is no
number is refused by name, since a mean over it would be one too.

This file is imported by every table, so the t distributions come from ``scipy.special`` (0.3 s)
and neither from ``scipy.stats`` (1.2 s) nor from statsmodels (1.7 s). The tests hold every function
against both.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from scipy.special import chdtr, nctdtr, stdtr, stdtrit

from ablations.errors import StatisticsError

if TYPE_CHECKING:
    import numpy as np

ALPHA = 0.05  # the level of every test, unless its caller asks for another
CONFIDENCE = 1 - ALPHA  # and the coverage of every interval
FEW = 5  # up to so many values say more than their deviation
MOST_SEEDS = 1_000_000  # a plan for more is none

# Metrics come in single precision: of values that agree to so many parts of their size, the rest is
# rounding. In points, for accuracies near 80%: 0.00004; a picture of 50,000 is 0.002.
ROUNDING = 4 * 2.0**-23


@dataclass(frozen=True)
class Spread:
    """Mean, sample standard deviation (n - 1; None for one value), count, and the values (n,)."""

    mean: float
    std: float | None
    n: int
    values: tuple[float, ...] = ()

    @property
    def few_values(self) -> tuple[float, ...]:
        """The values themselves where they are few enough to be shown, else none."""
        return self.values if self.n <= FEW else ()


@dataclass(frozen=True)
class Difference:
    """Row minus baseline in percentage points, and how sure that is.

    ``low``, ``high`` and ``p`` are None together: for one seed (``df`` is None too), and where the
    values do not vary at all (``constant``). Of n equal differences the t statistic is 0/0 or x/0,
    and an interval of width zero would claim a certainty that n seeds cannot give: it may be the
    pictures that are too few to tell the seeds apart, or a change that the runs do not read.

    Args:
        mean: Mean of the differences, or (unpaired) difference of the means.
        low: Lower end of the t interval.
        high: Upper end.
        confidence: Coverage of the interval, 0.95 for 95%.
        p: Two-sided p-value of no difference, before any correction.
        n: Seeds used of the row; pairs, if paired.
        n_baseline: Seeds used of the baseline; the same pairs, if paired.
        paired: Seed by seed (paired t), or mean against mean (Welch's t).
        correlation: Pearson's r of the outcomes of common seeds. Above 0, pairing narrows the
            interval. None below three common seeds, where it is 1 or -1 whatever happened, and
            where either side is constant.
        df: Degrees of freedom: n - 1, or Welch and Satterthwaite's.
        standard_error: Of the mean; 0 where nothing varies.
    """

    mean: float
    low: float | None
    high: float | None
    confidence: float
    p: float | None
    n: int
    n_baseline: int
    paired: bool
    correlation: float | None
    df: float | None
    standard_error: float | None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval in points, None without one."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def constant(self) -> bool:
        """Whether two seeds or more were seen and nothing varies, so that nothing can be said."""
        return self.standard_error == 0

    @property
    def std(self) -> float | None:
        """Standard deviation in points as ``minimum_effect`` and ``seeds_needed`` ask for it.

        Paired: that of the differences. Unpaired: that of each side, if both had the same.
        """
        if self.standard_error is None:
            return None
        return self.standard_error / _error_scale(self.n, None if self.paired else self.n_baseline)


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and spread of values (n,) in percent; None for none.

    Raises:
        StatisticsError: A value is no finite number.
    """
    if not len(values):
        return None
    for position, value in enumerate(values, start=1):
        _finite(value, f"value {position} of {len(values)}")
    mean, variance = _moments(values, _size(values))
    std = None if variance is None else math.sqrt(variance)
    return Spread(mean, std, len(values), tuple(map(float, values)))


def difference(
    row: Mapping[int, float], baseline: Mapping[int, float], confidence: float = CONFIDENCE
) -> Difference | None:
    """Row minus baseline by the test that the seeds allow; None where either has no seed.

    Which test it is follows from the seeds alone, never from the outcomes:

    - Two common seeds or more: paired over them. Seeds that only one side has are not used.
    - Else two seeds or more on both sides: Welch's t over all of them, taken as independent.
    - Else the mean alone: of the common seed, if there is one; otherwise of means.

    Args:
        row: Seed -> percent.
        baseline: Seed -> percent.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        StatisticsError: A value is no finite number, or the confidence not between 0 and 1.
    """
    common = len(row.keys() & baseline.keys())
    both = min(len(row), len(baseline)) > 1
    test = paired_difference if common > 1 or (common and not both) else unpaired_difference
    return test(row, baseline, confidence)


def paired_difference(
    row: Mapping[int, float], baseline: Mapping[int, float], confidence: float = CONFIDENCE
) -> Difference | None:
    """Row minus baseline over the seeds that both have; None where they share none.

    Student's paired t: mean ± t(n - 1) s / sqrt(n) with s the deviation of the differences, as
    ``scipy.stats.ttest_rel``.

    Args:
        row: Seed -> percent.
        baseline: Seed -> percent.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        StatisticsError: A value is no finite number, or the confidence not between 0 and 1.
    """
    ours, theirs = _checked(row, baseline, confidence)
    if not ours:
        return None
    n = len(ours)
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, variance = _moments(differences, _size(ours + theirs))
    error = None if variance is None else math.sqrt(variance / n)
    low, high, p = _t_test(mean, error, n - 1, confidence)
    return Difference(
        mean=mean,
        low=low,
        high=high,
        confidence=confidence,
        p=p,
        n=n,
        n_baseline=n,
        paired=True,
        correlation=_correlation(ours, theirs),
        df=None if error is None else n - 1,
        standard_error=error,
    )


def unpaired_difference(
    row: Mapping[int, float], baseline: Mapping[int, float], confidence: float = CONFIDENCE
) -> Difference | None:
    """Mean of the row minus mean of the baseline; None where either has no seed.

    Welch's t (Biometrika 34, 1947) with Satterthwaite's degrees of freedom: the two sides may
    spread differently, as ``scipy.stats.ttest_ind(equal_var=False)``.

    Args:
        row: Seed -> percent.
        baseline: Seed -> percent.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        StatisticsError: A value is no finite number, or the confidence not between 0 and 1.
    """
    common = _checked(row, baseline, confidence)
    if not row or not baseline:
        return None
    ours, theirs = list(row.values()), list(baseline.values())
    mean, variance = _moments(ours, _size(ours))
    mean_baseline, variance_baseline = _moments(theirs, _size(theirs))
    error = df = None
    if variance is not None and variance_baseline is not None:
        share, rest = variance / len(ours), variance_baseline / len(theirs)
        error = math.sqrt(share + rest)
        if error:
            share, rest = share / (share + rest), rest / (share + rest)
            df = 1 / (share**2 / (len(ours) - 1) + rest**2 / (len(theirs) - 1))
    low, high, p = _t_test(mean - mean_baseline, error, df, confidence)
    return Difference(
        mean=mean - mean_baseline,
        low=low,
        high=high,
        confidence=confidence,
        p=p,
        n=len(ours),
        n_baseline=len(theirs),
        paired=False,
        correlation=_correlation(*common),
        df=df,
        standard_error=error,
    )


def equivalence_p_value(found: Difference, margin: float) -> float | None:
    """The p-value of "the difference is margin or more, either way"; None where p is None.

    Two one-sided t tests (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987), paired or Welch's as
    the difference was made; the larger of the two p-values. Below alpha, the difference lies within
    the margin: the same as a (1 - 2 alpha) interval that does. A large p says nothing: neither that
    there is a difference nor that there is none.

    Args:
        found: The difference.
        margin: The smallest difference in points that would matter, fixed before looking.

    Raises:
        StatisticsError: The margin is not above 0.
    """
    if not 0 < margin < math.inf:
        raise StatisticsError(f"margin {margin} must be above 0, in percentage points")
    if not found.standard_error or found.df is None:
        return None
    # The test against the nearer margin has the larger p.
    return float(stdtr(found.df, (abs(found.mean) - margin) / found.standard_error))


def holm_correction(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values of one table, corrected so that 5% is the chance of any false finding in it.

    Holm's step-down correction (Scand. J. Statist. 6, 1979), as
    ``statsmodels.stats.multitest.multipletests(method="holm")``: the k-th smallest of m times
    m - k + 1, at least the one before and at most 1.

    Args:
        p_values: One a row, (m,); None where a row has none, which stays None and does not count.

    Raises:
        StatisticsError: A p-value is not between 0 and 1.
    """
    for position, p in enumerate(p_values, start=1):
        if p is not None and not 0 <= p <= 1:
            raise StatisticsError(f"p-value {position} of {len(p_values)} is {p}, not in 0 to 1")
    corrected: list[float | None] = [None] * len(p_values)
    ordered = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for done, (p, place) in enumerate(ordered):
        largest = max(largest, min(1.0, p * (len(ordered) - done)))
        corrected[place] = largest
    return corrected


def detection_power(
    effect: float, std: float, n: int, n_baseline: int | None = None, alpha: float = ALPHA
) -> float | None:
    """The chance that a two-sided t test finds a true difference; None for ``std`` 0 or n below 2.

    By the noncentral t distribution (Cohen, Statistical Power Analysis, 1988), as statsmodels'
    ``TTestPower`` and ``TTestIndPower``. The deviation is taken as known: one of three seeds is a
    rough guess, and so is what follows from it.

    Args:
        effect: The true difference in points, of either sign.
        std: Standard deviation in points: of the differences if paired, else of each side, both
            taken as equal. ``Difference.std`` is that.
        n: Pairs, or seeds of the row.
        n_baseline: Seeds of the baseline; None for pairs.
        alpha: Significance level. For a table of m rows after Holm's correction, alpha / m is on
            the safe side.

    Raises:
        StatisticsError: A number is not finite, ``std`` below 0, or alpha not between 0 and 1.
    """
    _check_plan(std, alpha, effect=effect)
    if not std or n < 2 or (n_baseline is not None and n_baseline < 2):
        return None
    error = std * _error_scale(n, n_baseline)
    return _power(_degrees(n, n_baseline), abs(effect) / error, alpha)


def minimum_effect(
    std: float, n: int, n_baseline: int | None = None, power: float = 0.8, alpha: float = ALPHA
) -> float | None:
    """The smallest true difference in points that n seeds find with this power.

    None for ``std`` 0 or n below 2. ``detection_power`` solved for the effect. It follows from the
    spread and n alone, never from the difference that was seen.

    Args:
        std: As in ``detection_power``.
        n: Pairs, or seeds of the row.
        n_baseline: Seeds of the baseline; None for pairs.
        power: Chance to find it, above alpha.
        alpha: Significance level.

    Raises:
        StatisticsError: ``std`` is below 0 or not finite, alpha not between 0 and 1, or the power
            not between alpha and 1.
    """
    _check_plan(std, alpha, power)
    if not std or n < 2 or (n_baseline is not None and n_baseline < 2):
        return None
    shift = _noncentrality(_degrees(n, n_baseline), power, alpha)
    return shift * std * _error_scale(n, n_baseline)


def seeds_needed(
    effect: float, std: float, paired: bool = True, power: float = 0.8, alpha: float = ALPHA
) -> int | None:
    """The fewest seeds (of the row and of the baseline each) that find a true difference.

    The smallest n whose ``minimum_effect`` is no more than the effect. None for an effect or a
    ``std`` of 0, and where a million would not do.

    Args:
        effect: The true difference in points, of either sign.
        std: As in ``detection_power``.
        paired: Whether row and baseline share their seeds.
        power: Chance to find it, above alpha.
        alpha: Significance level.

    Raises:
        StatisticsError: A number is not finite, ``std`` below 0, alpha not between 0 and 1, or the
            power not between alpha and 1.
    """
    _check_plan(std, alpha, power, effect)
    if not effect or not std:
        return None

    def enough(n: int) -> bool:
        n_baseline = None if paired else n
        shift = abs(effect) / std / _error_scale(n, n_baseline)
        # An effect that minimum_effect gave for n is found by n, whatever the last digit.
        return _power(_degrees(n, n_baseline), shift, alpha) >= power - 1e-9

    few, many = 1, 2
    while not enough(many):
        few, many = many, 2 * many
        if few > MOST_SEEDS:
            return None
    found = bisect_left(range(many), True, lo=few + 1, key=enough)
    return found if found <= MOST_SEEDS else None


def seeds_for_equivalence(
    effect: float,
    std: float,
    margin: float,
    paired: bool = True,
    power: float = 0.8,
    alpha: float = ALPHA,
) -> int | None:
    """The fewest seeds (of the row and of the baseline each) for which ``equivalence`` rejects.

    Both one-sided tests must: their misses are added up, which is exact but for intervals that
    would reach both ends at once, and on the safe side there. None for a ``std`` of 0 and where a
    million would not do.

    Args:
        effect: The true difference in points, within the margin.
        std: As in ``detection_power``.
        margin: The smallest difference in points that would matter.
        paired: Whether row and baseline share their seeds.
        power: Chance to find it, above alpha.
        alpha: Significance level of each one-sided test.

    Raises:
        StatisticsError: A number is not finite, ``std`` below 0, the effect not within the margin,
            alpha not between 0 and 1/2, or the power not between 2 alpha and 1.
    """
    _check_plan(std, 2 * alpha, power, effect)
    if not abs(effect) < margin < math.inf:
        raise StatisticsError(f"effect {effect} must lie within the margin {margin}, in points")
    ends = margin - abs(effect), margin + abs(effect)
    # The nearer end alone needs so many; if it misses half as often, so does the farther at most.
    least, most = (
        seeds_needed(ends[0], std, paired, chance, 2 * alpha) for chance in (power, (1 + power) / 2)
    )
    if least is None or most is None:
        return None

    def enough(n: int) -> bool:
        n_baseline = None if paired else n
        found = [detection_power(end, std, n, n_baseline, 2 * alpha) or 0.0 for end in ends]
        return sum(found) - 1 >= power - 1e-9

    return bisect_left(range(most), True, lo=least, key=enough)


def bootstrap_interval(
    values: Sequence[float],
    generator: np.random.Generator,
    confidence: float = CONFIDENCE,
    resamples: int = 9999,
) -> tuple[float, float] | None:
    """Lower and upper end in percent of a bootstrap interval for the mean of values (n,).

    Bias-corrected and accelerated (Efron, JASA 82, 1987), by ``scipy.stats.bootstrap``. A generator
    of the same seed gives the same interval. None below two values and where all are equal. It
    assumes no normal distribution but resamples what was seen: of three to five values it is too
    narrow, and the t interval the one to show.

    Args:
        values: Percent, (n,).
        generator: The source of the resamples; it moves on.
        confidence: Coverage, between 0 and 1.
        resamples: How many.

    Raises:
        StatisticsError: A value is no finite number, or the confidence not between 0 and 1.
    """
    _check_confidence(confidence)
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


def _finite(value: float, name: str) -> None:
    if not math.isfinite(value):
        raise StatisticsError(f"{name} is {value}: leave that run out, or count it as failed")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise StatisticsError(f"confidence {confidence} must be between 0 and 1, such as 0.95")


def _check_plan(
    std: float, alpha: float, power: float | None = None, effect: float | None = None
) -> None:
    if effect is not None and not math.isfinite(effect):
        raise StatisticsError(f"effect {effect} must be a number of points")
    if not 0 <= std < math.inf:
        raise StatisticsError(f"standard deviation {std} must be a number of points, 0 or more")
    if not 0 < alpha < 1:
        raise StatisticsError(f"alpha {alpha} must be between 0 and 1, such as 0.05")
    if power is not None and not alpha < power < 1:
        raise StatisticsError(f"power {power} must be between alpha ({alpha}) and 1, such as 0.8")


def _checked(
    row: Mapping[int, float], baseline: Mapping[int, float], confidence: float
) -> tuple[list[float], list[float]]:
    """The values of the common seeds, in their order, once all values are known to be finite."""
    _check_confidence(confidence)
    if not all(map(math.isfinite, (*row.values(), *baseline.values()))):
        for side, values in (("row", row), ("baseline", baseline)):
            for seed, value in values.items():
                _finite(value, f"{side}, seed {seed}")
    seeds = sorted(row.keys() & baseline.keys())
    return [row[seed] for seed in seeds], [baseline[seed] for seed in seeds]


def _size(values: Sequence[float]) -> float:
    """What the rounding of values is relative to."""
    return max(map(abs, values))


def _moments(values: Sequence[float], size: float) -> tuple[float, float | None]:
    """Mean and sample variance (None for one value; 0 where there is but rounding of ``size``).

    For a handful of seeds this is ten times as fast as arrays are.
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return mean, None
    variance = math.fsum([(value - mean) ** 2 for value in values]) / (n - 1)
    return mean, variance if math.sqrt(variance) > ROUNDING * size else 0.0


def _correlation(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    if len(ours) < 3:
        return None
    (mean, variance), (mean_theirs, variance_theirs) = (
        _moments(values, _size(values)) for values in (ours, theirs)
    )
    if not variance or not variance_theirs:
        return None
    together = math.fsum(
        [(a - mean) * (b - mean_theirs) for a, b in zip(ours, theirs, strict=True)]
    )
    r = together / (len(ours) - 1) / math.sqrt(variance) / math.sqrt(variance_theirs)
    return max(-1.0, min(1.0, r))


def _t_test(
    mean: float, error: float | None, df: float | None, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Lower and upper end and two-sided p."""
    if not error or df is None:
        return None, None, None
    half = float(stdtrit(df, 0.5 + confidence / 2)) * error
    return mean - half, mean + half, 2 * float(stdtr(df, -abs(mean) / error))


def _degrees(n: int, n_baseline: int | None) -> int:
    return n - 1 if n_baseline is None else n + n_baseline - 2


def _error_scale(n: int, n_baseline: int | None) -> float:
    """Standard error of the difference for a standard deviation of 1."""
    return math.sqrt(1 / n) if n_baseline is None else math.sqrt(1 / n + 1 / n_baseline)


def _power(df: float, shift: float, alpha: float) -> float:
    """Chance that |T| is beyond its two-sided critical value, T noncentral by ``shift``."""
    critical = -float(stdtrit(df, alpha / 2))
    if shift > 1e4:  # where nctdtr gives up, the normal part of T is but its shift (to 1e-8)
        return float(chdtr(df, df * (shift / critical) ** 2))
    below, opposite = float(nctdtr(df, shift, critical)), float(nctdtr(df, shift, -critical))
    # nctdtr gives NaN for tails too small to be computed; they are below 1e-14.
    below, opposite = (0.0 if math.isnan(tail) else tail for tail in (below, opposite))
    return 1 - below + opposite


@lru_cache(maxsize=4096)
def _noncentrality(df: float, power: float, alpha: float) -> float:
    """The shift at which ``_power`` is ``power``, by bisection.

    statsmodels' ``solve_power`` stops at wrong values for small alpha (5.5 deviations in place of
    11.8 for three pairs at 0.05 / 13), ``nctdtrinc`` is good to seven digits only, and importing
    ``scipy.optimize`` takes longer than all rows of a table.
    """
    low, high = 0.0, 1.0
    while _power(df, high, alpha) < power:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _power(df, middle, alpha) < power else (low, middle)
    return high
