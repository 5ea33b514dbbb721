"""Looks at a study while seeds are added: what each may spend, and which rows it decides.

The 5% of the family error are split over the looks (Bonferroni's union bound): at look k all
intervals are simultaneous at error_k, and the errors add up to 5%. So the chance that any interval
of any look misses is at most 5%, whatever a look's result makes of the next one: which rows get
more seeds, and when the study ends. Group-sequential boundaries (O'Brien and Fleming, Biometrics
35, 1979) would spend less, but assume one known variance and looks that were all taken.

All rows stay in the family of every look, also those that need no more seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum

from ablations.analysis.stats._common import ALPHA
from ablations.analysis.stats.comparisons import Comparisons, Method
from ablations.analysis.stats.differences import BySeed, Difference
from ablations.errors import StatisticsError


class Conclusion(StrEnum):
    """What a look says of a row."""

    DIFFERENT = "different"  # the interval excludes 0
    EQUIVALENT = "equivalent"  # the interval lies within the margin
    OPEN = "open"


@dataclass(frozen=True)
class LookPlan:
    """When a study is looked at, and what decides a row.

    Args:
        looks: Seeds of each row at each look, rising, from 2 on.
        errors: The part of the family error that each look spends; they add up to 5%.
        margin: Differences below it do not matter, in points; None to decide only differences.
        method: How differences are tested.
    """

    looks: tuple[int, ...]
    errors: tuple[float, ...]
    margin: float | None = None
    method: Method = field(default_factory=Method)

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.looks, self.looks[1:], strict=False))
        given = ",".join(map(str, self.looks))
        if not self.looks or self.looks[0] < 2 or not rising:
            raise StatisticsError(
                f"looks {given} must be numbers of seeds from 2 on that rise, such as 3,5,7,10"
            )
        if len(self.errors) != len(self.looks) or not all(error > 0 for error in self.errors):
            raise StatisticsError(f"each of the looks {given} must spend an error above 0")
        if sum(self.errors) > ALPHA * (1 + 1e-9):
            raise StatisticsError(f"the looks spend {sum(self.errors):g}: at most {ALPHA}")
        if self.margin is not None and not 0 < self.margin < math.inf:
            raise StatisticsError(f"margin {self.margin:g} must be above 0, in percentage points")


@dataclass(frozen=True)
class Decision:
    """What a look says of a row, in its interval.

    Args:
        look: The index of the look that decided the row; of the last one for an open row.
        seeds: Seeds that the look has of each row.
        verdict: What it says.
        difference: Row minus baseline, with the interval of that look; None without outcomes.
    """

    look: int
    seeds: int
    verdict: Conclusion
    difference: Difference | None


def split_error(looks: Sequence[int], error: float = ALPHA) -> tuple[float, ...]:
    """The error that each look spends, in proportion to the square of its seeds.

    Large differences show early at any level; the others need what is left for later looks. In
    simulated studies this decides more rows than equal parts, at almost the same saving.
    """
    total = sum(seeds**2 for seeds in looks)
    return tuple(error * seeds**2 / total for seeds in looks)


def look(
    plan: LookPlan,
    index: int,
    seeds: Sequence[int],
    outcomes: Mapping[str, BySeed],
    baseline: str,
    decided: Mapping[str, Decision],
) -> dict[str, Decision]:
    """What one look says of every row that is not decided yet.

    Args:
        plan: The looks.
        index: Which of them.
        seeds: All seeds of the study in their order; a look has the first of them.
        outcomes: Row -> seed -> percent. Outcomes of other seeds than the look's are not read.
        baseline: The row that the others are compared with.
        decided: Rows that earlier looks have decided; they keep the seeds of their look.
    """
    now = plan.looks[index]
    counts = {row: decided[row].seeds if row in decided else now for row in outcomes}
    known = {
        row: {seed: own[seed] for seed in seeds[: counts[row]] if seed in own}
        for row, own in outcomes.items()
    }
    others = [row for row in outcomes if row != baseline]
    found = Comparisons(known, plan.method).family(others, baseline, plan.errors[index])
    return {
        row: Decision(index, now, _verdict(difference, plan.margin), difference)
        for row, difference in found.items()
        if row not in decided
    }


def _verdict(difference: Difference | None, margin: float | None) -> Conclusion:
    if difference is None or difference.p is None:
        return Conclusion.OPEN
    if difference.significant:
        return Conclusion.DIFFERENT
    if margin is not None and difference.within(margin):
        return Conclusion.EQUIVALENT
    return Conclusion.OPEN


@dataclass(frozen=True)
class LookProgress:
    """How far the looks of a study are.

    Args:
        decisions: Row -> what the last look at it says; none before the first look.
        look: The index of the next look; None where nothing is left to look at.
        missing: Row -> the seeds that the next look still needs.
    """

    decisions: Mapping[str, Decision]
    look: int | None
    missing: Mapping[str, Sequence[int]]

    @property
    def decided(self) -> dict[str, Decision]:
        """The rows that need no more seeds."""
        return {r: d for r, d in self.decisions.items() if d.verdict is not Conclusion.OPEN}


def follow(
    plan: LookPlan,
    seeds: Sequence[int],
    outcomes: Mapping[str, BySeed],
    baseline: str,
    ended: Mapping[str, AbstractSet[int]],
) -> LookProgress:
    """Take all looks for which the outcomes are there.

    It depends on its arguments alone, so all who share a study's records come to the same result. A
    look does not wait for a seed that has ended without an outcome (a failed run): the row has one
    pair fewer.

    Args:
        plan: The looks.
        seeds: All seeds of the study in their order, as many as the last look has or more.
        outcomes: Row -> seed -> percent, the baseline among them.
        baseline: The row that the others are compared with.
        ended: Row -> seeds whose runs have ended, with or without an outcome.
    """
    decisions: dict[str, Decision] = {}
    for index, now in enumerate(plan.looks):
        decided = {r: d for r, d in decisions.items() if d.verdict is not Conclusion.OPEN}
        if len(decided) == len(outcomes) - 1:
            return LookProgress(decisions, None, {})
        missing = {
            row: left
            for row in outcomes
            if row not in decided and (left := [s for s in seeds[:now] if s not in ended[row]])
        }
        if missing:
            return LookProgress(decisions, index, missing)
        decisions |= look(plan, index, seeds, outcomes, baseline, decided)
    return LookProgress(decisions, None, {})
