"""Simultaneous tests: against scipy's Dunnett test, against simulation, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from ablations.analysis.stats.family import Family

HALF = math.sqrt(0.5)


def test_one_difference_is_its_own_family():
    alone = Family((3.3,), (HALF,))
    for level in (0.5, 0.05, 1e-3, 1e-6):
        assert alone.error(level) == pytest.approx(level, rel=1e-3)
    assert alone.level() == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize("df", [1, 2.5, 6, 40])
@pytest.mark.parametrize("share", [0.0, 0.4, HALF, 0.9])
def test_the_family_error_is_that_of_simulated_studies(df, share):
    generator = np.random.default_rng(7)
    studies, rows = 200_000, 6
    shared = generator.standard_normal((studies, 1))
    own = generator.standard_normal((studies, rows))
    scales = np.sqrt(generator.chisquare(df, (studies, rows)) / df)
    statistics = (share * shared + math.sqrt(1 - share**2) * own) / scales
    family = Family((df,) * rows, (share,) * rows)
    level = family.level()
    simulated = np.mean(np.abs(statistics).max(1) > reference.t.isf(level / 2, df))
    assert simulated == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / studies))


def test_pooled_variances_give_dunnetts_test():
    generator = np.random.default_rng(0)
    groups = [generator.normal(0.4 * i, 1, 5) for i in range(6)]
    df = sum(len(group) - 1 for group in groups)
    pooled = sum(((group - group.mean()) ** 2).sum() for group in groups) / df
    statistics = [
        (group.mean() - groups[0].mean()) / math.sqrt(2 * pooled / 5) for group in groups[1:]
    ]
    family = Family((df,) * 5, (HALF,) * 5, pooled=True)
    single = [2 * reference.t.sf(abs(value), df) for value in statistics]
    theirs = reference.dunnett(*groups[1:], control=groups[0], rng=np.random.default_rng(1))
    ours = family.p_values(single, family.level())
    # scipy integrates by quasi-Monte Carlo.
    assert ours == pytest.approx(theirs.pvalue.tolist(), abs=2e-4)


def test_without_a_common_baseline_it_is_sidaks_correction():
    family = Family((math.inf,) * 8, (0.0,) * 8)
    assert family.error(0.01) == pytest.approx(1 - 0.99**8, rel=1e-4)


families = st.lists(st.tuples(st.floats(1, 60), st.floats(0, 0.95)), min_size=1, max_size=8).map(
    lambda rows: Family(*map(tuple, zip(*rows, strict=True)))
)


@settings(deadline=None, max_examples=50)
@given(families, st.floats(1e-5, 0.9))
def test_the_family_error_is_between_one_test_and_bonferroni(family, level):
    error = family.error(level)
    assert level * (1 - 1e-2) <= error <= len(family.df) * level * (1 + 1e-2)


@settings(deadline=None, max_examples=50)
@given(families, st.lists(st.floats(1e-12, 1), min_size=1, max_size=8))
def test_p_values_are_below_5_percent_exactly_below_the_level(family, single):
    level = family.level()
    for before, after in zip(single, family.p_values(single, level), strict=True):
        assert (after < 0.05) == (before < level)
        assert before <= after <= 1


def test_large_families_count_similar_rows_as_alike():
    generator = np.random.default_rng(2)
    df, shares = generator.uniform(4, 8, 101), generator.uniform(0.6, 0.8, 101)
    exact, rounded = Family(tuple(df[:100]), tuple(shares[:100])), Family(tuple(df), tuple(shares))
    assert rounded.level() == pytest.approx(exact.level() * 100 / 101, rel=0.05)
    single = list(generator.uniform(0, 1, 101))
    corrected = rounded.p_values(single, rounded.level())
    assert sorted(corrected) == [corrected[i] for i in np.argsort(single)]
