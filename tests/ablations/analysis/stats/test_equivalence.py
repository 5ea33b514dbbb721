"""Equivalence: by hand, against statsmodels, and the seeds that it takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from ablations.analysis import stats
from tests.factories.samples import both, by_seed, no_deadline, pairs


def test_an_interval_within_the_margin_shows_equivalence():
    found = stats.difference(by_seed([79.9, 81.0, 83.1]), by_seed([80.0, 81.0, 83.0]))
    # 0 ± 4.302653 * 0.1 / sqrt(3)
    assert found.half_width == pytest.approx(0.248414, rel=1e-6)
    assert found.within(0.25)
    assert not found.within(0.24)
    assert not stats.difference({0: 1.0}, {0: 1.0}).within(5)  # one seed has no interval


@no_deadline
@given(pairs, st.floats(0.01, 100))
def test_equivalence_agrees_with_statsmodels(found, margin):
    """An interval of 90% lies within the margin where two one-sided tests at 5% reject."""
    row, baseline = both(found)
    ours, theirs = np.array(list(row.values())), np.array(list(baseline.values()))
    paired = stats.paired_difference(row, baseline, 0.9)
    if not paired.constant:
        p, *_ = ttost_paired(ours, theirs, -margin, margin)
        assert paired.within(margin) == (p < 0.05)
    unpaired = stats.unpaired_difference(row, baseline, 0.9)
    if not unpaired.constant:
        p, *_ = ttost_ind(ours, theirs, -margin, margin, usevar="unequal")
        assert unpaired.within(margin) == (p < 0.05)


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
