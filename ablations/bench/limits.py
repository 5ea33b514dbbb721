"""The limits that simulated studies must keep, and how exactly a number of studies shows them."""

from __future__ import annotations

import math

LOWEST_COVERAGE, HIGHEST_FAMILY_ERROR = 0.945, 0.055


def standard_error(studies: int) -> float:
    """The standard error of a family error at its limit, from so many simulated studies."""
    return math.sqrt(HIGHEST_FAMILY_ERROR * (1 - HIGHEST_FAMILY_ERROR) / studies)


def keeps_limits(studies: int, family_error: float, coverage: float = 1.0) -> bool:
    """Whether rates of simulated studies are within the limits, but for chance.

    A coverage is a mean over many intervals, so it may miss its limit by one standard error of a
    family error; a family error by three.
    """
    error = standard_error(studies)
    return coverage > LOWEST_COVERAGE - error and family_error < HIGHEST_FAMILY_ERROR + 3 * error
