"""Counts and durations in messages."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.text.phrases import format_duration, pluralize

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 31_557_600


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ["run"], "0 runs"),
        (1, ["run"], "1 run"),
        (3, ["run"], "3 runs"),
        (12_000, ["image"], "12,000 images"),
        (1, ["class", "classes"], "1 class"),
        (10, ["class", "classes"], "10 classes"),
    ],
)
def test_counts(count, words, text):
    assert pluralize(count, *words) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (math.nan, "?"),
        (math.inf, "?"),
        (0, "0 s"),
        (0.004, "0 s"),
        (0.5, "0.5 s"),
        (8.25, "8.2 s"),
        (42, "42 s"),
        (99, "99 s"),
        (100, "1.7 min"),
        (3 * MINUTE, "3 min"),
        (99.6 * MINUTE, "1.7 h"),
        (5.2 * HOUR, "5.2 h"),
        (99.6 * HOUR, "4.2 days"),
        (12 * DAY, "12 days"),
        (1000 * DAY, "2.7 years"),
        (3_356_654 * HOUR, "383 years"),
        (1e6 * YEAR, "1,000,000 years"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0, 1e15))
def test_durations_are_short_and_right(seconds):
    number, unit = format_duration(seconds).split()
    assert re.fullmatch(r"\d\.\d\d?|[\d,]+", number)
    size = {"s": 1, "min": MINUTE, "h": HOUR, "day": DAY, "days": DAY, "year": YEAR, "years": YEAR}
    assert float(number.replace(",", "")) * size[unit] == pytest.approx(
        seconds, rel=0.06, abs=0.006
    )
