"""Paired and unpaired differences: by hand, against scipy, and their properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as reference

from ablations.analysis import stats
from tests.factories.samples import CLOSE, both, by_seed, no_deadline, outcomes, pairs, percentages


def approximately(value):
    """pytest.approx, and None for None."""
    return value if value is None else pytest.approx(value, rel=1e-6, abs=1e-9)


# Paired


def test_a_paired_difference_by_hand():
    found = stats.difference(by_seed([78.0, 80.0, 80.0]), by_seed([80.0, 81.0, 83.0]))
    # Differences -2, -1, -3: mean -2, deviation 1; t(0.975, 2 degrees) = 4.302653.
    assert (found.mean, found.n, found.n_baseline, found.paired) == (-2, 3, 3, True)
    assert found.std == pytest.approx(1)
    assert found.standard_error == pytest.approx(1 / 3**0.5)
    assert found.df == 2
    assert found.half_width == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((-4.484138, 0.484138), rel=1e-6)
    # With two degrees, P(|T| > t) = 1 - t / sqrt(2 + t²), and t = -2 sqrt(3).
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14), rel=1e-12)
    # Deviations from the means: (-4/3, 2/3, 2/3) and (-4/3, -1/3, 5/3).
    assert found.correlation == pytest.approx((16 - 2 + 10) / math.sqrt(24 * 42))


@no_deadline
@given(pairs)
def test_paired_agrees_with_scipy(found):
    row, baseline = both(found)
    result = stats.paired_difference(row, baseline, 0.9)
    assume(not result.constant)
    expected = reference.ttest_rel(list(row.values()), list(baseline.values()))
    interval = expected.confidence_interval(0.9)
    assert result.p == pytest.approx(expected.pvalue, **CLOSE)
    assert result.df == expected.df
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), **CLOSE)


@no_deadline
@given(pairs.filter(lambda found: len(found) > 2))
def test_correlation_agrees_with_scipy(found):
    row, baseline = both(found)
    result = stats.paired_difference(row, baseline).correlation
    if len(set(row.values())) == 1 or len(set(baseline.values())) == 1:
        assert result is None
    else:
        expected = reference.pearsonr(list(row.values()), list(baseline.values())).statistic
        assert result == pytest.approx(expected, **CLOSE)


# Welch


def test_an_unpaired_difference_by_hand():
    found = stats.difference(by_seed([3.0, 5.0]), by_seed([1.0, 2.0, 3.0], first=5))
    # Variances 2 and 1, shares 2/2 and 1/3: error sqrt(4/3); df = (4/3)² / (1² / 1 + (1/3)² / 2).
    assert (found.mean, found.n, found.n_baseline, found.paired) == (2, 2, 3, False)
    assert found.standard_error == pytest.approx(math.sqrt(4 / 3))
    assert found.df == pytest.approx((16 / 9) / (1 + 1 / 18))
    assert found.correlation is None
    # The baseline's share of the squared error, and the mean of the two variances.
    assert found.baseline_share == pytest.approx(math.sqrt(1 / 4))
    assert found.std == pytest.approx(math.sqrt(3 / 2))


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # of a side that is constant
@no_deadline
@given(st.lists(percentages, min_size=2, max_size=9), st.lists(percentages, min_size=2, max_size=9))
def test_welch_agrees_with_scipy(row, baseline):
    result = stats.unpaired_difference(by_seed(row), by_seed(baseline), 0.99)
    assume(not result.constant)
    expected = reference.ttest_ind(row, baseline, equal_var=False)
    interval = expected.confidence_interval(0.99)
    assert result.p == pytest.approx(expected.pvalue, **CLOSE)
    assert result.df == pytest.approx(expected.df, **CLOSE)
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high), **CLOSE)


# The choice of the test


@pytest.mark.parametrize(
    ("row", "baseline", "paired", "n", "n_baseline", "interval"),
    [
        ([0, 1, 2], [0, 1, 2], True, 3, 3, True),
        ([0, 1, 2], [1, 2, 3, 4], True, 2, 2, True),  # over the common ones
        ([0, 1, 2], [2, 3, 4, 5], False, 3, 4, True),  # one common seed is not enough to pair
        ([0, 1], [5, 6, 7], False, 2, 3, True),
        ([0], [0], True, 1, 1, False),
        ([0], [0, 1, 2], True, 1, 1, False),
        ([0, 1, 2], [2], True, 1, 1, False),
        ([7], [0, 1, 2], False, 1, 3, False),
        ([7], [8], False, 1, 1, False),
    ],
)
def test_the_test_depends_on_the_seeds_only(row, baseline, paired, n, n_baseline, interval):
    row_values = {seed: 70 + seed**1.5 for seed in row}
    baseline_values = {seed: 60 + seed**0.5 for seed in baseline}
    found = stats.difference(row_values, baseline_values)
    assert (found.paired, found.n, found.n_baseline) == (paired, n, n_baseline)
    assert found.constant is False
    seen = [found.low, found.high, found.half_width, found.p, found.df, found.standard_error]
    assert all(item is not None for item in seen) if interval else seen == [None] * 6
    if paired:
        common = sorted(set(row) & set(baseline))
        mean = sum(row_values[seed] - baseline_values[seed] for seed in common) / len(common)
    else:
        mean = sum(row_values.values()) / len(row_values) - sum(baseline_values.values()) / len(
            baseline_values
        )
    assert found.mean == pytest.approx(mean)


def test_without_seeds_on_one_side_there_is_no_difference():
    for make in (stats.difference, stats.paired_difference, stats.unpaired_difference):
        assert make({}, {}) is None
        assert make({}, {0: 1.0}) is None
        assert make({0: 1.0, 1: 2.0}, {}) is None
    assert stats.paired_difference({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize("shift", [0.0, 0.1, 30.0])
@pytest.mark.parametrize("first", [0, 5])
def test_constant_differences_have_no_interval(shift, first):
    """In floating point 80.1 - 80 is not 75.1 - 75, which would give p = 1e-15."""
    baseline = [80.0, 80.0, 80.0] if first else [80.0, 75.0, 81.3]
    found = stats.difference(
        by_seed([value + shift for value in baseline]), by_seed(baseline, first)
    )
    assert found.mean == pytest.approx(shift)
    assert (found.low, found.high, found.half_width, found.p) == (None,) * 4
    assert found.constant
    assert (found.standard_error, found.std) == (0, 0)
    assert not found.within(50.0)


def test_two_pairs_have_an_interval_but_no_correlation():
    found = stats.difference({0: 2.0, 1: 5.0}, {0: 1.0, 1: 2.0})
    # Differences 1 and 3: mean 2, error 1; one degree is Cauchy: P(|T| > 2) = 1 - 2 atan(2) / pi.
    assert found.correlation is None
    assert found.half_width == pytest.approx(math.tan(math.pi * 0.475))
    assert found.p == pytest.approx(1 - 2 * math.atan(2) / math.pi)


def test_a_constant_side_has_no_correlation():
    found = stats.difference(by_seed([70.1] * 3), by_seed([1.0, 2.0, 4.0]))
    assert found.correlation is None
    assert found.p is not None
    unpaired = stats.unpaired_difference(by_seed([70.1] * 3), by_seed([1.0, 2.0, 4.0]))
    assert unpaired.df == pytest.approx(2)  # all the error is the baseline's


# Properties of both


@no_deadline
@given(outcomes, outcomes, st.integers(-50, 50))
def test_a_common_shift_changes_nothing_and_a_shift_of_the_row_only_the_mean(row, baseline, shift):
    found = stats.difference(row, baseline)
    assume(found is not None)
    moved = {seed: value + shift for seed, value in row.items()}
    base = {seed: value + shift for seed, value in baseline.items()}
    same, higher = stats.difference(moved, base), stats.difference(moved, baseline)
    assert same.mean == pytest.approx(found.mean, abs=1e-9)
    assert higher.mean == pytest.approx(found.mean + shift, abs=1e-9)
    for other in (same, higher):
        assert (other.n, other.n_baseline, other.paired) == (
            found.n,
            found.n_baseline,
            found.paired,
        )
        for name in ("half_width", "correlation", "df", "standard_error"):
            assert getattr(other, name) == approximately(getattr(found, name))
    assert same.p == approximately(found.p)


@no_deadline
@given(outcomes, outcomes)
def test_swapping_the_sides_changes_the_sign(row, baseline):
    found, swapped = stats.difference(row, baseline), stats.difference(baseline, row)
    assume(found is not None)
    assert swapped.mean == pytest.approx(-found.mean)
    assert (swapped.n, swapped.n_baseline) == (found.n_baseline, found.n)
    assert swapped.p == approximately(found.p)
    assert swapped.correlation == approximately(found.correlation)
    if found.low is not None:
        assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))
        assert swapped.within(1.0) == found.within(1.0)


@no_deadline
@given(outcomes, outcomes, st.floats(0.5, 0.999))
def test_the_interval_contains_zero_where_p_is_above_alpha(row, baseline, confidence):
    found = stats.difference(row, baseline, confidence)
    assume(found is not None and found.p is not None)
    assume(abs(found.p - (1 - confidence)) > 1e-9)
    assert 0 <= found.p <= 1
    assert (found.low <= 0 <= found.high) == (found.p > 1 - confidence)
    assert found.low <= found.mean <= found.high
    assert stats.difference(row, baseline, (1 + confidence) / 2).half_width >= found.half_width


@no_deadline
@given(outcomes, outcomes)
def test_all_numbers_are_finite(row, baseline):
    found = stats.difference(row, baseline)
    if found is not None:
        numbers = [value for value in vars(found).values() if value is not None]
        assert all(math.isfinite(number) for number in numbers)
