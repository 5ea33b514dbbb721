"""Hypothesis strategies for outcomes by seed."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

CLOSE = {"rel": 1e-9, "abs": 1e-9}

# On a busy machine a single example may take long.
no_deadline = settings(deadline=None)
few_examples = settings(max_examples=25, deadline=None)

# Accuracies on 10,000 images: hundredths of a percentages.
percentages = st.integers(0, 10_000).map(lambda images: images / 100)
outcomes = st.dictionaries(st.integers(0, 9), percentages, max_size=8)
pairs = st.lists(st.tuples(percentages, percentages), min_size=2, max_size=12)


def by_seed(values, first=0) -> dict[int, float]:
    return dict(enumerate(values, start=first))


def both(found) -> tuple[dict[int, float], dict[int, float]]:
    """A row's and the baseline's outcomes by seed, from pairs."""
    return by_seed(row for row, _ in found), by_seed(baseline for _, baseline in found)
