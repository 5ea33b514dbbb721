"""Looks at a study while seeds are added: what is decided, what is missing, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablations.analysis.stats import Comparisons, Method, SignificanceTest
from ablations.analysis.stats.looks import Conclusion, LookPlan, follow, look, split_error
from ablations.errors import StatisticsError

LOOKS = (3, 5, 7)
SEEDS = range(7)
PLAN = LookPlan(LOOKS, split_error(LOOKS), 0.5)


def study(seed=0, effects=(0, 0, 5, -4, 1, 0, 0.4), spread=0.3, seeds=7):
    """Outcomes of a baseline ("0") and rows with these effects."""
    generator = np.random.default_rng(seed)
    shared = 80 + generator.normal(0, 1, seeds)
    return {
        str(row): dict(enumerate((shared + effect + generator.normal(0, spread, seeds)).tolist()))
        for row, effect in enumerate(effects)
    }


def ended(outcomes, least=0):
    return {row: set(own) | set(range(least)) for row, own in outcomes.items()}


def first(outcomes, seeds):
    """The outcomes of the first seeds of each row; ``seeds`` is a number or one per row."""
    counts = seeds if isinstance(seeds, dict) else dict.fromkeys(outcomes, seeds)
    return {row: {s: v for s, v in own.items() if s < counts[row]} for row, own in outcomes.items()}


@pytest.mark.parametrize("looks", [(), (1, 3), (3, 3), (5, 3), (0,), (-2, 4)])
def test_looks_below_two_seeds_or_out_of_order_are_refused(looks):
    with pytest.raises(StatisticsError, match="numbers of seeds from 2 on that rise"):
        LookPlan(looks, (0.05 / max(len(looks), 1),) * len(looks))


@pytest.mark.parametrize("margin", [0, -0.5, float("inf"), float("nan")])
def test_a_margin_that_is_not_above_zero_is_refused(margin):
    with pytest.raises(StatisticsError, match="must be above 0"):
        LookPlan(LOOKS, split_error(LOOKS), margin)


@pytest.mark.parametrize("errors", [(0.02, 0.02, 0.02), (0.05,), (0.05, 0.0, 0.0)])
def test_the_errors_must_fit_the_looks_and_add_up_to_five_percent(errors):
    with pytest.raises(StatisticsError, match="look"):
        LookPlan(LOOKS, errors)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8, unique=True).map(sorted))
def test_the_error_is_split_over_the_looks(looks):
    assert sum(split_error(looks)) == pytest.approx(0.05)
    assert len(split_error(looks)) == len(looks)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(SignificanceTest)), st.sampled_from([4, 7]))
def test_interval_p_value_and_decision_of_a_look_agree(seed, test, rows):
    outcomes = study(seed, (0, 0, 5, -4, 1, 0, 0.4)[:rows], 0.4, seeds=4)
    others = [row for row in outcomes if row != "0"]
    comparisons = Comparisons(outcomes, Method(test))
    for error in (0.05, 0.0125, 0.001):
        for delta in comparisons.family(others, "0", error).values():
            assert delta.significant == (delta.low > 0 or delta.high < 0)
            assert delta.p_corrected >= delta.p
    wide, narrow = (comparisons.family(others, "0", error) for error in (0.01, 0.05))
    for row in others:
        assert wide[row].half_width > narrow[row].half_width
        assert wide[row].p_corrected >= narrow[row].p_corrected


def test_one_look_is_the_ordinary_family():
    outcomes = study(seeds=3)
    others = [row for row in outcomes if row != "0"]
    comparisons = Comparisons(outcomes)
    assert comparisons.family(others, "0", 0.05) == comparisons.family(others, "0")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_runners_that_know_more_or_less_come_to_the_same_decisions(seed):
    """A look reads its own seeds only, so later outcomes and other orders change nothing."""
    outcomes = study(seed)
    full = follow(PLAN, SEEDS, outcomes, "0", ended(outcomes))
    assert full.look is None
    turned = {row: dict(reversed(list(outcomes[row].items()))) for row in reversed(list(outcomes))}
    again = follow(PLAN, SEEDS, turned, "0", ended(turned))
    assert {row: each.verdict for row, each in again.decisions.items()} == {
        row: each.verdict for row, each in full.decisions.items()
    }
    known, runs = first(outcomes, 0), 0
    while (now := follow(PLAN, SEEDS, known, "0", ended(known))).look is not None:
        # A decided row gets no more seeds; each look asks for those of its own alone.
        assert not now.decided.keys() & now.missing.keys()
        assert "0" in now.missing
        for row, seeds in now.missing.items():
            assert list(seeds) == [s for s in range(LOOKS[now.look]) if s not in known[row]]
            known[row] |= {s: outcomes[row][s] for s in seeds}
            runs += len(seeds)
    assert now.decisions == full.decisions
    counts = {row: each.seeds for row, each in now.decided.items()}
    assert all(len(known[row]) == count for row, count in counts.items())
    assert runs == sum(map(len, known.values()))


def test_rows_are_decided_by_the_first_look_that_can():
    found = follow(PLAN, SEEDS, study(spread=0.05), "0", ended(study()))
    verdicts = {row: (each.look, each.verdict) for row, each in found.decisions.items()}
    assert verdicts["2"] == verdicts["3"] == verdicts["4"] == (0, Conclusion.DIFFERENT)
    assert verdicts["1"] == verdicts["5"] == (0, Conclusion.EQUIVALENT)
    no_margin = follow(replace(PLAN, margin=None), SEEDS, study(spread=0.05), "0", ended(study()))
    assert no_margin.decisions["1"].verdict is Conclusion.OPEN


def test_a_look_does_not_wait_for_failed_runs():
    outcomes = study()
    for row in ("0", "1"):
        del outcomes[row][1]
    waiting = follow(PLAN, SEEDS, outcomes, "0", ended(outcomes))
    assert (waiting.look, waiting.missing) == (0, {"0": [1], "1": [1]})
    found = follow(PLAN, SEEDS, outcomes, "0", ended(outcomes, 7))
    assert found.look is None
    assert found.decisions["5"].difference.n == found.decisions["5"].seeds - 1


def test_a_row_without_any_outcome_stays_open_and_stops_nothing():
    outcomes = {**study(), "1": {}}
    found = follow(PLAN, SEEDS, outcomes, "0", ended(outcomes, 7))
    assert found.look is None
    assert found.decisions["1"].verdict is Conclusion.OPEN
    assert found.decisions["1"].difference is None


def test_all_rows_stay_in_the_family_of_a_later_look():
    outcomes = study()
    early = look(PLAN, 0, SEEDS, outcomes, "0", {})
    decided = {row: early[row] for row in ("2", "3")}
    later = look(PLAN, 1, SEEDS, outcomes, "0", decided)
    assert later.keys() == early.keys() - decided.keys()
    alone = Comparisons(first({r: outcomes[r] for r in ("0", *later)}, 5))
    assert all(
        later[row].difference.level < delta.level
        for row, delta in alone.family(later, "0", PLAN.errors[1]).items()
    )
