"""The difference between a row and its baseline, with a t interval and a p-value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtr, stdtrit

from ablations.analysis.stats._common import (
    CONFIDENCE,
    check_confidence,
    check_finite,
    mean_and_variance,
)
from ablations.errors import StatisticsError

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
        confidence: Coverage of the interval, 0.95 for 95%: of this one alone, or of all intervals
            of its family together.
        n: Seeds used of the row; pairs, if paired.
        n_baseline: Seeds used of the baseline; the same pairs, if paired.
        paired: Seed by seed, or mean against mean.
        correlation: Pearson's r of the outcomes of common seeds. Above 0, pairing narrows the
            interval. None below three common seeds, where it is always 1 or -1, and where either
            side is constant.
        df: Degrees of freedom of the standard error.
        standard_error: Of the mean; 0 where nothing varies.
        prior_df: The part of the degrees of freedom of each side that other rows lend.
        baseline_share: Root of the part of the squared standard error that comes from the
            baseline, and so is common to all differences from it.
        images_error: The part of the standard error that is due to the images; None where it is
            over the seeds alone (``stats.crossed``).
        level: Two-sided level of the interval alone; None for 1 - confidence.
        p_corrected: P-value in the family; below 1 - confidence exactly where the interval
            excludes 0. None outside a family.
    """

    mean: float
    confidence: float
    n: int
    n_baseline: int
    paired: bool
    correlation: float | None
    df: float | None
    standard_error: float | None
    prior_df: float = 0.0
    baseline_share: float = math.sqrt(0.5)
    images_error: float | None = None
    level: float | None = None
    p_corrected: float | None = None

    @property
    def p(self) -> float | None:
        """Two-sided p-value of no difference, before any correction."""
        return self.p_value_of(self.mean)

    def p_value_of(self, distance: float) -> float | None:
        """Two-sided p-value of an estimate that lies ``distance`` points from a hypothesis."""
        if not self.standard_error or self.df is None:
            return None
        return 2 * float(stdtr(self.df, -abs(distance) / self.standard_error))

    @property
    def interval_level(self) -> float:
        """Two-sided level of the interval alone."""
        return 1 - self.confidence if self.level is None else self.level

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval in points, None without one."""
        if not self.standard_error or self.df is None:
            return None
        return -float(stdtrit(self.df, self.interval_level / 2)) * self.standard_error

    @property
    def reported_p(self) -> float | None:
        """The p-value that belongs to the interval: corrected in a family, else of this test."""
        return self.p if self.p_corrected is None else self.p_corrected

    @property
    def significant(self) -> bool:
        """Whether the reported p-value is below 1 - confidence."""
        p = self.reported_p
        return p is not None and p < 1 - self.confidence

    def within(self, margin: float) -> bool:
        """Whether the interval lies within ``margin`` points of 0, so that it shows equivalence.

        Raises:
            StatisticsError: The margin is not above 0.
        """
        if not 0 < margin < math.inf:
            raise StatisticsError(f"margin {margin} must be above 0, in percentage points")
        half = self.half_width
        return half is not None and abs(self.mean) + half < margin

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        half = self.half_width
        return None if half is None else self.mean - half

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        half = self.half_width
        return None if half is None else self.mean + half

    @property
    def alone(self) -> Difference:
        """The same difference outside its family: its own interval, and no corrected p-value."""
        return replace(self, level=None, p_corrected=None)

    @property
    def constant(self) -> bool:
        """Whether there are two seeds or more and nothing varies, so that no test is possible."""
        return self.standard_error == 0

    @property
    def seeds_error(self) -> float | None:
        """The standard error on these images: all of it, or the part that is due to the seeds."""
        if self.standard_error is None or not self.images_error:
            return self.standard_error
        return math.sqrt(self.standard_error**2 - self.images_error**2)

    @property
    def images_share(self) -> float | None:
        """The images' share of the squared standard error; None where it is over seeds alone."""
        if self.images_error is None or not self.standard_error:
            return None
        return (self.images_error / self.standard_error) ** 2

    @property
    def std(self) -> float | None:
        """Standard deviation over the seeds in points, as power functions expect it.

        Paired: that of the differences. Unpaired: the root of the mean of the two sides' variances.
        """
        if self.seeds_error is None or self.standard_error is None:
            return None
        if self.paired:
            return self.seeds_error * math.sqrt(self.n)
        share = self.baseline_share**2
        if self.seeds_error:
            share *= (self.standard_error / self.seeds_error) ** 2
        weighted = share * self.n_baseline + (1 - share) * self.n
        return self.seeds_error * math.sqrt(weighted / 2)


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
    correlation = _correlation(ours, theirs)
    return Difference(mean, confidence, n, n, True, correlation, df, error)


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
    share = 0.5
    if variance is not None and variance_baseline is not None:
        error = math.sqrt(variance / n + variance_baseline / n_baseline)
        if error:
            share = variance_baseline / n_baseline / error**2
            df = 1 / ((1 - share) ** 2 / (n - 1) + share**2 / (n_baseline - 1))
    return Difference(
        mean,
        confidence,
        n,
        n_baseline,
        False,
        correlation,
        df,
        error,
        baseline_share=math.sqrt(share),
    )


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
