"""Statistics against hand arithmetic, against scipy.stats and statsmodels, and by simulation."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy import stats as reference
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from ablations import stats
from ablations.stats import StatisticsError

CLOSE = {"rel": 1e-9, "abs": 1e-9}

# Where cores are shared, an example may wait for one.
patiently = settings(deadline=None)
few = settings(max_examples=25, deadline=None)

# Accuracies on 10,000 pictures, as they come: hundredths of a percent.
percent = st.integers(0, 10_000).map(lambda pictures: pictures / 100)
outcomes = st.dictionaries(st.integers(0, 9), percent, max_size=8)
pairs = st.lists(st.tuples(percent, percent), min_size=2, max_size=12)
p_values = st.lists(st.none() | st.floats(0, 1), max_size=20)
deviations = st.floats(0.01, 50)
counts = st.integers(2, 60)


def by_seed(values, first=0) -> dict[int, float]:
    return dict(enumerate(values, start=first))


def both(found) -> tuple[dict[int, float], dict[int, float]]:
    """Pairs of a row's and the baseline's outcome, by seed."""
    return by_seed(row for row, _ in found), by_seed(baseline for _, baseline in found)


def approximately(value):
    """None stays None."""
    return value if value is None else pytest.approx(value, rel=1e-6, abs=1e-9)


# Spread


def test_spread_by_hand():
    # Mean 4; squares 4 + 0 + 4 over n - 1 = 2.
    assert stats.spread([2.0, 4.0, 6.0]) == stats.Spread(4.0, 2.0, 3, (2.0, 4.0, 6.0))
    assert stats.spread([2.0]) == stats.Spread(2.0, None, 1, (2.0,))
    assert stats.spread([]) is None
    assert stats.spread(np.array([2.0, 4.0])).std == pytest.approx(math.sqrt(2))


def test_five_seeds_or_fewer_show_their_points():
    assert stats.spread([1.0, 2.0, 3.0, 4.0, 5.0]).points == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert stats.spread([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).points == ()


def test_rounding_is_no_spread():
    """80.1 three times has a mean of 80.09999999999998 to a computer."""
    assert stats.spread([80.1] * 3).std == 0
    single = [float(np.float32(value)) for value in (80.1, 80.1 + 1e-9)]
    assert stats.spread(single).std == 0
    assert stats.spread([80.1, 80.102]).std == pytest.approx(0.002 / math.sqrt(2))


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


@patiently
@given(pairs)
def test_paired_agrees_with_scipy(found):
    row, baseline = both(found)
    ours = stats.paired_difference(row, baseline, 0.9)
    assume(not ours.constant)
    theirs = reference.ttest_rel(list(row.values()), list(baseline.values()))
    interval = theirs.confidence_interval(0.9)
    assert ours.p == pytest.approx(theirs.pvalue, **CLOSE)
    assert ours.df == theirs.df
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), **CLOSE)


@patiently
@given(pairs.filter(lambda found: len(found) > 2))
def test_correlation_agrees_with_scipy(found):
    row, baseline = both(found)
    ours = stats.paired_difference(row, baseline).correlation
    if len(set(row.values())) == 1 or len(set(baseline.values())) == 1:
        assert ours is None
    else:
        theirs = reference.pearsonr(list(row.values()), list(baseline.values())).statistic
        assert ours == pytest.approx(theirs, **CLOSE)


# Welch


def test_an_unpaired_difference_by_hand():
    found = stats.difference(by_seed([3.0, 5.0]), by_seed([1.0, 2.0, 3.0], first=5))
    # Variances 2 and 1, shares 2/2 and 1/3: error sqrt(4/3); df = (4/3)² / (1² / 1 + (1/3)² / 2).
    assert (found.mean, found.n, found.n_baseline, found.paired) == (2, 2, 3, False)
    assert found.standard_error == pytest.approx(math.sqrt(4 / 3))
    assert found.df == pytest.approx((16 / 9) / (1 + 1 / 18))
    assert found.correlation is None
    # The same error with one deviation on both sides: sqrt(4/3) = std sqrt(1/2 + 1/3).
    assert found.std == pytest.approx(math.sqrt(8 / 5))


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # of a side that is constant
@patiently
@given(st.lists(percent, min_size=2, max_size=9), st.lists(percent, min_size=2, max_size=9))
def test_welch_agrees_with_scipy(row, baseline):
    ours = stats.unpaired_difference(by_seed(row), by_seed(baseline), 0.99)
    assume(not ours.constant)
    theirs = reference.ttest_ind(row, baseline, equal_var=False)
    interval = theirs.confidence_interval(0.99)
    assert ours.p == pytest.approx(theirs.pvalue, **CLOSE)
    assert ours.df == pytest.approx(theirs.df, **CLOSE)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), **CLOSE)


# Which of the two


@pytest.mark.parametrize(
    ("row", "baseline", "paired", "n", "n_baseline", "interval"),
    [
        ([0, 1, 2], [0, 1, 2], True, 3, 3, True),
        ([0, 1, 2], [1, 2, 3, 4], True, 2, 2, True),  # over the common ones
        ([0, 1, 2], [2, 3, 4, 5], False, 3, 4, True),  # one common seed is no pairing
        ([0, 1], [5, 6, 7], False, 2, 3, True),
        ([0], [0], True, 1, 1, False),
        ([0], [0, 1, 2], True, 1, 1, False),
        ([0, 1, 2], [2], True, 1, 1, False),
        ([7], [0, 1, 2], False, 1, 3, False),
        ([7], [8], False, 1, 1, False),
    ],
)
def test_the_seeds_alone_choose_the_test(row, baseline, paired, n, n_baseline, interval):
    ours = {seed: 70 + seed**1.5 for seed in row}
    theirs = {seed: 60 + seed**0.5 for seed in baseline}
    found = stats.difference(ours, theirs)
    assert (found.paired, found.n, found.n_baseline) == (paired, n, n_baseline)
    assert found.constant is False
    told = [found.low, found.high, found.half_width, found.p, found.df, found.standard_error]
    assert all(item is not None for item in told) if interval else told == [None] * 6
    if paired:
        common = sorted(set(row) & set(baseline))
        mean = sum(ours[seed] - theirs[seed] for seed in common) / len(common)
    else:
        mean = sum(ours.values()) / len(ours) - sum(theirs.values()) / len(theirs)
    assert found.mean == pytest.approx(mean)


def test_no_seed_on_a_side_is_no_difference():
    for make in (stats.difference, stats.paired_difference, stats.unpaired_difference):
        assert make({}, {}) is None
        assert make({}, {0: 1.0}) is None
        assert make({0: 1.0, 1: 2.0}, {}) is None
    assert stats.paired_difference({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize("shift", [0.0, 0.1, 30.0])
@pytest.mark.parametrize("first", [0, 5])
def test_differences_that_do_not_vary_claim_nothing(shift, first):
    """80.1 - 80 is not 75.1 - 75 to a computer: without care, p would be 1e-15."""
    baseline = [80.0, 80.0, 80.0] if first else [80.0, 75.0, 81.3]
    found = stats.difference(
        by_seed([value + shift for value in baseline]), by_seed(baseline, first)
    )
    assert found.mean == pytest.approx(shift)
    assert (found.low, found.high, found.half_width, found.p) == (None,) * 4
    assert found.constant
    assert (found.standard_error, found.std) == (0, 0)
    assert stats.equivalence(found, 50.0) is None


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


@patiently
@given(outcomes, outcomes, st.integers(-50, 50))
def test_a_shift_of_both_sides_changes_nothing_and_one_of_the_row_only_the_mean(
    row, baseline, shift
):
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


@patiently
@given(outcomes, outcomes)
def test_swapping_the_sides_turns_the_sign(row, baseline):
    found, turned = stats.difference(row, baseline), stats.difference(baseline, row)
    assume(found is not None)
    assert turned.mean == pytest.approx(-found.mean)
    assert (turned.n, turned.n_baseline) == (found.n_baseline, found.n)
    assert turned.p == approximately(found.p)
    assert turned.correlation == approximately(found.correlation)
    if found.low is not None:
        assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
        assert stats.equivalence(turned, 1.0) == pytest.approx(stats.equivalence(found, 1.0))


@patiently
@given(outcomes, outcomes, st.floats(0.5, 0.999))
def test_the_interval_holds_zero_where_p_is_above_alpha(row, baseline, confidence):
    found = stats.difference(row, baseline, confidence)
    assume(found is not None and found.p is not None)
    assume(abs(found.p - (1 - confidence)) > 1e-9)
    assert 0 <= found.p <= 1
    assert (found.low <= 0 <= found.high) == (found.p > 1 - confidence)
    assert found.low <= found.mean <= found.high
    assert stats.difference(row, baseline, (1 + confidence) / 2).half_width >= found.half_width


@patiently
@given(outcomes, outcomes)
def test_nothing_is_ever_nan(row, baseline):
    found = stats.difference(row, baseline)
    if found is not None:
        numbers = [value for value in vars(found).values() if value is not None]
        assert all(math.isfinite(number) for number in numbers)


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
    p = [stats.equivalence(stats.difference(*study), 1.5) for study in studies(6, 1.5)]
    assert sum(value <= 0.05 for value in p) / STUDIES == pytest.approx(0.05, abs=TOLERANCE)


# Equivalence


def test_equivalence_by_hand():
    found = stats.difference(by_seed([78.0, 80.0, 80.0]), by_seed([80.0, 81.0, 83.0]))
    # Difference -2, error 1 / sqrt(3), against -3: t = sqrt(3), two degrees; upper tail of it.
    assert stats.equivalence(found, 3.0) == pytest.approx((1 - math.sqrt(3 / 5)) / 2)
    assert stats.equivalence(found, 2.0) == pytest.approx(0.5)
    assert stats.equivalence(found, 1.0) > 0.5
    one = stats.difference({0: 1.0}, {0: 1.0})
    assert stats.equivalence(one, 1.0) is None


@patiently
@given(pairs, st.floats(0.01, 100))
def test_equivalence_agrees_with_statsmodels(found, margin):
    row, baseline = both(found)
    ours, theirs = list(row.values()), list(baseline.values())
    paired = stats.paired_difference(row, baseline)
    if not paired.constant:
        p = ttost_paired(np.array(ours), np.array(theirs), -margin, margin)[0]
        assert stats.equivalence(paired, margin) == pytest.approx(p, **CLOSE)
    unpaired = stats.unpaired_difference(row, baseline)
    if not unpaired.constant:
        p = ttost_ind(np.array(ours), np.array(theirs), -margin, margin, usevar="unequal")[0]
        assert stats.equivalence(unpaired, margin) == pytest.approx(p, **CLOSE)


@patiently
@given(outcomes, outcomes, st.floats(0.1, 100))
def test_equivalence_is_a_90_percent_interval_within_the_margin(row, baseline, margin):
    found = stats.difference(row, baseline, 0.9)
    assume(found is not None and found.p is not None)
    p = stats.equivalence(found, margin)
    assume(abs(p - 0.05) > 1e-9)
    assert (p < 0.05) == (-margin < found.low and found.high < margin)
    assert stats.equivalence(found, 2 * margin) <= p


# Holm


def test_holm_by_hand():
    # Smallest times 3, then times 2, then as it is; never below the one before, never above 1.
    assert stats.holm([0.03, None, 0.01, 0.02]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert stats.holm([0.5, 0.6]) == [1.0, 1.0]
    assert stats.holm([0.04]) == [0.04]
    assert stats.holm([None, None]) == [None, None]
    assert stats.holm([]) == []


@patiently
@given(p_values)
def test_holm_never_lowers_a_p_value_nor_changes_their_order(values):
    corrected = stats.holm(values)
    assert [item is None for item in corrected] == [item is None for item in values]
    raw = [p for p in values if p is not None]
    held = [p for p in corrected if p is not None]
    assert all(p <= q <= 1 for p, q in zip(raw, held, strict=True))
    in_order = [q for _, q in sorted(zip(raw, held, strict=True))]
    assert in_order == sorted(in_order)
    assert stats.holm(values[::-1]) == corrected[::-1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=12, deadline=None)  # multipletests takes long
def test_holm_agrees_with_statsmodels(values):
    theirs = multipletests(values, method="holm")[1]
    assert stats.holm(values) == pytest.approx(list(theirs), **CLOSE)


# Power


def test_power_by_the_tables_of_textbooks():
    # Cohen 1988: a medium effect (half a deviation) takes 34 pairs, or 64 on each side.
    assert stats.seeds_needed(0.5, 1.0) == 34
    assert stats.seeds_needed(-1.0, 2.0, paired=False) == 64
    assert stats.minimum_effect(2.0, 34) == pytest.approx(1.0, rel=0.02)
    # With many seeds: (1.959964 + 0.841621) deviations of the mean.
    assert stats.minimum_effect(1.0, 10**6) == pytest.approx(2.801585e-3, rel=1e-5)
    assert stats.minimum_effect(1.0, 10**6, 10**6) == pytest.approx(2.801585e-3 * 2**0.5, rel=1e-5)
    # No effect is found as often as alpha says.
    assert stats.detection_power(0.0, 1.0, 5) == pytest.approx(0.05)


@patiently
@given(st.floats(0.05, 5), st.floats(0.1, 2), counts, st.none() | counts)
def test_power_agrees_with_statsmodels(effect, std, n, n_baseline):
    if n_baseline is None:
        theirs = TTestPower().power(effect / std, n, 0.05)
    else:
        theirs = TTestIndPower().power(effect / std, n, 0.05, ratio=n_baseline / n)
    assume(not math.isnan(theirs))  # statsmodels gives up where a tail is too small
    ours = stats.detection_power(-effect, std, n, n_baseline)
    assert ours == pytest.approx(theirs, **CLOSE)


@pytest.mark.parametrize("n", [3, 4, 5, 10, 50])
def test_minimum_effect_and_seeds_agree_with_what_statsmodels_solves(n):
    paired = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    apart = TTestIndPower().solve_power(nobs1=n, alpha=0.05, power=0.8)
    assert stats.minimum_effect(1.0, n) == pytest.approx(paired, rel=1e-5)
    assert stats.minimum_effect(1.0, n, n) == pytest.approx(apart, rel=1e-5)
    for effect in (0.3, 0.7):
        needed = TTestPower().solve_power(effect_size=effect, alpha=0.05, power=0.8)
        assert stats.seeds_needed(effect, 1.0) == math.ceil(needed)
        needed = TTestIndPower().solve_power(effect_size=effect, alpha=0.05, power=0.8)
        assert stats.seeds_needed(effect, 1.0, paired=False) == math.ceil(needed)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 13, 1e-5, 1e-8])
@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_minimum_effect_holds_for_alphas_that_statsmodels_does_not_solve(n, alpha):
    """By the definition: a normal number beyond the critical value times a chi over sqrt(df)."""
    shift = stats.minimum_effect(1.0, n, alpha=alpha) * math.sqrt(n)
    df, critical = n - 1, reference.t.isf(alpha / 2, n - 1)

    def density(chi: float) -> float:
        beyond = reference.norm.sf(critical * chi / math.sqrt(df) - shift)
        return reference.chi.pdf(chi, df) * beyond

    turn = shift * math.sqrt(df) / critical  # the integrand falls here, steeply
    parts = [integrate.quad(density, *ends)[0] for ends in ((0, turn), (turn, turn + 20))]
    # The other tail is part of the power and not of this integral: 1e-5 at most.
    assert sum(parts) == pytest.approx(0.8, abs=2e-5)


@patiently
@given(deviations, counts, st.booleans())
def test_minimum_effect_falls_with_n_and_scales_with_the_deviation(std, n, paired):
    effect = stats.minimum_effect(std, n, None if paired else n)
    assert stats.minimum_effect(std, n + 1, None if paired else n + 1) < effect
    assert stats.minimum_effect(2 * std, n, None if paired else n) == pytest.approx(2 * effect)
    assert stats.minimum_effect(std, n, None if paired else n, alpha=0.01) > effect
    assert stats.minimum_effect(std, n, None if paired else n, power=0.9) > effect
    power = stats.detection_power(effect, std, n, None if paired else n)
    assert power == pytest.approx(0.8, abs=1e-9)


@patiently
@given(deviations, counts, st.booleans())
def test_seeds_needed_for_the_minimum_effect_of_n_seeds_are_n(std, n, paired):
    effect = stats.minimum_effect(std, n, None if paired else n)
    assert stats.seeds_needed(effect, std, paired) == n
    assert stats.seeds_needed(-effect * 0.999, std, paired) == n + 1


@given(st.floats(0.02, 20), st.floats(0.1, 5), st.booleans())
@few
def test_seeds_needed_are_the_fewest(effect, std, paired):
    n = stats.seeds_needed(effect, std, paired)
    assert n >= 2
    assert stats.minimum_effect(std, n, None if paired else n) <= effect * (1 + 1e-9)
    if n > 2:
        assert stats.minimum_effect(std, n - 1, None if paired else n - 1) > effect


def test_no_plan_without_spread_or_effect():
    assert stats.minimum_effect(0.0, 5) is None
    assert stats.minimum_effect(1.0, 1) is None
    assert stats.minimum_effect(1.0, 5, 1) is None
    assert stats.detection_power(1.0, 0.0, 5) is None
    assert stats.seeds_needed(0.0, 1.0) is None
    assert stats.seeds_needed(1.0, 0.0) is None
    assert stats.seeds_needed(1e-9, 1.0) is None  # more than a million
    assert stats.seeds_needed(1e9, 1.0) == 2


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("effect", [0.0, 0.1, -0.3])
def test_seeds_for_equivalence_are_the_fewest_that_show_it(effect, paired):
    """By simulation: 80% of 400,000 studies of n seeds reject, and fewer of n - 1."""
    n = stats.equivalence_seeds(effect, 0.3, 0.5, paired)
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
    assert stats.equivalence_seeds(0.0, 1.0, 0.1) == pytest.approx(858, abs=1)
    # Near one end, the other does not matter: (1.6449 + 0.8416)² / 0.1² = 619.
    assert stats.equivalence_seeds(0.4, 1.0, 0.5) == pytest.approx(620, abs=1)
    assert stats.equivalence_seeds(0.0, 0.0, 0.5) is None
    assert stats.equivalence_seeds(0.5 - 1e-9, 1.0, 0.5) is None  # more than a million
    assert stats.equivalence_seeds(0.0, 1e-9, 0.5) == 2


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


# What is refused


NAN, INF = math.nan, math.inf
BAD = {
    "value 2 of 3 is nan": lambda: stats.spread([1.0, NAN, 2.0]),
    "value 1 of 1 is inf": lambda: stats.spread([INF]),
    "row, seed 3 is nan": lambda: stats.difference({3: NAN, 4: 1.0}, {3: 1.0, 4: 2.0}),
    "baseline, seed 9 is -inf": lambda: stats.difference({3: 1.0}, {3: 1.0, 9: -INF}),
    "row, seed 4 is nan": lambda: stats.paired_difference({3: 1.0, 4: NAN}, {3: 1.0}),
    "baseline, seed 1 is nan": lambda: stats.unpaired_difference({0: 1.0}, {1: NAN}),
    "confidence 95 must": lambda: stats.difference({0: 1.0}, {0: 1.0}, 95),
    "confidence 1 must": lambda: stats.bootstrap_interval([1.0], np.random.default_rng(), 1),
    "value 1 of 2 is nan": lambda: stats.bootstrap_interval([NAN, 1.0], np.random.default_rng()),
    "p-value 2 of 2 is nan": lambda: stats.holm([0.1, NAN]),
    "p-value 1 of 1 is -0.1": lambda: stats.holm([-0.1]),
    "p-value 1 of 1 is 1.1": lambda: stats.holm([1.1]),
    "margin 0 must": lambda: stats.equivalence(stats.difference({0: 1.0}, {0: 1.0}), 0),
    "margin nan must": lambda: stats.equivalence(stats.difference({0: 1.0}, {0: 1.0}), NAN),
    "standard deviation -1 must": lambda: stats.minimum_effect(-1, 5),
    "standard deviation nan must": lambda: stats.seeds_needed(1.0, NAN),
    "alpha 0 must": lambda: stats.minimum_effect(1.0, 5, alpha=0),
    "power 0.04 must": lambda: stats.minimum_effect(1.0, 5, power=0.04),
    "power 1 must": lambda: stats.seeds_needed(1.0, 1.0, power=1),
    "effect 0.5 must lie within": lambda: stats.equivalence_seeds(0.5, 1.0, 0.5),
    "effect nan must": lambda: stats.seeds_needed(NAN, 1.0),
    "effect inf must": lambda: stats.detection_power(INF, 1.0, 5),
}


@pytest.mark.parametrize("told", BAD)
def test_what_is_no_number_or_no_probability_is_refused_by_name(told):
    with pytest.raises(StatisticsError, match=told) as caught:
        BAD[told]()
    assert "\n" not in str(caught.value)


# Time


def test_importing_is_light():
    code = """
import sys, ablations.stats
heavy = {"scipy.stats", "scipy.optimize", "statsmodels", "pandas"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
