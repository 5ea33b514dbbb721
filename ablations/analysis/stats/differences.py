"""The difference between a row and its baseline, with a t interval and a p-value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

from ablations.analysis.stats._common import (
    CONFIDENCE,
    check_confidence,
    check_finite,
    error_scale,
    mean_and_variance,
)

BySeed = Mapping[int, float]  # seed -> percent


@dataclass(frozen=True)
class Difference:
    """Row minus baseline in percentage points, with its interval and test.

    ``low``, ``high`` and ``p`` are None together: for one seed (``df`` is None too), and where the
    values do not vary at all (``constant``). For n equal differences the t statistic is 0/0 or x/0,
    and an interval of width zero would claim a certainty that n seeds cannot give. There may be too
    few images to separate the seeds, or the runs may ignore the change.

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
            interval. None below three common seeds, where it is always 1 or -1, and where either
            side is constant.
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
        """Whether there are two seeds or more and nothing varies, so that no test is possible."""
        return self.standard_error == 0

    @property
    def std(self) -> float | None:
        """Standard deviation in points, as ``minimum_effect`` and ``seeds_needed`` expect it.

        Paired: that of the differences. Unpaired: that of each side, if both had the same.
        """
        if self.standard_error is None:
            return None
        return self.standard_error / error_scale(self.n, None if self.paired else self.n_baseline)


def difference(row: BySeed, baseline: BySeed, confidence: float = CONFIDENCE) -> Difference | None:
    """Row minus baseline by the test that the seeds allow; None where either has no seed.

    The seeds alone choose the test, never the outcomes:

    - Two common seeds or more: paired over them. Seeds that only one side has are not used.
    - Else two seeds or more on both sides: Welch's t over all of them, taken as independent.
    - Else the mean alone: of the common seed, if there is one; otherwise of means.

    Args:
        row: Seed -> percent.
        baseline: Seed -> percent.
        confidence: Coverage of the interval, between 0 and 1.

    Raises:
        StatisticsError: A value is not finite, or the confidence is not between 0 and 1.
    """
    common = len(row.keys() & baseline.keys())
    both = min(len(row), len(baseline)) > 1
    test = paired_difference if common > 1 or (common and not both) else unpaired_difference
    return test(row, baseline, confidence)


def paired_difference(
    row: BySeed, baseline: BySeed, confidence: float = CONFIDENCE
) -> Difference | None:
    """Row minus baseline over their common seeds; None where they share none.

    Student's paired t: mean ± t(n - 1) s / sqrt(n), where s is the standard deviation of the
    differences. The same as ``scipy.stats.ttest_rel``. Arguments and errors as in ``difference``.
    """
    ours, theirs = _common_outcomes(row, baseline, confidence)
    if not ours:
        return None
    n = len(ours)
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean, variance = mean_and_variance(differences, max(map(abs, ours + theirs)))
    error = None if variance is None else math.sqrt(variance / n)
    df = None if error is None else n - 1
    low, high, p = _t_test(mean, error, df, confidence)
    correlation = _correlation(ours, theirs)
    return Difference(mean, low, high, confidence, p, n, n, True, correlation, df, error)


def unpaired_difference(
    row: BySeed, baseline: BySeed, confidence: float = CONFIDENCE
) -> Difference | None:
    """Mean of the row minus mean of the baseline; None where either has no seed.

    Welch's t (Biometrika 34, 1947) with Satterthwaite's degrees of freedom, which allows the two
    sides different variances. The same as ``scipy.stats.ttest_ind(equal_var=False)``. Arguments and
    errors as in ``difference``.
    """
    correlation = _correlation(*_common_outcomes(row, baseline, confidence))
    if not row or not baseline:
        return None
    n, n_baseline = len(row), len(baseline)
    mean, variance = mean_and_variance(list(row.values()))
    mean_baseline, variance_baseline = mean_and_variance(list(baseline.values()))
    mean -= mean_baseline
    error = df = None
    if variance is not None and variance_baseline is not None:
        share, rest = variance / n, variance_baseline / n_baseline
        error = math.sqrt(share + rest)
        if error:
            share, rest = share / (share + rest), rest / (share + rest)
            df = 1 / (share**2 / (n - 1) + rest**2 / (n_baseline - 1))
    low, high, p = _t_test(mean, error, df, confidence)
    return Difference(mean, low, high, confidence, p, n, n_baseline, False, correlation, df, error)


def _common_outcomes(
    row: BySeed, baseline: BySeed, confidence: float
) -> tuple[list[float], list[float]]:
    """The outcomes of the common seeds, in the order of the seeds; checks all arguments."""
    check_confidence(confidence)
    for side, values in (("row", row), ("baseline", baseline)):
        for seed, value in values.items():
            check_finite(value, f"{side}, seed {seed}")
    seeds = sorted(row.keys() & baseline.keys())
    return [row[seed] for seed in seeds], [baseline[seed] for seed in seeds]


def _correlation(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    if len(ours) < 3:
        return None
    mean, variance = mean_and_variance(ours)
    mean_theirs, variance_theirs = mean_and_variance(theirs)
    if not variance or not variance_theirs:
        return None
    products = [(a - mean) * (b - mean_theirs) for a, b in zip(ours, theirs, strict=True)]
    covariance = math.fsum(products) / (len(ours) - 1)
    r = covariance / math.sqrt(variance) / math.sqrt(variance_theirs)
    return max(-1.0, min(1.0, r))


def _t_test(
    mean: float, error: float | None, df: float | None, confidence: float
) -> tuple[float | None, float | None, float | None]:
    """Lower end, upper end and two-sided p-value; None without degrees of freedom or spread."""
    if not error or df is None:
        return None, None, None
    half = float(stdtrit(df, 0.5 + confidence / 2)) * error
    return mean - half, mean + half, 2 * float(stdtr(df, -abs(mean) / error))
