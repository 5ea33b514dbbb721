"""Residual variances: against a least squares fit, and what a group borrows from the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as reference

from ablations.analysis.stats import variances
from ablations.analysis.stats.variances import Variance
from tests.factories.samples import by_seed


def fitted(groups):
    """Residual sum of squares and degrees of freedom of each group, by one dense design matrix."""
    seeds = sorted({seed for group in groups for seed in group})
    cells = [(g, seed) for g, group in enumerate(groups) for seed in group]
    design = np.zeros((len(cells), len(groups) + len(seeds)))
    for row, (g, seed) in enumerate(cells):
        design[row, g] = design[row, len(groups) + seeds.index(seed)] = 1
    hat = design @ np.linalg.pinv(design)
    outcomes = np.array([groups[g][seed] for g, seed in cells])
    residuals = outcomes - hat @ outcomes
    return [
        (
            sum(residuals[i] ** 2 for i, (own, _) in enumerate(cells) if own == g),
            sum(1 - hat[i, i] for i, (own, _) in enumerate(cells) if own == g),
        )
        for g in range(len(groups))
    ]


@pytest.mark.parametrize("missing", [[], [(1, 2)], [(0, 0), (1, 2), (4, 1), (4, 3)]])
def test_residual_variances_are_those_of_least_squares(missing):
    generator = np.random.default_rng(0)
    groups = [by_seed(generator.normal(70 + g, 1 + g, 4)) for g in range(5)]
    for g, seed in missing:
        del groups[g][seed]
    found = variances.residual_variances(groups)
    for own, (squares, df) in zip(found, fitted(groups), strict=True):
        assert own.df == pytest.approx(df)
        assert own.value * own.df == pytest.approx(squares)


def test_a_seed_effect_that_all_groups_share_is_no_residual():
    groups = [by_seed([70.0 + g, 71.0 + g, 75.0 + g]) for g in range(5)]
    assert [own.value for own in variances.residual_variances(groups)] == [0.0] * 5
    assert variances.total_variances(groups)[0] == Variance(pytest.approx(7.0), 2)


def test_groups_without_a_common_seed_have_no_residual_variance():
    groups = [by_seed([70.0, 71.0], first=10 * g) for g in range(3)]
    assert [own.df for own in variances.residual_variances(groups)] == [0, 0, 0]
    assert [own.df for own in variances.total_variances(groups)] == [1, 1, 1]


def test_one_run_and_a_constant_group_have_no_residual_variance():
    groups = [by_seed([70.0, 71.0, 73.0]), {0: 65.0}, by_seed([10.0] * 3), by_seed([60.0, 64, 61])]
    found = variances.residual_variances(groups)
    assert [bool(own.df) for own in found] == [True, False, False, True]


def test_one_run_at_chance_does_not_spoil_the_others():
    generator = np.random.default_rng(2)
    for count in (4, 17):
        groups = [by_seed(80 + generator.normal(0, 0.3, 3)) for _ in range(count + 1)]
        before = variances.residual_variances(groups)
        groups[2][1] = 10.0
        after = variances.residual_variances(groups)
        assert after[2].value > 1000
        assert after[2].df == 2
        for i in {*range(count + 1)} - {2}:
            assert after[i].value < 5 * max(own.value for own in before)


def drawn(prior_df, groups=20_000, own_df=4, seed=1):
    """Sample variances of groups whose true variances have a prior of mean scale 2."""
    generator = np.random.default_rng(seed)
    true = 2.0 * prior_df / generator.chisquare(prior_df, groups)
    return [
        Variance(value, own_df) for value in true * generator.chisquare(own_df, groups) / own_df
    ]


def test_the_prior_is_found_again():
    found = variances.estimate_prior(drawn(6.0))
    assert found.df == pytest.approx(6.0, rel=0.1)
    assert found.value == pytest.approx(2.0, rel=0.05)
    equal = variances.estimate_prior(drawn(1e9, groups=500, seed=3))
    assert equal.df > 50
    assert equal.value == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("value", [1e-6, 0.01, 0.5, 1.0, 40.0, 1e6])
def test_the_inverse_of_trigamma(value):
    from scipy.special import polygamma

    assert polygamma(1, variances._inverse_trigamma(value)) == pytest.approx(value)


def test_a_moderated_variance_lies_between_its_own_and_the_prior():
    own = [Variance(v, 2) for v in (0.5, 0.8, 1.0, 1.3, 2.0, 1.1)]
    prior = variances.estimate_prior(own)
    for before, after in zip(own, variances.moderate(own), strict=True):
        low, high = sorted([before.value, prior.value])
        assert low <= after.value <= high
        # Two degrees of freedom of its own, and at most (6 - 3) / 6 of two from the others.
        assert after.df == pytest.approx(2 + min(prior.df, 1.0))
        assert after.prior_df == pytest.approx(after.df - 2)


def test_the_prior_never_counts_for_more_than_the_seeds():
    two = [Variance(1.0 + i / 10, 1) for i in range(30)]
    assert all(after.prior_df <= 1 for after in variances.moderate(two))
    ten = [Variance(1.0 + i / 10, 9) for i in range(30)]
    assert all(after.prior_df <= 2 for after in variances.moderate(ten))


def test_an_outlier_borrows_nothing():
    own = [Variance(1.0, 2)] * 8 + [Variance(25.0, 2)]
    found = variances.moderate(own)
    assert found[-1] == own[-1]
    assert found[0].prior_df > 0
    limit = variances.estimate_prior(own).value * reference.chi2.isf(0.05, 2) / 2
    assert 1.0 < limit < 25.0


def test_a_collapsed_group_gets_a_share_of_the_prior():
    own = [Variance(1.0, 2)] * 6 + [Variance(0.0, 2)]
    *_, collapsed = variances.moderate(own)
    assert 0 < collapsed.value < 1


@pytest.mark.parametrize("values", [[], [1.0] * 4, [0.0] * 9, [1.0] * 4 + [0.0] * 5])
def test_with_fewer_than_five_spreads_there_is_nothing_to_borrow(values):
    assert variances.moderate([Variance(value, 2) for value in values]) is None


def test_a_pooled_variance_is_the_weighted_mean():
    found = variances.pool([Variance(1.0, 2), Variance(4.0, 4), Variance(0.0, 0)])
    assert found[:2] == [Variance(3.0, 6, 4), Variance(3.0, 6, 2)]
    assert found[2].df == 0
    assert variances.pool([Variance(0.0, 2)] * 5) is None
    assert math.isclose(found[0].df, 6)
