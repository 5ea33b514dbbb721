"""Comparisons in a study: the choice of the test, and intervals that agree with their p-values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from ablations.analysis import stats
from ablations.analysis.stats import Comparisons, Intervals, Method, SignificanceTest
from tests.factories.samples import by_seed

ORDINARY = Method(SignificanceTest.ORDINARY)


def study(rows=6, seeds=3, spreads=1.0, seed=0, effects=0.0):
    """Outcomes of a baseline ``b`` and of rows ``r0`` and so on, with effects of the seeds."""
    generator = np.random.default_rng(seed)
    luck = generator.normal(0, 1, seeds)
    spread = np.broadcast_to(spreads, rows + 1)
    effect = np.broadcast_to(effects, rows)
    found = {"b": by_seed(77 + luck + spread[0] * generator.normal(0, 1, seeds))}
    for i in range(rows):
        own = spread[i + 1] * generator.normal(0, 1, seeds)
        found[f"r{i}"] = by_seed(77 + effect[i] + luck + own)
    return found


def rows_of(outcomes):
    return [name for name in outcomes if name != "b"]


def test_fewer_than_four_rows_use_the_ordinary_test():
    small = Comparisons(study(rows=3))
    assert small.test is SignificanceTest.ORDINARY
    assert small.difference("r0", "b") == stats.difference(*(study(rows=3)[k] for k in ("r0", "b")))
    assert Comparisons(study(rows=4)).test is SignificanceTest.MODERATED
    constant = {name: by_seed([80.0] * 3) for name in study(rows=6)}
    assert Comparisons(constant).test is SignificanceTest.ORDINARY


def test_a_difference_has_the_mean_of_the_ordinary_one_and_more_degrees_of_freedom():
    outcomes = study(rows=17)
    moderated, ordinary = Comparisons(outcomes), Comparisons(outcomes, ORDINARY)
    for row in rows_of(outcomes):
        ours, theirs = moderated.difference(row, "b"), ordinary.difference(row, "b")
        assert ours.mean == theirs.mean
        assert (ours.n, ours.paired) == (theirs.n, True)
        assert ours.df > theirs.df
        assert moderated.difference("b", row).mean == -ours.mean
        assert moderated.difference("b", row).p == ours.p


def test_pooled_differences_of_unpaired_seeds_are_dunnetts_test():
    generator = np.random.default_rng(4)
    values = {name: generator.normal(77 + i / 2, 1, 4) for i, name in enumerate("babcdef"[1:])}
    values = {"b": generator.normal(77, 1, 4), **{f"r{k}": v for k, v in values.items()}}
    outcomes = {name: by_seed(v, first=10 * i) for i, (name, v) in enumerate(values.items())}
    found = Comparisons(outcomes, Method(SignificanceTest.POOLED)).family(rows_of(outcomes), "b")
    theirs = reference.dunnett(
        *(values[row] for row in found), control=values["b"], rng=np.random.default_rng(0)
    )
    assert [each.p_corrected for each in found.values()] == pytest.approx(
        theirs.pvalue.tolist(), abs=2e-4
    )
    interval = theirs.confidence_interval()
    # scipy searches the critical value by a rough simulation.
    assert [each.low for each in found.values()] == pytest.approx(interval.low.tolist(), abs=0.02)
    assert [each.high for each in found.values()] == pytest.approx(interval.high.tolist(), abs=0.02)


methods = st.sampled_from(
    [Method(), Method(SignificanceTest.POOLED), Method(intervals=Intervals.INDIVIDUAL)]
)


@settings(deadline=None, max_examples=60)
@given(
    methods,
    st.integers(4, 20),
    st.integers(2, 6),
    st.integers(0, 10_000),
    st.floats(0, 5),
    st.booleans(),
)
def test_an_interval_excludes_zero_exactly_where_p_is_below_5_percent(
    method, rows, seeds, seed, effect, wild
):
    spreads = np.ones(rows + 1)
    spreads[1] = 5 if wild else 1
    outcomes = study(rows, seeds, spreads, seed, effect)
    for each in Comparisons(outcomes, method).family(rows_of(outcomes), "b").values():
        excludes = not each.low <= 0 <= each.high
        assert excludes == each.significant == (each.reported_p < 0.05)


def test_simultaneous_intervals_are_wider_than_individual_ones():
    outcomes = study(rows=9)
    together = Comparisons(outcomes).family(rows_of(outcomes), "b")
    alone = Comparisons(outcomes, Method(intervals=Intervals.INDIVIDUAL))
    for row, each in alone.family(rows_of(outcomes), "b").items():
        assert each.p_corrected is None
        assert each == together[row].alone
        assert each.half_width < together[row].half_width
        assert together[row].p_corrected >= each.p


def test_the_ordinary_test_has_individual_intervals_and_holms_p_values():
    outcomes = study(rows=5, effects=3.0)
    found = Comparisons(outcomes, ORDINARY).family(rows_of(outcomes), "b")
    p = [each.p for each in found.values()]
    assert [each.p_corrected for each in found.values()] == stats.holm_correction(p)
    for row, each in found.items():
        theirs = reference.ttest_rel(list(outcomes[row].values()), list(outcomes["b"].values()))
        assert each.p == pytest.approx(theirs.pvalue)
        assert each.low == pytest.approx(theirs.confidence_interval().low)


def test_a_noisy_row_keeps_its_own_spread():
    outcomes = study(rows=12, seeds=5, spreads=[1] * 12 + [12])
    found = Comparisons(outcomes).difference("r11", "b")
    ordinary = Comparisons(outcomes, ORDINARY).difference("r11", "b")
    assert found.standard_error == pytest.approx(ordinary.standard_error, rel=0.35)
    assert found.df < 6


def test_rows_with_other_seeds_are_compared_without_pairs():
    outcomes = study(rows=6, seeds=8, spreads=0.3)
    outcomes["far"] = {seed + 10: value for seed, value in outcomes["r0"].items()}
    found = Comparisons(outcomes).difference("far", "b")
    assert not found.paired
    near = Comparisons(outcomes).difference("r0", "b")
    assert found.standard_error > near.standard_error  # the seeds' effects do not cancel
    assert found.df > 2


def test_one_seed_has_no_interval_however_much_the_others_lend():
    outcomes = study(rows=8)
    outcomes["one"] = {0: 80.0}
    found = Comparisons(outcomes).family([*rows_of(outcomes)], "b")
    assert (found["one"].low, found["one"].p, found["one"].p_corrected) == (None, None, None)
    assert found["r0"].p_corrected is not None
    lone = {**outcomes, "b": {0: 77.0}}
    assert Comparisons(lone).difference("r0", "b").p is None


def test_a_collapsed_row_is_compared_with_the_baselines_spread():
    outcomes = study(rows=6)
    outcomes["r0"] = by_seed([10.0] * 3)
    found = Comparisons(outcomes).difference("r0", "b")
    assert found.half_width is not None
    assert found.mean < -60
    assert found.p < 1e-4


def test_rows_that_differ_by_the_same_in_all_seeds_have_no_spread():
    outcomes = {name: by_seed([80.0 + i, 81.0 + i, 79.5 + i]) for i, name in enumerate("bcdefg")}
    found = Comparisons(outcomes).difference("c", "b")
    assert found.constant
    assert (found.mean, found.p) == (1.0, None)


def test_one_run_at_chance_widens_its_own_interval_only():
    outcomes = study(rows=8, spreads=0.3)
    usual = Comparisons(outcomes).family(rows_of(outcomes), "b")
    outcomes["r3"][1] = 10.0
    found = Comparisons(outcomes).family(rows_of(outcomes), "b")
    assert found["r3"].half_width > 50
    for row in rows_of(outcomes):
        if row != "r3":
            assert found[row].half_width < 2 * usual[row].half_width


def test_a_missing_seed_of_a_row_takes_its_pair_only():
    outcomes = study(rows=6, seeds=4)
    del outcomes["r1"][2]
    found = Comparisons(outcomes).family(rows_of(outcomes), "b")
    assert [each.n for each in found.values()] == [4, 3, 4, 4, 4, 4]
    assert all(each.paired for each in found.values())
