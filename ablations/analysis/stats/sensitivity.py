"""What the seeds of an observed difference can show, and how many seeds would show more.

All numbers are for the level of the difference's own interval, so they agree with it. The observed
spread counts as the true one: from three seeds it is a rough guess, and so are these numbers.
"""

from __future__ import annotations

import math
from typing import Any

from ablations.analysis.stats import equivalence, power
from ablations.analysis.stats._common import ALPHA, error_scale
from ablations.analysis.stats.differences import Difference
from ablations.analysis.stats.family import Family
from ablations.analysis.stats.variances import Variance, moderate


def minimum_effect(difference: Difference, chance: float = 0.8) -> float | None:
    """The smallest true difference in points that these seeds detect with this chance.

    None without an interval. It uses the standard error and the degrees of freedom of the
    difference itself, so the two sides may differ in their spread.
    """
    if not difference.standard_error or difference.df is None:
        return None
    return power.minimum_effect(
        difference.standard_error * math.sqrt(difference.n),
        difference.n,
        power=chance,
        alpha=difference.interval_level,
        df=difference.df,
    )


def seeds_to_detect(difference: Difference, effect: float) -> int | None:
    """Seeds of each side that detect ``effect`` points with 80% power; None without a spread.

    Also None where the error of the images alone is too large for any number of seeds.
    """
    if not difference.std:
        return None
    return power.seeds_needed(effect, difference.std, **_plan(difference))


def seeds_to_show_equivalence(difference: Difference, margin: float) -> int | None:
    """Seeds of each side that put the interval within ``margin`` points of 0, with 80% power.

    As if the true difference were the observed one, which must lie within the margin. None without
    a spread, and where the error of the images alone is too large.
    """
    if not difference.std:
        return None
    plan = _plan(difference)
    plan["alpha"] /= 2  # both ends of a two-sided interval
    return equivalence.seeds_for_equivalence(difference.mean, difference.std, margin, **plan)


def planned_minimum_effect(seeds: int, rows: int, chance: float = 0.8) -> float | None:
    """The smallest true difference that a study will detect, in its standard deviations.

    The deviation is that of paired differences. For the default test of a study in which all rows
    have the same spread: moderated variances from four rows on, simultaneous intervals. None below
    two seeds.

    Args:
        seeds: Seeds of each row, and of the baseline.
        rows: Rows besides the baseline.
        chance: Chance of detection.
    """
    if seeds < 2:
        return None
    spread = moderate([Variance(1.0, (seeds - 1) * rows / (rows + 1))] * (rows + 1))
    if spread is None:  # t tests with Holm's correction, of which the first step counts
        return power.minimum_effect(1.0, seeds, power=chance, alpha=ALPHA / rows)
    df = 2 * spread[0].df  # of a sum of two variances
    level = Family((df,) * rows, (math.sqrt(0.5),) * rows).level()
    return power.minimum_effect(1.0, seeds, power=chance, alpha=level, df=df)


def _plan(difference: Difference) -> dict[str, Any]:
    """How the test goes on with more seeds: its degrees of freedom grow with them."""
    own = (difference.n + difference.n_baseline) / 2 - 1
    std, fixed = difference.std or 0.0, difference.images_error or 0.0
    # Of the seeds' part alone; the images count as known, as they are many.
    df = (difference.df or 0.0) * (1 - (difference.images_share or 0.0)) ** 2
    each = df / (own + difference.prior_df)

    def degrees(seeds: int) -> float:
        part = std * error_scale(seeds, None if difference.paired else seeds)
        share = part**2 / (part**2 + fixed**2)
        return each * (seeds - 1 + difference.prior_df) / share**2

    return {
        "paired": difference.paired,
        "alpha": difference.interval_level,
        "degrees": degrees,
        "images_error": fixed,
    }
