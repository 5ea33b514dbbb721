"""Mean and standard deviation over seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablations.analysis import stats


def test_spread_by_hand():
    # Mean 4; squares 4 + 0 + 4 over n - 1 = 2.
    assert stats.spread([2.0, 4.0, 6.0]) == stats.Spread(4.0, 2.0, 3, (2.0, 4.0, 6.0))
    assert stats.spread([2.0]) == stats.Spread(2.0, None, 1, (2.0,))
    assert stats.spread([]) is None
    assert stats.spread(np.array([2.0, 4.0])).std == pytest.approx(math.sqrt(2))


def test_up_to_five_values_are_kept():
    assert stats.spread([1.0, 2.0, 3.0, 4.0, 5.0]).few_values == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert stats.spread([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).few_values == ()


def test_rounding_errors_are_not_spread():
    """In floating point the mean of three times 80.1 is 80.09999999999998."""
    assert stats.spread([80.1] * 3).std == 0
    single = [float(np.float32(value)) for value in (80.1, 80.1 + 1e-9)]
    assert stats.spread(single).std == 0
    assert stats.spread([80.1, 80.102]).std == pytest.approx(0.002 / math.sqrt(2))
