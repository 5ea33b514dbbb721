"""Simulated looks: rates of a few studies, and the printed lines."""

from __future__ import annotations

from ablations.bench.looks_simulation import SCENARIOS, bench_looks, measure


def test_looks_save_runs_and_make_few_wrong_statements():
    found = measure(SCENARIOS["half the rows differ"], studies=12)
    assert found.family_error < 0.25
    assert found.saved > 0.1
    assert 0.3 < found.decided <= 1
    assert found.one_look_decided <= 1


def test_the_benchmark_has_a_line_for_each_kind_of_study(monkeypatch):
    monkeypatch.setattr("ablations.bench.looks_simulation.STUDIES", 2)
    seen = []
    found = bench_looks(None, 1, seen.append)
    assert seen == list(SCENARIOS)
    for name in SCENARIOS:
        assert any(line.startswith(f"{name}  ") for line in found.lines)
    assert max(map(len, found.lines)) <= 110
