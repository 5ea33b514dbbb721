"""Simultaneous tests: the p-values and intervals of all differences from one baseline together.

Dunnett's comparison (J. Am. Stat. Assoc. 50, 1955): the family error is the chance that any of the
statistics |T_i| exceeds its critical value although no row differs. All rows are compared with the
same baseline, so the statistics are correlated. With the baseline's noise V, row i's statistic is

    T_i = (share_i V + sqrt(1 - share_i^2) Z_i) / S_i

with V and Z_i standard normal and S_i the estimated scale, the root of a chi-squared variable over
its degrees of freedom. Given V the rows are independent, so the chance is an integral over V of a
product over the rows, and each factor is an integral over S_i (over one common S where all rows
share one pooled variance: then this is Dunnett's own case, and equal to ``scipy.stats.dunnett``).

A share of 0 for all rows gives Sidak's inequality, which holds for differences that do not share a
baseline (J. Am. Stat. Assoc. 62, 1967).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import chdtri, ndtr, stdtrit

from ablations.analysis.stats._common import ALPHA

MANY_ROWS = 100  # beyond these, similar rows count as alike, so that time grows slowly with them
RARE = 1e-9  # below this level no two findings are false at once
MANY_P = 32  # beyond these, p-values are interpolated


@dataclass(frozen=True)
class Family:
    """The statistics of the differences that are tested together.

    Args:
        df: Degrees of freedom of each difference, (m,).
        shares: Root of the baseline's share of each difference's squared standard error, (m,).
        pooled: Whether all differences use the same estimated variance.
    """

    df: tuple[float, ...]
    shares: tuple[float, ...]
    pooled: bool = False

    def error(self, level: float) -> float:
        """The chance of any false finding, if each difference alone is tested at ``level``."""
        df, shares, counts = _different_rows(self.df, self.shares)
        noise, noise_weights = _normal_nodes()
        scales, scale_weights = _scale_nodes(df, level)
        rest = np.sqrt(np.maximum(1 - shares**2, 1e-12))[:, None, None]
        # Rows, scales, the baseline's noise.
        critical = (-stdtrit(df, level / 2)[:, None] * scales)[:, :, None]
        shift = (shares[:, None] * noise)[:, None, :]
        outside = ndtr((shift - critical) / rest) + ndtr((-shift - critical) / rest)
        if not self.pooled:
            outside = np.einsum("rs,rsv->rv", scale_weights, outside)[:, None, :]
        with np.errstate(divide="ignore"):  # a row may be outside for certain
            none = np.tensordot(counts, np.log1p(-np.minimum(outside, 1.0)), 1)
        weights = scale_weights[0] if self.pooled else np.ones(1)
        return float(weights @ -np.expm1(none) @ noise_weights)

    def level(self, error: float = ALPHA) -> float:
        """The level of each single test at which the family error is ``error``.

        By the secant method: the logarithm of the chance of no false finding is almost
        proportional to the level.
        """
        goal = np.log(-np.log1p(-error))

        def distance(log_level: float) -> float:
            return float(np.log(-np.log1p(-self.error(np.exp(log_level)))) - goal)

        before, now = np.log(error / len(self.df)) - 1, np.log(error / len(self.df))
        off_before = distance(before)
        for _ in range(50):
            off = distance(now)
            if abs(off) < 1e-8 or off == off_before:
                break
            slope = (off - off_before) / (now - before)
            before, off_before = now, off
            now = min(now - off / slope, 0.0)
        return float(np.exp(now))

    def p_values(self, single: Sequence[float], level: float, error: float = ALPHA) -> list[float]:
        """The p-value of each difference in the family, from its p-value alone.

        Args:
            single: P-values of the single tests, (m,).
            level: What ``level(error)`` gives. Exactly the p-values below it are below ``error``
                here.
            error: The family error.
        """
        p = np.maximum(np.array(single), 1e-300)
        nodes = np.unique(np.append(p, level))
        if len(nodes) > MANY_P:
            nodes = np.union1d(np.geomspace(nodes[0], nodes[-1], MANY_P), level)
        errors = [
            len(self.df) * node if node < RARE else max(self.error(node), node) for node in nodes
        ]
        errors[int(np.searchsorted(nodes, level))] = error  # exactly
        corrected = np.exp(np.interp(np.log(p), np.log(nodes), np.log(errors)))
        return list(map(float, np.maximum(corrected, p)))


@lru_cache(maxsize=64)
def _different_rows(
    df: tuple[float, ...], shares: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs = np.column_stack([np.minimum(df, 1e6), shares])
    if len(pairs) > MANY_ROWS:
        pairs = np.column_stack([np.exp(np.round(np.log(pairs[:, 0]), 1)), pairs[:, 1].round(1)])
    rows, counts = np.unique(pairs, axis=0, return_counts=True)
    return rows[:, 0], rows[:, 1], counts


@lru_cache(maxsize=1)
def _normal_nodes(count: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (count / 2,) of the mean of an even function of a standard normal V."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    positive = nodes > 0
    return nodes[positive], weights[positive] / weights[positive].sum()


def _scale_nodes(df: np.ndarray, level: float, count: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (m, count) of the mean of a function of each row's scale.

    The trapezoidal rule over the logarithm of the scale, where its density decays fast at both
    ends. The nodes begin where what is left out does not matter at this level.
    """
    degrees = df[:, None]
    ends = [chdtri(degrees, chance) for chance in (1 - 1e-6 * level, 1e-14)]
    low, high = (np.log(end / degrees) / 2 for end in ends)
    logs = low + (high - low) * np.linspace(0, 1, count)
    log_density = degrees * (logs - np.exp(2 * logs) / 2)
    weights = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    return np.exp(logs), weights / weights.sum(axis=1, keepdims=True)
