"""Holm's correction: computed by hand, its properties, against statsmodels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from ablations.analysis import stats
from tests.factories.samples import CLOSE, no_deadline

p_values = st.lists(st.none() | st.floats(0, 1), max_size=20)


def test_holm_by_hand():
    # Smallest times 3, then times 2, then times 1; never below the one before, never above 1.
    assert stats.holm_correction([0.03, None, 0.01, 0.02]) == pytest.approx(
        [0.04, None, 0.03, 0.04]
    )
    assert stats.holm_correction([0.5, 0.6]) == [1.0, 1.0]
    assert stats.holm_correction([0.04]) == [0.04]
    assert stats.holm_correction([None, None]) == [None, None]
    assert stats.holm_correction([]) == []


@no_deadline
@given(p_values)
def test_holm_never_lowers_a_p_value_nor_changes_their_order(values):
    corrected = stats.holm_correction(values)
    assert [item is None for item in corrected] == [item is None for item in values]
    raw = [p for p in values if p is not None]
    kept = [p for p in corrected if p is not None]
    assert all(p <= q <= 1 for p, q in zip(raw, kept, strict=True))
    in_order = [q for _, q in sorted(zip(raw, kept, strict=True))]
    assert in_order == sorted(in_order)
    assert stats.holm_correction(values[::-1]) == corrected[::-1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=12, deadline=None)  # multipletests takes long
def test_holm_agrees_with_statsmodels(values):
    expected = multipletests(values, method="holm")[1]
    assert stats.holm_correction(values) == pytest.approx(list(expected), **CLOSE)
