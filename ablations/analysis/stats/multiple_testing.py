"""Holm's correction of the p-values of one table."""

from __future__ import annotations

from collections.abc import Sequence

from ablations.errors import StatisticsError


def holm_correction(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct the p-values of one table, so that 5% bounds the chance of any false finding in it.

    Holm's step-down correction (Scand. J. Statist. 6, 1979): multiply the k-th smallest of m
    p-values by m - k + 1, cap at 1, and never go below the one before. The same as
    ``statsmodels.stats.multitest.multipletests(method="holm")``; scipy has only the false discovery
    rate.

    Args:
        p_values: One per row, (m,). None where a row has none: it stays None and does not count.

    Raises:
        StatisticsError: A p-value is not between 0 and 1.
    """
    for position, p in enumerate(p_values, start=1):
        if p is not None and not 0 <= p <= 1:
            raise StatisticsError(f"p-value {position} of {len(p_values)} is {p}, not in 0 to 1")
    corrected: list[float | None] = [None] * len(p_values)
    ordered = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for rank, (p, index) in enumerate(ordered):
        largest = max(largest, min(1.0, p * (len(ordered) - rank)))
        corrected[index] = largest
    return corrected
