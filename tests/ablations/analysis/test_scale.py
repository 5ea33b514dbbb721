"""Axis ranges cover the bulk of the values, without distant outliers."""

from __future__ import annotations

import pytest

from ablations.analysis.scale import bulk_limit, fit_scale


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        ([], 0),
        ([3.0], 3),
        ([0, 1, -2, 3], 3),
        ([0.1, -0.3, 2.0, 4.9], 4.9),  # nothing within five points is distant
        ([0.1, -0.3, 2.0, 72.0], 2),
        ([0.1, 0.2, 0.3, -72], 0.3),
        ([0.0, 0.0, 0.0, 6.0], 0),
        ([1, 2, 3, 4, -13], 4),
        ([1, 2, 3, 4, -12], 12),  # exactly three times the next smaller one
        ([1, -72], 72),  # one of two values is not the bulk
        ([70.0, 71.0, 0.5], 71),  # the bulk itself is far from zero
    ],
)
def test_the_bulk_ends_at_a_large_gap_after_more_than_half_of_the_values(values, limit):
    assert bulk_limit(values) == limit


@pytest.mark.parametrize("factor", [1e-3, 0.01, 0.7, 3, 1000])
def test_scales_have_round_ticks_and_contain_the_values(factor):
    scale = fit_scale([-1.3 * factor, 0.4 * factor])
    assert scale.low <= -1.3 * factor
    assert 0.4 * factor <= scale.high
    assert 3 <= len(scale.ticks) <= 8
    assert any(tick == 0 for tick in scale.ticks)
