"""Bootstrap intervals: equal to scipy's, reproducible, within the observed values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from ablations.analysis import stats
from tests.factories.samples import CLOSE, few_examples, percentages


def test_a_bootstrap_interval_equals_scipys_with_the_same_seed():
    values = [77.131, 77.402, 76.834, 77.917, 77.288, 77.35]
    found = stats.bootstrap_interval(values, np.random.default_rng(3))
    assert found == stats.bootstrap_interval(values, np.random.default_rng(3))
    assert found != stats.bootstrap_interval(values, np.random.default_rng(4))
    expected = reference.bootstrap((values,), np.mean, rng=np.random.default_rng(3))
    interval = expected.confidence_interval
    assert found == pytest.approx((interval.low, interval.high), **CLOSE)
    low, high = found
    assert min(values) < low < np.mean(values) < high < max(values)
    wider = stats.bootstrap_interval(values, np.random.default_rng(3), confidence=0.99)
    assert wider[0] < low < high < wider[1]


def test_a_bootstrap_interval_of_many_normal_values_is_near_the_t_interval():
    values = np.random.default_rng(0).normal(77.0, 0.5, 400)
    half = 1.966 * values.std(ddof=1) / 20
    low, high = stats.bootstrap_interval(values, np.random.default_rng(0))
    assert (low, high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )


@given(st.lists(percentages, max_size=6))
@few_examples
def test_a_bootstrap_interval_stays_within_the_observed_values(values):
    found = stats.bootstrap_interval(values, np.random.default_rng(0), resamples=999)
    if len(set(values)) < 2:
        assert found is None
    else:
        assert min(values) - 1e-9 <= found[0] <= found[1] <= max(values) + 1e-9
