"""Simulated studies: what each scenario makes, and rates of a few studies."""

from __future__ import annotations

import numpy as np
import pytest

from ablations.bench.simulation import EFFECTS, HARD_SCENARIOS, SCENARIOS, bench_statistics, measure

EVERY = {**SCENARIOS, **HARD_SCENARIOS}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("rows", "seeds"), [(4, 2), (5, 3)])
def test_a_scenario_has_a_baseline_and_rows_of_seeds(name, rows, seeds):
    found = EVERY[name](np.random.default_rng(0), rows, seeds)
    assert list(found) == [str(row) for row in range(rows + 1)]
    counts = [len(outcomes) for outcomes in found.values()]
    assert sum(counts) == (rows + 1) * seeds - (name == "one seed diverged")


def spread(name, row, seeds=4000):
    """Standard deviation of a row's differences from an ordinary row."""
    found = EVERY[name](np.random.default_rng(1), 6, seeds)
    other = np.array(list(found["6"].values())[: len(found[row])])
    return np.std(np.array(list(found[row].values())) - other)


def test_the_spreads_are_those_that_the_names_say():
    assert spread("equal spreads", "1") == pytest.approx(2**0.5, rel=0.05)
    assert spread("two rows x 5", "1") == pytest.approx(26**0.5, rel=0.05)
    assert spread("half the rows x 3", "3") == pytest.approx(10**0.5, rel=0.05)
    assert spread("baseline x 2", "0") == pytest.approx(5**0.5, rel=0.05)
    assert spread("unpaired seeds", "1") == pytest.approx(2, rel=0.05)
    collapsed = SCENARIOS["two collapsed rows"](np.random.default_rng(0), 5, 3)
    assert set(collapsed["1"].values()) == set(collapsed["2"].values()) == {80.0}


def test_the_rates_of_a_few_studies():
    found = measure(SCENARIOS["equal spreads"], 6, 3, studies=60)
    assert found == measure(SCENARIOS["equal spreads"], 6, 3, studies=60)
    assert 0.9 < found.coverage <= 1
    assert found.family_error < 0.2
    assert found.power > found.ordinary_power
    other = measure(SCENARIOS["equal spreads"], 6, 3, studies=60, seed=1)
    assert other != found


def test_the_benchmark_has_a_line_for_each_kind_of_study(monkeypatch):
    monkeypatch.setattr("ablations.bench.simulation.STUDIES", 1)
    monkeypatch.setattr("ablations.bench.simulation.ROWS", (4,))
    seen = []
    found = bench_statistics(None, 1, seen.append)
    assert seen == list(EVERY)
    for name in EVERY:
        assert sum(line.startswith(name) for line in found.lines) == len(EFFECTS)
    assert max(map(len, found.lines)) <= 100
