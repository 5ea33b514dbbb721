"""Simulated studies: the coverage of intervals, the power and the error rate of tests."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ablations.analysis import stats
from ablations.analysis.stats import sensitivity
from tests.factories.samples import by_seed

# Simulation: with 4,000 studies a share of 5% is known to ±1.4 points (four standard errors).

STUDIES = 4000
TOLERANCE = 4 * math.sqrt(0.05 * 0.95 / STUDIES)


def studies(n, effect=0.0, n_baseline=None, seed=0):
    """Studies of n seeds, with shared noise (0.4 points) and noise of each run (0.3)."""
    generator = np.random.default_rng(seed)
    for _ in range(STUDIES):
        shared = generator.normal(77.0, 0.4, n)
        row = by_seed(shared + effect + generator.normal(0, 0.3, n))
        if n_baseline is None:
            yield row, by_seed(shared + generator.normal(0, 0.3, n))
        else:
            yield row, by_seed(generator.normal(77.0, 1.5, n_baseline), first=n)


@pytest.mark.parametrize(("n", "n_baseline"), [(2, None), (3, None), (5, None), (5, 8)])
def test_the_95_percent_interval_covers_95_percent(n, n_baseline):
    found = [stats.difference(*study) for study in studies(n, 0.7, n_baseline)]
    assert {item.paired for item in found} == {n_baseline is None}
    covered = sum(item.low <= 0.7 <= item.high for item in found) / STUDIES
    assert covered == pytest.approx(0.95, abs=TOLERANCE)


def test_pairing_narrows_the_interval_of_correlated_seeds():
    found = [stats.paired_difference(*study) for study in studies(5)]
    apart = [stats.unpaired_difference(*study) for study in studies(5)]
    correlation = np.median([item.correlation for item in found])
    assert correlation == pytest.approx(0.4**2 / (0.4**2 + 0.3**2), abs=0.1)  # 0.64
    assert np.median([item.std for item in found]) < 0.8 * np.median(
        [item.std * 2**0.5 for item in apart]
    )


def test_the_minimum_effect_is_detected_in_80_percent_of_studies():
    effect = stats.minimum_effect(0.3 * 2**0.5, 4)
    found = sum(stats.difference(*study).p <= 0.05 for study in studies(4, effect)) / STUDIES
    assert found == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / STUDIES))


def test_equivalence_is_rarely_claimed_for_a_difference_equal_to_the_margin():
    found = [stats.difference(*study, 0.9) for study in studies(6, 1.5)]
    claimed = sum(item.within(1.5) for item in found) / STUDIES
    assert claimed == pytest.approx(0.05, abs=TOLERANCE)


def test_the_minimum_effect_holds_for_unequal_spreads():
    """Ten seeds with a spread of 0.3 against three with one of 1.5."""
    generator = np.random.default_rng(3)
    error = math.sqrt(0.3**2 / 10 + 1.5**2 / 3)
    df = error**4 / ((0.3**2 / 10) ** 2 / 9 + (1.5**2 / 3) ** 2 / 2)
    known = replace(
        stats.difference({0: 1.0, 1: 2.0, 2: 4.0}, {3: 1.0, 4: 2.0}), standard_error=error, df=df
    )
    effect = sensitivity.minimum_effect(known)
    found = sum(
        stats.difference(
            by_seed(generator.normal(77 + effect, 0.3, 10)),
            by_seed(generator.normal(77, 1.5, 3), first=10),
        ).p
        <= 0.05
        for _ in range(STUDIES)
    )
    assert found / STUDIES == pytest.approx(0.8, abs=0.03)
