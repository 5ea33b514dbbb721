"""The smallest effect that planned seeds can find, and the spread that it is computed from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ablations.analysis import stats
from ablations.analysis.build import build_studies
from ablations.analysis.stats import sensitivity
from ablations.config.resolve import resolve
from ablations.planning.effect import COMMITTED_STD, difference_std, minimum_effects, pooled_std
from ablations.store import load
from poolformer import ConfigError
from tests.factories.records import BASE, IDENTITY, record

RUNS = [resolve("mini")]


def test_the_effect_is_that_of_stats():
    (few, more) = minimum_effects([3, 5, 3], 0.4)
    assert few == {
        "seeds": 3,
        "variants": 2,
        "in_std": sensitivity.planned_minimum_effect(3, 2),
        "points": 0.4 * sensitivity.planned_minimum_effect(3, 2),
    }
    assert (more["seeds"], more["variants"]) == (5, 1)
    # Two rows: t tests, at half the level.
    assert few["in_std"] == stats.minimum_effect(1.0, 3, alpha=0.025)
    # From four rows on, they borrow from each other.
    (many,) = minimum_effects([3] * 18, 0.4)
    assert many["in_std"] < few["in_std"]


def test_one_seed_has_no_effect_and_an_unknown_std_gives_deviations_only():
    (one,) = minimum_effects([1], 0.4)
    assert one["in_std"] is one["points"] is None
    (two,) = minimum_effects([2], None)
    assert two["points"] is None
    assert two["in_std"] == stats.minimum_effect(1.0, 2)


def test_the_deviation_is_pooled_over_rows():
    # Identity: -2, -1, -3, deviation 1. BatchNorm: +1, +4, deviation 3 / sqrt(2).
    norm = [record(seed, top1, model__norm="batch") for seed, top1 in enumerate((81.0, 85.0))]
    value, rows = pooled_std(build_studies([*BASE, *IDENTITY, *norm]))
    assert rows == 2
    assert value == pytest.approx(math.sqrt((2 * 1 + 1 * 4.5) / 3))


def test_the_users_std_comes_before_records_and_these_before_a_committed_study():
    known = [*BASE, *IDENTITY]
    assert difference_std(RUNS, known, 0.7) == (0.7, "--std")
    std, where = difference_std(RUNS, known, None)
    assert std == pytest.approx(1)
    assert where.startswith("pooled over 1 row of records")
    # The baseline alone has no differences.
    assert difference_std(RUNS, BASE, None)[0] == COMMITTED_STD["mini"]
    assert difference_std([resolve("imagenet")], known, None)[0] is None
    # Another schedule has another spread.
    assert difference_std([resolve("mini", {"optim.epochs": 30})], known, None)[0] is None


@pytest.mark.parametrize("std", [0.0, -1.0, math.nan, math.inf])
def test_a_std_must_be_above_0(std):
    with pytest.raises(ConfigError, match="--std .* must be above 0"):
        difference_std(RUNS, [], std)


@pytest.mark.parametrize("recipe", COMMITTED_STD)
def test_the_assumed_std_is_that_of_the_committed_records(recipe):
    found = build_studies(load.load_records([Path("results", recipe)]).records)
    assert COMMITTED_STD[recipe] == pytest.approx(pooled_std(found)[0], abs=5e-4)
