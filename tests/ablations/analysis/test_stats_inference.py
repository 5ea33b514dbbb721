"""What may be said of differences: coverage, equivalence, Holm's correction, the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as reference
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from ablations.analysis import stats
from tests.factories.samples import CLOSE, both, by_seed, few, outcomes, pairs, patiently, percent

p_values = st.lists(st.none() | st.floats(0, 1), max_size=20)


# Simulation: with 4,000 studies a share of 5% is known to ±1.4 points (four standard errors).

STUDIES = 4000
TOLERANCE = 4 * math.sqrt(0.05 * 0.95 / STUDIES)


def studies(n, effect=0.0, n_baseline=None, seed=0):
    """Studies of n seeds: a seed's luck (0.4 points) is shared, the rest (0.3) is not."""
    generator = np.random.default_rng(seed)
    for _ in range(STUDIES):
        luck = generator.normal(77.0, 0.4, n)
        row = by_seed(luck + effect + generator.normal(0, 0.3, n))
        if n_baseline is None:
            yield row, by_seed(luck + generator.normal(0, 0.3, n))
        else:
            yield row, by_seed(generator.normal(77.0, 1.5, n_baseline), first=n)


@pytest.mark.parametrize(("n", "n_baseline"), [(2, None), (3, None), (5, None), (5, 8)])
def test_the_95_percent_interval_covers_95_percent(n, n_baseline):
    found = [stats.difference(*study) for study in studies(n, 0.7, n_baseline)]
    assert {item.paired for item in found} == {n_baseline is None}
    covered = sum(item.low <= 0.7 <= item.high for item in found) / STUDIES
    assert covered == pytest.approx(0.95, abs=TOLERANCE)


def test_pairing_narrows_where_seeds_share_their_luck():
    found = [stats.paired_difference(*study) for study in studies(5)]
    apart = [stats.unpaired_difference(*study) for study in studies(5)]
    correlation = np.median([item.correlation for item in found])
    assert correlation == pytest.approx(0.4**2 / (0.4**2 + 0.3**2), abs=0.1)  # 0.64
    assert np.median([item.std for item in found]) < 0.8 * np.median(
        [item.std * 2**0.5 for item in apart]
    )


def test_an_effect_of_the_minimum_is_found_with_80_percent():
    effect = stats.minimum_effect(0.3 * 2**0.5, 4)
    found = sum(stats.difference(*study).p <= 0.05 for study in studies(4, effect)) / STUDIES
    assert found == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / STUDIES))


def test_equivalence_is_rarely_claimed_of_a_difference_as_large_as_the_margin():
    p = [stats.equivalence_p_value(stats.difference(*study), 1.5) for study in studies(6, 1.5)]
    assert sum(value <= 0.05 for value in p) / STUDIES == pytest.approx(0.05, abs=TOLERANCE)


# Equivalence


def test_equivalence_by_hand():
    found = stats.difference(by_seed([78.0, 80.0, 80.0]), by_seed([80.0, 81.0, 83.0]))
    # Difference -2, error 1 / sqrt(3), against -3: t = sqrt(3), two degrees; upper tail of it.
    assert stats.equivalence_p_value(found, 3.0) == pytest.approx((1 - math.sqrt(3 / 5)) / 2)
    assert stats.equivalence_p_value(found, 2.0) == pytest.approx(0.5)
    assert stats.equivalence_p_value(found, 1.0) > 0.5
    one = stats.difference({0: 1.0}, {0: 1.0})
    assert stats.equivalence_p_value(one, 1.0) is None


@patiently
@given(pairs, st.floats(0.01, 100))
def test_equivalence_agrees_with_statsmodels(found, margin):
    row, baseline = both(found)
    ours, theirs = list(row.values()), list(baseline.values())
    paired = stats.paired_difference(row, baseline)
    if not paired.constant:
        p = ttost_paired(np.array(ours), np.array(theirs), -margin, margin)[0]
        assert stats.equivalence_p_value(paired, margin) == pytest.approx(p, **CLOSE)
    unpaired = stats.unpaired_difference(row, baseline)
    if not unpaired.constant:
        p = ttost_ind(np.array(ours), np.array(theirs), -margin, margin, usevar="unequal")[0]
        assert stats.equivalence_p_value(unpaired, margin) == pytest.approx(p, **CLOSE)


@patiently
@given(outcomes, outcomes, st.floats(0.1, 100))
def test_equivalence_is_a_90_percent_interval_within_the_margin(row, baseline, margin):
    found = stats.difference(row, baseline, 0.9)
    assume(found is not None and found.p is not None)
    p = stats.equivalence_p_value(found, margin)
    assume(abs(p - 0.05) > 1e-9)
    assert (p < 0.05) == (-margin < found.low and found.high < margin)
    assert stats.equivalence_p_value(found, 2 * margin) <= p


# Holm


def test_holm_by_hand():
    # Smallest times 3, then times 2, then as it is; never below the one before, never above 1.
    assert stats.holm_correction([0.03, None, 0.01, 0.02]) == pytest.approx(
        [0.04, None, 0.03, 0.04]
    )
    assert stats.holm_correction([0.5, 0.6]) == [1.0, 1.0]
    assert stats.holm_correction([0.04]) == [0.04]
    assert stats.holm_correction([None, None]) == [None, None]
    assert stats.holm_correction([]) == []


@patiently
@given(p_values)
def test_holm_never_lowers_a_p_value_nor_changes_their_order(values):
    corrected = stats.holm_correction(values)
    assert [item is None for item in corrected] == [item is None for item in values]
    raw = [p for p in values if p is not None]
    held = [p for p in corrected if p is not None]
    assert all(p <= q <= 1 for p, q in zip(raw, held, strict=True))
    in_order = [q for _, q in sorted(zip(raw, held, strict=True))]
    assert in_order == sorted(in_order)
    assert stats.holm_correction(values[::-1]) == corrected[::-1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=12, deadline=None)  # multipletests takes long
def test_holm_agrees_with_statsmodels(values):
    theirs = multipletests(values, method="holm")[1]
    assert stats.holm_correction(values) == pytest.approx(list(theirs), **CLOSE)


# Bootstrap


def test_a_bootstrap_interval_is_scipys_and_of_its_seed():
    values = [77.131, 77.402, 76.834, 77.917, 77.288, 77.35]
    found = stats.bootstrap_interval(values, np.random.default_rng(3))
    assert found == stats.bootstrap_interval(values, np.random.default_rng(3))
    assert found != stats.bootstrap_interval(values, np.random.default_rng(4))
    theirs = reference.bootstrap((values,), np.mean, rng=np.random.default_rng(3))
    interval = theirs.confidence_interval
    assert found == pytest.approx((interval.low, interval.high), **CLOSE)
    low, high = found
    assert min(values) < low < np.mean(values) < high < max(values)
    wider = stats.bootstrap_interval(values, np.random.default_rng(3), confidence=0.99)
    assert wider[0] < low < high < wider[1]


def test_a_bootstrap_interval_of_many_normal_values_is_the_t_interval():
    values = np.random.default_rng(0).normal(77.0, 0.5, 400)
    half = 1.966 * values.std(ddof=1) / 20
    low, high = stats.bootstrap_interval(values, np.random.default_rng(0))
    assert (low, high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )


@given(st.lists(percent, max_size=6))
@few
def test_a_bootstrap_interval_stays_within_what_was_seen(values):
    found = stats.bootstrap_interval(values, np.random.default_rng(0), resamples=999)
    if len(set(values)) < 2:
        assert found is None
    else:
        assert min(values) - 1e-9 <= found[0] <= found[1] <= max(values) + 1e-9
