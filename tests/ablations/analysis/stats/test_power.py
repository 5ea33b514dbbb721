"""Power: the smallest detectable effect, and the number of seeds that an effect takes."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate
from scipy import stats as reference
from statsmodels.stats.power import TTestIndPower, TTestPower

from ablations.analysis import stats
from tests.factories.samples import CLOSE, few_examples, no_deadline

deviations = st.floats(0.01, 50)
counts = st.integers(2, 60)


def test_power_agrees_with_textbook_tables():
    # Cohen 1988: a medium effect (half a deviation) takes 34 pairs, or 64 on each side.
    assert stats.seeds_needed(0.5, 1.0) == 34
    assert stats.seeds_needed(-1.0, 2.0, paired=False) == 64
    assert stats.minimum_effect(2.0, 34) == pytest.approx(1.0, rel=0.02)
    # With many seeds: (1.959964 + 0.841621) deviations of the mean.
    assert stats.minimum_effect(1.0, 10**6) == pytest.approx(2.801585e-3, rel=1e-5)
    assert stats.minimum_effect(1.0, 10**6, 10**6) == pytest.approx(2.801585e-3 * 2**0.5, rel=1e-5)
    # Without an effect the power is alpha.
    assert stats.detection_power(0.0, 1.0, 5) == pytest.approx(0.05)


@no_deadline
@given(st.floats(0.05, 5), st.floats(0.1, 2), counts, st.none() | counts)
def test_power_agrees_with_statsmodels(effect, std, n, n_baseline):
    if n_baseline is None:
        expected = TTestPower().power(effect / std, n, 0.05)
    else:
        expected = TTestIndPower().power(effect / std, n, 0.05, ratio=n_baseline / n)
    assume(not math.isnan(expected))  # statsmodels gives up where a tail is too small
    result = stats.detection_power(-effect, std, n, n_baseline)
    assert result == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("n", [3, 4, 5, 10, 50])
def test_minimum_effect_and_seeds_agree_with_statsmodels(n):
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
def test_minimum_effect_is_correct_for_alphas_that_statsmodels_does_not_solve(n, alpha):
    """By definition, with a normal and a chi distribution."""
    shift = stats.minimum_effect(1.0, n, alpha=alpha) * math.sqrt(n)
    df, critical = n - 1, reference.t.isf(alpha / 2, n - 1)

    def density(chi: float) -> float:
        beyond = reference.norm.sf(critical * chi / math.sqrt(df) - shift)
        return reference.chi.pdf(chi, df) * beyond

    turn = shift * math.sqrt(df) / critical  # the integrand falls here, steeply
    parts = [integrate.quad(density, *ends)[0] for ends in ((0, turn), (turn, turn + 20))]
    # The other tail is part of the power and not of this integral: 1e-5 at most.
    assert sum(parts) == pytest.approx(0.8, abs=2e-5)


@no_deadline
@given(deviations, counts, st.booleans())
def test_minimum_effect_falls_with_n_and_scales_with_the_deviation(std, n, paired):
    effect = stats.minimum_effect(std, n, None if paired else n)
    assert stats.minimum_effect(std, n + 1, None if paired else n + 1) < effect
    assert stats.minimum_effect(2 * std, n, None if paired else n) == pytest.approx(2 * effect)
    assert stats.minimum_effect(std, n, None if paired else n, alpha=0.01) > effect
    assert stats.minimum_effect(std, n, None if paired else n, power=0.9) > effect
    power = stats.detection_power(effect, std, n, None if paired else n)
    assert power == pytest.approx(0.8, abs=1e-9)


@no_deadline
@given(deviations, counts, st.booleans())
def test_seeds_needed_for_the_minimum_effect_of_n_seeds_are_n(std, n, paired):
    effect = stats.minimum_effect(std, n, None if paired else n)
    assert stats.seeds_needed(effect, std, paired) == n
    assert stats.seeds_needed(-effect * 0.999, std, paired) == n + 1


@given(st.floats(0.02, 20), st.floats(0.1, 5), st.booleans())
@few_examples
def test_seeds_needed_are_the_fewest(effect, std, paired):
    n = stats.seeds_needed(effect, std, paired)
    assert n >= 2
    assert stats.minimum_effect(std, n, None if paired else n) <= effect * (1 + 1e-9)
    if n > 2:
        assert stats.minimum_effect(std, n - 1, None if paired else n - 1) > effect


def test_without_spread_or_effect_there_is_no_plan():
    assert stats.minimum_effect(0.0, 5) is None
    assert stats.minimum_effect(1.0, 1) is None
    assert stats.minimum_effect(1.0, 5, 1) is None
    assert stats.detection_power(1.0, 0.0, 5) is None
    assert stats.seeds_needed(0.0, 1.0) is None
    assert stats.seeds_needed(1.0, 0.0) is None
    assert stats.seeds_needed(1e-9, 1.0) is None  # more than a million
    assert stats.seeds_needed(1e9, 1.0) == 2
