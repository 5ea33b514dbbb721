"""The differences between the rows of a study, by one choice of test and of intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ablations.analysis.stats import crossed, variances
from ablations.analysis.stats._common import ALPHA, CONFIDENCE
from ablations.analysis.stats.differences import BySeed, Difference, difference
from ablations.analysis.stats.family import Family
from ablations.analysis.stats.multiple_testing import holm_correction
from ablations.analysis.stats.variances import Variance


class SignificanceTest(StrEnum):
    """Where the standard error of a difference comes from."""

    MODERATED = "moderated"  # each row's own residual variance, with strength from the others
    POOLED = "pooled"  # one residual variance for all rows: Dunnett's test
    ORDINARY = "ordinary"  # the two rows alone: Student's paired t, or Welch's


class Intervals(StrEnum):
    """What the 95% of the intervals is about."""

    SIMULTANEOUS = "simultaneous"  # all intervals of a table together
    INDIVIDUAL = "individual"  # each interval alone


@dataclass(frozen=True)
class Method:
    """How differences are tested.

    With the ordinary test, intervals are individual and Holm corrects the p-values.
    """

    test: SignificanceTest = SignificanceTest.MODERATED
    intervals: Intervals = Intervals.SIMULTANEOUS


class Comparisons:
    """The differences between rows of a study.

    Args:
        rows: Name of a row -> its outcomes in percent, by seed.
        method: How differences are tested.
        correct: Name of a row -> seed -> whether it has each image right, (m,), for standard errors
            over seeds and images; None for those over seeds. The moderated variances are then the
            seeds' part. Every outcome of ``rows`` needs its images.

    Attributes:
        test: The test in use. It is the ordinary one where there are fewer than four rows and a
            baseline with a spread, from which nothing can be borrowed.
    """

    def __init__(
        self,
        rows: Mapping[str, BySeed],
        method: Method | None = None,
        correct: Mapping[str, crossed.Correct] | None = None,
    ) -> None:
        self.method = method or Method()
        self.correct = correct
        self._rows = rows
        self._paired = self._unpaired = None
        if self.method.test is not SignificanceTest.ORDINARY:
            estimate = {
                SignificanceTest.MODERATED: variances.moderate,
                SignificanceTest.POOLED: variances.pool,
            }[self.method.test]
            groups = list(rows.values())
            self._paired = self._named(estimate(variances.residual_variances(groups)))
            self._unpaired = self._named(estimate(variances.total_variances(groups)))
        borrows = self._paired or self._unpaired
        self.test = self.method.test if borrows else SignificanceTest.ORDINARY

    @property
    def interval_kind(self) -> Intervals:
        """What the intervals of ``family`` and ``together`` are about."""
        ordinary = self.test is SignificanceTest.ORDINARY
        return Intervals.INDIVIDUAL if ordinary else self.method.intervals

    def _named(self, found: Sequence[Variance] | None) -> dict[str, Variance] | None:
        return dict(zip(self._rows, found, strict=True)) if found else None

    def difference(
        self, row: str, baseline: str, confidence: float = CONFIDENCE
    ) -> Difference | None:
        """Row minus baseline, tested alone; None where either has no outcome.

        The seeds choose whether it is paired, as in ``stats.difference``. The test and the images
        alone decide about the standard error and its degrees of freedom (Satterthwaite's).
        """
        found = self._over_seeds(row, baseline, confidence)
        if found is None or self.correct is None:
            return found
        sides = self.correct[row], self.correct[baseline]
        return crossed.over_images(found, crossed.images_variance(*sides, found.paired))

    def _over_seeds(self, row: str, baseline: str, confidence: float) -> Difference | None:
        plain = difference(self._rows[row], self._rows[baseline], confidence)
        if plain is None or plain.standard_error is None:
            return plain
        own, other = self._variances(row, baseline, plain.paired)
        if not (own.df and other.df):
            return plain
        parts = own.value / plain.n, other.value / plain.n_baseline
        squared = sum(parts)
        if not squared:
            return plain
        if self.test is SignificanceTest.POOLED:
            df = own.df
        else:
            df = squared**2 / (parts[0] ** 2 / own.df + parts[1] ** 2 / other.df)
        shared = other.value / len(self._rows[baseline])  # by all differences from this baseline
        return replace(
            plain,
            standard_error=math.sqrt(squared),
            df=df,
            prior_df=min(own.prior_df, other.prior_df),
            baseline_share=math.sqrt(shared / squared),
        )

    def _variances(self, row: str, baseline: str, paired: bool) -> tuple[Variance, Variance]:
        """The variances of both sides; without degrees of freedom where they are not known."""
        for known in (self._paired, self._unpaired) if paired else (self._unpaired,):
            if known is None:
                break  # nothing varies besides the seeds' effects
            if known[row].df and known[baseline].df:
                return known[row], known[baseline]
        return Variance(0.0, 0.0), Variance(0.0, 0.0)

    def family(
        self, rows: Iterable[str], baseline: str, error: float | None = None
    ) -> dict[str, Difference | None]:
        """Rows minus their common baseline, tested together.

        Args:
            rows: The rows.
            baseline: The row that they are compared with.
            error: The part of the family error of 5% that this look at the data spends, where
                there are several looks. Intervals are then simultaneous by any test, and p-values
                are multiplied by 5% / error, so that below 5% still means what it says.
        """
        found = {row: self.difference(row, baseline) for row in rows}
        differences = list(found.values())
        if error is None:
            return dict(zip(found, self.together(differences), strict=True))
        p_values = [each.p if each else None for each in differences]
        # Without a common estimate of the variances, a family that shares no baseline is a bound.
        shared = self.test is not SignificanceTest.ORDINARY
        pooled = self.test is SignificanceTest.POOLED
        tested = _simultaneous(differences, p_values, shared, pooled, error)
        return dict(zip(found, tested, strict=True))

    def together(
        self,
        differences: Sequence[Difference | None],
        same_baseline: bool = True,
        p_values: Sequence[float | None] | None = None,
    ) -> list[Difference | None]:
        """Differences with the intervals and p-values of their family; None stays None.

        Args:
            differences: As ``difference`` gives them.
            same_baseline: Whether all are differences from one row. Without it the family error is
                an upper bound.
            p_values: P-values of other hypotheses than "no difference", to be corrected instead.
        """
        if p_values is None:
            p_values = [each.p if each else None for each in differences]
        if self.test is SignificanceTest.ORDINARY:
            corrected = holm_correction(p_values)
            return [
                each and replace(each, p_corrected=p)
                for each, p in zip(differences, corrected, strict=True)
            ]
        if self.method.intervals is Intervals.INDIVIDUAL:
            return list(differences)
        # With images, each row's standard error has a part of its own.
        pooled = self.test is SignificanceTest.POOLED and same_baseline and self.correct is None
        return _simultaneous(differences, p_values, same_baseline, pooled)

    def corrected(self, p: float, differences: Sequence[Difference | None], level: float) -> float:
        """A single p-value in the family of differences from one baseline.

        Args:
            p: The p-value, of any hypothesis about one of them.
            differences: All of them.
            level: The level of their intervals.
        """
        tested = [each for each in differences if each is not None and each.p is not None]
        pooled = self.test is SignificanceTest.POOLED and self.correct is None
        return family_of(tested, pooled=pooled).p_values([p], level)[0]


def _simultaneous(
    differences: Sequence[Difference | None],
    p_values: Sequence[float | None],
    same_baseline: bool,
    pooled: bool,
    error: float = ALPHA,
) -> list[Difference | None]:
    """Differences with simultaneous intervals and p-values.

    ``error`` bounds the chance of any error. P-values are scaled to a bound of 5%.
    """
    tested = {
        i: (each, p)
        for i, (each, p) in enumerate(zip(differences, p_values, strict=True))
        if each is not None and p is not None
    }
    found = list(differences)
    if not tested:
        return found
    family = family_of([each for each, _ in tested.values()], same_baseline, pooled)
    level = family.level(error)
    corrected = family.p_values([p for _, p in tested.values()], level, error)
    for (i, (each, _)), p in zip(tested.items(), corrected, strict=True):
        found[i] = replace(each, level=level, p_corrected=min(p * ALPHA / error, 1.0))
    return found


def family_of(
    differences: Sequence[Difference], same_baseline: bool = True, pooled: bool = False
) -> Family:
    """The family of differences, each of which has a test."""
    return Family(
        tuple(each.df or 0.0 for each in differences),
        tuple(each.baseline_share if same_baseline else 0.0 for each in differences),
        pooled,
    )
