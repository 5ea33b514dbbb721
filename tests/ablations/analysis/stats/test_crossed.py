"""Standard errors over seeds and images: against brute force, a linear model and simulation."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablations.analysis import stats
from ablations.analysis.stats import Comparisons, Method, SignificanceTest, crossed, sensitivity
from ablations.analysis.stats.variances import Variance
from ablations.errors import StatisticsError

ORDINARY = Method(SignificanceTest.ORDINARY)


def runs(generator, seeds, images, shift=0.0, difficulty=0.0, first=0):
    """Seed -> right or wrong, with an effect of the image and of the seed."""
    own = generator.standard_normal(images) * 0.5
    latent = shift + difficulty + own + 0.1 * generator.standard_normal((seeds, 1))
    return {
        first + s: right
        for s, right in enumerate(latent + generator.standard_normal((seeds, images)) > 0)
    }


def pair(seed, seeds, images, shift=0.3, first=0):
    generator = np.random.default_rng(seed)
    difficulty = 0.8 + generator.standard_normal(images)
    row = runs(generator, seeds, images, shift, difficulty, first)
    return row, runs(generator, seeds, images, 0.0, difficulty)


def outcomes(row, baseline):
    """Differences in points, (n, m)."""
    return 100 * (np.array([*row.values()], float) - np.array([*baseline.values()], float))


def bootstrap_variance(values, seeds, images):
    """Variance of the mean over every resample with replacement: of seeds, of images, of both."""
    n, m = values.shape
    of_seeds = [*itertools.product(range(n), repeat=n)] if seeds else [tuple(range(n))]
    of_images = [*itertools.product(range(m), repeat=m)] if images else [tuple(range(m))]
    means = [values[list(s)][:, list(i)].mean() for s in of_seeds for i in of_images]
    return float(np.var(means))


@pytest.mark.parametrize(("n", "m", "seed"), [(2, 4, 5), (3, 4, 1), (3, 5, 1), (4, 4, 2)])
def test_the_variance_is_that_of_the_exact_bootstrap_over_seeds_and_images(n, m, seed):
    """Resampling k values gives (k - 1)/k of a variance, and counts the residuals three times."""
    row, baseline = pair(seed, n, m)
    values = outcomes(row, baseline)
    by_seeds, by_images, by_both = (
        bootstrap_variance(values, *over) for over in [(1, 0), (0, 1), (1, 1)]
    )
    residuals = (by_both - by_seeds - by_images) * n * m / (n - 1) / (m - 1)
    exact = by_seeds * n / (n - 1) + by_images * m / (m - 1) - residuals
    plain = stats.difference(*map(crossed.accuracy_by_seed, (row, baseline)))
    assert plain.standard_error**2 == pytest.approx(by_seeds * n / (n - 1))
    images = crossed.images_variance(row, baseline, paired=True)
    assert images.value > 0  # the chosen examples
    assert images.value == pytest.approx(by_images * m / (m - 1) - residuals)
    found = crossed.crossed_difference(row, baseline)
    assert found.mean == pytest.approx(values.mean())
    assert found.standard_error**2 == pytest.approx(exact)


def test_the_interval_is_about_that_of_a_bootstrap_where_there_are_many_seeds_and_images():
    row, baseline = pair(5, 40, 600)
    values, generator = outcomes(row, baseline), np.random.default_rng(0)
    n, m = values.shape
    seeds = generator.multinomial(n, [1 / n] * n, 4000)
    images = generator.multinomial(m, [1 / m] * m, 4000)
    means = np.einsum("bs,si,bi->b", seeds, values, images, optimize=True) / (n * m)
    low, high = np.quantile(means, [0.025, 0.975])
    found = crossed.crossed_difference(row, baseline)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.08 * (high - low))
    plain = stats.difference(*map(crossed.accuracy_by_seed, (row, baseline)))
    assert plain.half_width < 0.7 * found.half_width


def mean_squares(values):
    """Mean squares of seeds, images and residuals by the textbook."""
    n, m = values.shape
    seeds, images, mean = values.mean(1), values.mean(0), values.mean()
    residuals = values - seeds[:, None] - images + mean
    return (
        m * ((seeds - mean) ** 2).sum() / (n - 1),
        n * ((images - mean) ** 2).sum() / (m - 1),
        (residuals**2).sum() / (n - 1) / (m - 1),
    )


@settings(max_examples=60)
@given(st.integers(2, 6), st.integers(2, 60), st.integers(0, 10**6))
def test_the_images_part_is_the_difference_of_mean_squares(n, m, seed):
    row, baseline = pair(seed, n, m)
    _, images, residual = mean_squares(outcomes(row, baseline))
    found = crossed.images_variance(row, baseline, paired=True)
    assert found.value == pytest.approx(max(images - residual, 0.0) / n / m, abs=1e-9)
    mirrored = crossed.images_variance(baseline, row, paired=True)
    assert mirrored.value == pytest.approx(found.value, abs=1e-9)
    assert mirrored.df == pytest.approx(found.df)


def test_only_common_seeds_count_where_the_runs_are_paired():
    row, baseline = pair(1, 4, 50)
    more = {**row, 9: ~row[0]}
    assert crossed.crossed_difference(more, baseline) == crossed.crossed_difference(row, baseline)


def test_runs_of_different_seeds_have_residuals_of_their_own():
    row, baseline = pair(2, 4, 400, first=10)
    found = crossed.images_variance(row, baseline, paired=False)
    means = np.array([*row.values()]).mean(0) - np.array([*baseline.values()]).mean(0)
    residuals = sum(
        mean_squares(np.array([*side.values()], float))[2] / 4 for side in (row, baseline)
    )
    assert found.value == pytest.approx(1e4 * (means.var(ddof=1) - residuals) / 400)
    difference = crossed.crossed_difference(row, baseline)
    assert not difference.paired
    plain = stats.unpaired_difference(*map(crossed.accuracy_by_seed, (row, baseline)))
    assert difference.seeds_error == pytest.approx(plain.standard_error)
    assert difference.std == pytest.approx(plain.std)


def test_the_images_degrees_of_freedom_are_those_of_simulated_images():
    """Many sets of images for the same effects: the spread of the estimate is what df says."""
    found = [crossed.images_variance(*pair(seed, 3, 300), paired=True) for seed in range(400)]
    values = np.array([each.value for each in found])
    assert 2 * values.mean() ** 2 / values.var() == pytest.approx(
        np.median([each.df for each in found]), rel=0.2
    )


def test_one_seed_gives_no_interval_and_constant_runs_no_test():
    row, baseline = pair(3, 1, 30)
    assert crossed.images_variance(row, baseline, paired=True) is None
    assert crossed.crossed_difference(row, baseline).half_width is None
    same = dict.fromkeys(range(3), np.arange(30) < 20)
    other = dict.fromkeys(range(3), np.arange(30) < 24)
    assert crossed.crossed_difference(other, same).constant
    assert crossed.crossed_difference({}, same) is None


def test_no_images_part_leaves_the_difference_of_the_seeds():
    plain = stats.paired_difference({0: 70.0, 1: 71.0, 2: 73.0}, {0: 70.5, 1: 70.0, 2: 71.0})
    found = crossed.over_images(plain, Variance(0.0, 0.0))
    assert (found.images_error, found.images_share) == (0, 0)
    assert replace(found, images_error=None) == plain
    found = crossed.over_images(plain, Variance(plain.standard_error**2, 1000))
    assert found.standard_error == pytest.approx(math.sqrt(2) * plain.standard_error)
    assert found.images_share == pytest.approx(0.5)
    assert found.df == pytest.approx(4 * plain.df, rel=0.01)
    assert found.seeds_error == pytest.approx(plain.standard_error)
    assert found.baseline_share == pytest.approx(0.5)


@pytest.mark.parametrize("counts", [(10, 11), (1, 1)])
def test_other_numbers_of_images_are_an_error(counts):
    sides = [dict.fromkeys(range(2), np.ones(count, bool)) for count in counts]
    with pytest.raises(StatisticsError, match="images"):
        crossed.images_variance(*sides, paired=True)


def study(seed=0, rows=6, seeds=4, images=500):
    generator = np.random.default_rng(seed)
    difficulty = 0.8 + generator.standard_normal(images)
    return {str(row): runs(generator, seeds, images, 0.0, difficulty) for row in range(rows)}


@pytest.mark.parametrize("test", list(SignificanceTest))
def test_all_statements_about_a_row_use_the_same_standard_error(test):
    correct = study()
    rows = {row: crossed.accuracy_by_seed(own) for row, own in correct.items()}
    over_seeds = Comparisons(rows, Method(test))
    over_both = Comparisons(rows, Method(test), correct)
    found = over_both.family([row for row in rows if row != "0"], "0")
    for row, each in found.items():
        plain = over_seeds.difference(row, "0")
        assert each.mean == plain.mean
        assert each.seeds_error == pytest.approx(plain.standard_error)
        assert each.standard_error > plain.standard_error
        assert each.significant == (not each.low <= 0 <= each.high)
        assert each.alone == over_both.difference(row, "0")
        assert sensitivity.minimum_effect(each) > each.half_width
        assert sensitivity.minimum_effect(each) == pytest.approx(
            stats.minimum_effect(each.standard_error, 2, alpha=each.interval_level, df=each.df)
            * math.sqrt(2)
        )


def test_more_seeds_do_not_lower_the_images_error():
    correct = study(images=200)
    rows = {row: crossed.accuracy_by_seed(own) for row, own in correct.items()}
    found = Comparisons(rows, ORDINARY, correct).difference("1", "0")
    assert found.images_error > 0
    assert sensitivity.seeds_to_detect(found, found.images_error) is None
    effect = 4 * found.images_error
    needed = sensitivity.seeds_to_detect(found, effect)
    assert needed > sensitivity.seeds_to_detect(
        replace(found, images_error=None, standard_error=found.seeds_error), effect
    )
    assert (
        sensitivity.seeds_to_show_equivalence(found, abs(found.mean) + found.images_error) is None
    )
    assert sensitivity.seeds_to_show_equivalence(found, abs(found.mean) + 2 * effect) >= 2


def test_the_smallest_effect_of_the_present_seeds_needs_the_present_seeds():
    correct = study(images=300)
    rows = {row: crossed.accuracy_by_seed(own) for row, own in correct.items()}
    found = Comparisons(rows, ORDINARY, correct).difference("1", "0")
    needed = sensitivity.seeds_to_detect(found, sensitivity.minimum_effect(found) * 1.02)
    assert needed == found.n
