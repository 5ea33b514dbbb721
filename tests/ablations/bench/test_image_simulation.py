"""Simulated studies of images: what they contain, and rates of a few."""

from __future__ import annotations

import numpy as np
import pytest

from ablations.analysis.stats import crossed
from ablations.bench.image_simulation import SCENARIOS, SEEDS, bench_images, measure, simulate


def images_share(name):
    found = simulate(np.random.default_rng(0), SCENARIOS[name], 1, 8, 8000)
    return crossed.crossed_difference(found["1"], found["0"]).images_share


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_study_has_a_baseline_and_rows_of_seeds_and_images(name):
    found = simulate(np.random.default_rng(0), SCENARIOS[name], 3, 2, 4000)
    assert list(found) == ["0", "1", "2", "3"]
    right = np.array([list(own.values()) for own in found.values()])
    assert right.shape == (4, 2, 4000)
    assert 0.75 < right.mean() < 0.9


def test_the_images_share_is_what_the_names_say():
    assert images_share("images matter more") > 0.6
    assert images_share("images do not matter") < 0.1


def test_intervals_over_seeds_alone_miss_what_images_add():
    found = measure(SCENARIOS["images matter more"], 5, 5, 400, studies=60)
    assert found == measure(SCENARIOS["images matter more"], 5, 5, 400, studies=60)
    assert found.coverage > 0.92
    assert found.family_error < 0.15
    assert found.images_share > 0.4
    assert found.seeds_coverage < 0.9
    assert found.seeds_family_error > found.family_error


def test_the_benchmark_has_a_line_for_each_kind_of_study(monkeypatch):
    monkeypatch.setattr("ablations.bench.image_simulation.STUDIES", 1)
    monkeypatch.setattr("ablations.bench.image_simulation.SIZES", ((5, 50),))
    seen = []
    found = bench_images(None, 1, seen.append)
    assert seen == list(SCENARIOS)
    for name in SCENARIOS:
        assert sum(line.startswith(name) for line in found.lines) == len(SEEDS)
    assert max(map(len, found.lines)) <= 110
