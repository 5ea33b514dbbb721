"""Equivalence tests: computed by hand, against statsmodels, against the 90% interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from ablations.analysis import stats
from tests.factories.samples import CLOSE, both, by_seed, no_deadline, outcomes, pairs


def test_equivalence_by_hand():
    found = stats.difference(by_seed([78.0, 80.0, 80.0]), by_seed([80.0, 81.0, 83.0]))
    # Difference -2, error 1 / sqrt(3), against -3: t = sqrt(3), two degrees; upper tail of it.
    assert stats.equivalence_p_value(found, 3.0) == pytest.approx((1 - math.sqrt(3 / 5)) / 2)
    assert stats.equivalence_p_value(found, 2.0) == pytest.approx(0.5)
    assert stats.equivalence_p_value(found, 1.0) > 0.5
    one = stats.difference({0: 1.0}, {0: 1.0})
    assert stats.equivalence_p_value(one, 1.0) is None


@no_deadline
@given(pairs, st.floats(0.01, 100))
def test_equivalence_agrees_with_statsmodels(found, margin):
    row, baseline = both(found)
    row_values, baseline_values = list(row.values()), list(baseline.values())
    paired = stats.paired_difference(row, baseline)
    if not paired.constant:
        p = ttost_paired(np.array(row_values), np.array(baseline_values), -margin, margin)[0]
        assert stats.equivalence_p_value(paired, margin) == pytest.approx(p, **CLOSE)
    unpaired = stats.unpaired_difference(row, baseline)
    if not unpaired.constant:
        p = ttost_ind(
            np.array(row_values), np.array(baseline_values), -margin, margin, usevar="unequal"
        )[0]
        assert stats.equivalence_p_value(unpaired, margin) == pytest.approx(p, **CLOSE)


@no_deadline
@given(outcomes, outcomes, st.floats(0.1, 100))
def test_equivalence_is_a_90_percent_interval_within_the_margin(row, baseline, margin):
    found = stats.difference(row, baseline, 0.9)
    assume(found is not None and found.p is not None)
    p = stats.equivalence_p_value(found, margin)
    assume(abs(p - 0.05) > 1e-9)
    assert (p < 0.05) == (-margin < found.low and found.high < margin)
    assert stats.equivalence_p_value(found, 2 * margin) <= p


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("effect", [0.0, 0.1, -0.3])
def test_seeds_for_equivalence_are_the_fewest_that_show_it(effect, paired):
    """By simulation: 80% of 400,000 studies of n seeds reject, and fewer of n - 1."""
    n = stats.seeds_for_equivalence(effect, 0.3, 0.5, paired)
    generator = np.random.default_rng(5)

    def shown(n: int) -> float:
        df = n - 1 if paired else 2 * n - 2
        scale = math.sqrt(1 / n if paired else 2 / n)
        means = generator.normal(effect, 0.3 * scale, 400_000)
        errors = 0.3 * scale * np.sqrt(generator.chisquare(df, 400_000) / df)
        return np.mean(np.abs(means) + reference.t.isf(0.05, df) * errors < 0.5)

    assert shown(n) > 0.797
    assert shown(n - 1) < 0.8


def test_seeds_for_equivalence_by_the_normal_distribution():
    # Of no difference, both ends at 5%: (1.6449 + 1.2816)² / 0.1² = 857, and the t a little more.
    assert stats.seeds_for_equivalence(0.0, 1.0, 0.1) == pytest.approx(858, abs=1)
    # Near one end, the other does not matter: (1.6449 + 0.8416)² / 0.1² = 619.
    assert stats.seeds_for_equivalence(0.4, 1.0, 0.5) == pytest.approx(620, abs=1)
    assert stats.seeds_for_equivalence(0.0, 0.0, 0.5) is None
    assert stats.seeds_for_equivalence(0.5 - 1e-9, 1.0, 0.5) is None  # more than a million
    assert stats.seeds_for_equivalence(0.0, 1e-9, 0.5) == 2
    # Below a million, though power (1 + 0.3) / 2 at the nearer end alone would take more.
    assert stats.seeds_for_equivalence(0.45, 30.0, 0.5, power=0.3) == 445_192
