"""The residual variance of each group of runs, estimated alone or together with the other groups.

A group is the runs of one variant. Its outcome with a seed is modelled as

    outcome = mean of the group + effect of the seed + residual,

and each group has a residual variance of its own. The effect of a seed cancels in a paired
difference, so the residuals of the two groups are all that its error consists of. The residuals of
all groups are fitted together: unlike the differences from a baseline, they do not share the
baseline's noise.

Three seeds say little about a variance. Moderation (Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004,
the moderated t of *limma*) estimates from all groups what variances are like, and gives each group
a weighted mean of that prior and its own. Two limits keep the error rates where groups differ much
(``ablations bench statistics`` measures them, with and without such groups):

- The prior counts for at most two degrees of freedom, and for no more than the group has itself.
  It counts for less in small studies, where it is uncertain.
- A group whose variance is above what the prior explains (5%, chi-squared) borrows nothing. Phipson
  et al. (Ann. Appl. Stat. 10, 2016) treat such outliers one by one in the same spirit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, digamma, polygamma

from ablations.analysis.stats._common import ALPHA, ROUNDING
from ablations.analysis.stats.differences import BySeed

MIN_GROUPS = 5  # a baseline and four rows; fewer say too little about variances in general
MAX_PRIOR_DF = 2.0
WILD = 100.0  # times the median variance: ten times the usual spread


class Variance(NamedTuple):
    """A variance in squared points with its degrees of freedom.

    ``prior_df`` is the part of the degrees of freedom that comes from the other groups.
    """

    value: float
    df: float
    prior_df: float = 0.0


class Prior(NamedTuple):
    """What variances are like: a scaled inverse chi-squared distribution."""

    value: float
    df: float


def total_variances(groups: Sequence[BySeed]) -> list[Variance]:
    """The sample variance of each group; for differences between groups of different seeds."""
    found = []
    for group in groups:
        values = np.fromiter(group.values(), float)
        deviations = values - values.mean() if len(values) else values
        found.append(_variance(deviations, len(values) - 1, values))
    return found


def residual_variances(groups: Sequence[BySeed]) -> list[Variance]:
    """The variance of each group around its mean and the effects of the seeds, by least squares.

    A group's degrees of freedom are what the fit leaves of its runs: (n - 1)(g - 1)/g for g groups
    with the same n seeds. They are 0 for a group that shares no two seeds with the others, and for
    a constant one (a model that learned nothing), which the seeds do not affect. The effects of the
    seeds are fitted without wild groups: a single run at chance would spoil them for all.
    """
    position = {seed: i for i, seed in enumerate(sorted({seed for g in groups for seed in g}))}
    varying = [each.value > 0 for each in total_variances(groups)]
    groups = [group if varies else {} for group, varies in zip(groups, varying, strict=True)]
    indices = [np.array([position[seed] for seed in group], int) for group in groups]
    outcomes = [np.fromiter(group.values(), float) for group in groups]
    wild = _wild_groups(indices, outcomes)
    # The normal equations of the seeds' effects, after the groups' means are eliminated.
    normal = np.zeros((len(position), len(position)))
    moments = np.zeros(len(position))
    for index, values, apart in zip(indices, outcomes, wild, strict=True):
        if len(values) > 1 and not apart:
            normal[np.ix_(index, index)] += np.eye(len(values)) - 1 / len(values)
            moments[index] += values - values.mean()
    inverse = np.linalg.pinv(normal, hermitian=True)
    effects = inverse @ moments
    found = []
    for index, values, apart in zip(indices, outcomes, wild, strict=True):
        n = len(values)
        if n < 2:
            found.append(Variance(0.0, 0.0))
            continue
        own = inverse[np.ix_(index, index)]
        df = n - 1 - (0.0 if apart else float(np.trace(own) - own.sum() / n))
        residuals = values - values.mean() - (effects[index] - effects[index].mean())
        found.append(_variance(residuals, df, values))
    return found


def _wild_groups(indices: Sequence[np.ndarray], outcomes: Sequence[np.ndarray]) -> list[bool]:
    """Whether each group varies far more than most around the seeds' median outcomes."""
    centred = [values - values.mean() if len(values) else values for values in outcomes]
    by_seed: dict[int, list[float]] = {}
    for index, values in zip(indices, centred, strict=True):
        for seed, value in zip(index.tolist(), values.tolist(), strict=True):
            by_seed.setdefault(seed, []).append(value)
    usual = {seed: float(np.median(values)) for seed, values in by_seed.items()}
    spreads = [
        float(np.var(values - [usual[seed] for seed in index.tolist()])) if len(values) > 1 else 0.0
        for index, values in zip(indices, centred, strict=True)
    ]
    known = [spread for spread in spreads if spread]
    limit = WILD * float(np.median(known)) if known else math.inf
    return [spread > limit for spread in spreads]


def _variance(residuals: np.ndarray, df: float, values: np.ndarray) -> Variance:
    if df < 1e-6:
        return Variance(0.0, 0.0)
    value = float(residuals @ residuals) / df
    rounding = ROUNDING * float(np.abs(values).max())
    return Variance(value if math.sqrt(value) > rounding else 0.0, df)


def moderate(variances: Sequence[Variance]) -> list[Variance] | None:
    """Variances that borrow from each other; None where there is nothing to borrow.

    That is the case below five groups with a spread.

    Args:
        variances: One per group, (g,).
    """
    prior = estimate_prior(variances)
    if prior is None:
        return None
    groups = sum(each.value > 0 for each in variances)
    # Shrinking towards an estimated centre costs three groups, as in the James-Stein estimator.
    limit = (groups - 3) / groups

    def posterior(own: Variance) -> Variance:
        if not own.df:
            return own
        prior_df = min(prior.df, limit * min(MAX_PRIOR_DF, own.df))
        if own.value * own.df > prior.value * chdtri(own.df, ALPHA):
            return own
        df = prior_df + own.df
        return Variance((prior_df * prior.value + own.df * own.value) / df, df, prior_df)

    return [posterior(own) for own in variances]


def estimate_prior(variances: Sequence[Variance]) -> Prior | None:
    """The distribution of the groups' true variances, by the moments of their logarithms.

    Smyth (2004), section 6.2. Groups without a spread do not count. None below five groups.
    """
    known = [each for each in variances if each.value > 0]
    if len(known) < MIN_GROUPS:
        return None
    value, df = np.array([each[:2] for each in known]).T
    logs = np.log(value) - digamma(df / 2) + np.log(df / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, df / 2).mean())
    if excess <= 0:  # no more spread than equal variances show
        return Prior(math.exp(float(logs.mean())), math.inf)
    half = _inverse_trigamma(excess)
    shift = float(digamma(half)) - math.log(half)
    return Prior(math.exp(float(logs.mean()) + shift), 2 * half)


def _inverse_trigamma(value: float) -> float:
    """The x > 0 at which trigamma(x) equals ``value`` > 0, by Newton's method on 1 / trigamma."""
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-12 * x:
            break
    return x


def pool(variances: Sequence[Variance]) -> list[Variance] | None:
    """One variance for all groups, as in an analysis of variance; None without any spread."""
    df = sum(each.df for each in variances)
    value = sum(each.value * each.df for each in variances) / df if df else 0.0
    if not value:
        return None
    return [Variance(value, df, df - own.df) if own.df else own for own in variances]
