"""Verdicts on claims: computed by hand for every kind of claim, and their properties."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from ablations.analysis import stats, verdicts
from ablations.analysis.build import build_studies
from ablations.analysis.verdicts import judge_claims, judge_difference
from ablations.paper.claims import ABOVE, BASELINE, BELOW, WITHIN
from ablations.store.load import load_records
from tests.factories.claims import (
    BASE,
    DEPTHWISE,
    IDENTITY,
    POOL5,
    RANDOM,
    badge,
    render_claims,
    runs,
    shifted,
    verdict,
)
from tests.factories.records import record

SEEN = {"fingerprint": "f" * 16, "classes": 10, "val": 2000}


@pytest.mark.parametrize(
    ("own", "variant", "differences", "expected"),
    [
        # Below: mean -2, deviation 1, half width 4.302653 / sqrt(3) = 2.484.
        (1, IDENTITY, (-2, -1, -3), "undetermined"),
        (1, IDENTITY, (-3, -2.5, -3.5), "agrees"),  # -3 ± 1.242
        (1, IDENTITY, (3, 2.5, 3.5), "contradicts"),
        # Above.
        (4, DEPTHWISE, (3, 2.5, 3.5), "agrees"),
        (4, DEPTHWISE, (-3, -2.5, -3.5), "contradicts"),
        (4, DEPTHWISE, (2, 1, 3), "undetermined"),
        # The baseline is the subject, so the sign is reversed.
        (8, "Modified LayerNorm -> LayerNorm", (-3, -2.5, -3.5), "agrees"),
        (9, "Modified LayerNorm -> BatchNorm", (3, 2.5, 3.5), "contradicts"),
        # Within 0.5: 0 ± 4.302653 * 0.1 / sqrt(3) = 0.248.
        (5, POOL5, (0.1, 0, -0.1), "agrees"),
        (5, POOL5, (0.22, 0.2, 0.18), "agrees"),  # 0.2 ± 0.05: above 0, and within 0.5
        (5, POOL5, (2, 2.1, 1.9), "contradicts"),  # 2 ± 0.248 at 95%
        (5, POOL5, (-2, -2.1, -1.9), "contradicts"),
        (5, POOL5, (0.6, 0.3, 0), "undetermined"),  # 0.3 ± 0.506
        (5, POOL5, (2, 1, 3), "undetermined"),  # the interval contains 0 and 0.5
        (12, "GELU -> SiLU", (0.1, 0, -0.1), "agrees"),
    ],
)
def test_the_interval_decides_the_verdict(own, variant, differences, expected):
    found = verdict(own, *BASE, *runs(variant, *shifted(*differences)))
    assert found.verdict == expected
    assert (found.delta.paired, found.delta.n) == (True, 3)
    assert (found.seeds is not None) == (expected == "undetermined")
    sign = -1 if own in (8, 9) else 1
    assert found.delta.mean == pytest.approx(sign * sum(differences) / 3)


def test_the_p_value_is_that_of_the_verdict():
    # t = -2 sqrt(3) with 2 degrees of freedom.
    found = verdict(1, *BASE, *runs(IDENTITY, *shifted(-2, -1, -3)))
    assert found.p == pytest.approx(2 * student.cdf(-2 * 3**0.5, 2))
    # Nearer margin at 0.5, standard error 0.1 / sqrt(3).
    found = verdict(5, *BASE, *runs(POOL5, *shifted(0.1, 0, -0.1)))
    assert found.p == pytest.approx(2 * student.cdf(-0.5 / (0.1 / 3**0.5), 2))
    found = verdict(5, *BASE, *runs(POOL5, *shifted(2, 2.1, 1.9)))
    assert found.p == pytest.approx(2 * student.cdf(-1.5 / (0.1 / 3**0.5), 2))


def test_a_comparison_need_not_be_the_baseline():
    found = verdict(2, *runs(IDENTITY, 70.0, 71.0, 73.0), *runs(RANDOM, 73.0, 73.5, 76.5))
    assert (found.verdict, found.reason) == ("agrees", "the 95% interval lies above 0")
    assert found.delta.mean == pytest.approx(3)  # there is no baseline here at all


def test_a_claim_about_the_baseline_has_the_interval_of_the_ablation_table():
    (study,) = build_studies(load_records([Path("results/mini")]).records)
    found = [
        each for each in judge_claims(study) if study.baseline in (each.subject, each.comparison)
    ]
    assert len(found) == 17
    for each in found:
        row = each.comparison if each.subject is study.baseline else each.subject
        sign = -1 if each.subject is study.baseline else 1
        assert each.delta.mean == sign * row.delta.mean
        assert each.delta.half_width == row.delta.half_width
        if each.claim.kind != WITHIN:
            assert each.p_corrected == pytest.approx(row.delta.p_corrected)
        assert each.decided <= (each.p_corrected < 0.05)


def test_one_seed_is_undetermined_and_says_so():
    found = verdict(1, BASE[0], *runs(IDENTITY, 40.0))
    assert (found.verdict, found.reason) == ("undetermined", "one seed has no interval")
    assert (found.delta.mean, found.p, found.p_corrected, found.seeds) == (-40, None, None, None)
    assert found.paper_in_interval is None


def test_seeds_without_spread_are_undetermined():
    for own, variant, by in ((1, IDENTITY, -2), (5, POOL5, 0)):
        found = verdict(own, *BASE, *runs(variant, *shifted(by, by, by)))
        assert (found.verdict, found.p, found.seeds) == ("undetermined", None, None)
        assert "no spread" in found.reason


def test_rows_with_different_seeds_are_compared_by_welch():
    found = verdict(1, *BASE, *runs(IDENTITY, 70.0, 71.0, 73.0, first=7))
    assert (found.verdict, found.delta.paired, found.delta.n) == ("agrees", False, 3)
    # Equal spreads, s² = 7/3 each: t = 10 / sqrt(14/9) with 4 degrees of freedom.
    assert found.p == pytest.approx(2 * student.cdf(-10 / (14 / 9) ** 0.5, 4))


def test_a_claim_without_records_or_results_is_not_run_with_the_reason():
    found = verdict(1, *BASE)
    assert (found.verdict, found.reason) == ("not run", f"no record of {IDENTITY}")
    failed = runs(IDENTITY, None, None, status="failed")
    found = verdict(1, *BASE, *failed)
    assert found.reason == f"no result of {IDENTITY} (2 failed: oom)"
    diverged = runs(IDENTITY, None, status="diverged")
    assert verdict(1, *BASE, *diverged).reason == f"no result of {IDENTITY} (1 diverged)"
    found = verdict(2, *BASE)
    assert found.reason == f"no record of {RANDOM}; no record of {IDENTITY}"
    assert (found.delta, found.p, found.seeds) == (None, None, None)


def test_without_a_baseline_claims_about_it_are_not_run():
    lone = runs(IDENTITY, 70.0, 71.0)
    found = verdict(1, *lone)
    assert (found.verdict, found.reason) == ("not run", "no baseline among these records")
    assert "No baseline among these records, so no claim about it is judged." in render_claims(
        lone, "md"
    )
    lost = [record(optim__lr=lr, model__norm="layer") for lr in (0.1, 0.2)]
    found = verdict(8, *lost)
    assert found.verdict == "not run"
    assert "choose with --baseline RUN_ID" in found.reason
    assert f"--baseline RUN_ID, one of {lost[0].run_id} (" in render_claims(lost, "md")


def test_with_another_baseline_claims_about_its_field_are_not_run():
    """With --baseline pool size 5, a row compares 9 with 5, which is not a claim of the paper."""
    base = runs("Pooling size 3 -> 5", 80.0, 81.0, 83.0)
    five = {"model.pool_size": 5}
    found = [
        *base,
        *runs("Pooling size 3 -> 9", 70.0, 71.0, 73.5),
        *runs("GELU -> ReLU", 70.0, 71.0, 73.5, **five),
    ]
    (study,) = build_studies(found, base[0].run_id)
    found = judge_claims(study)
    assert (found[6].verdict, found[6].reason) == (
        "not run",
        "the baseline has pool_size=5, the paper's pool_size=3",
    )
    assert found[4].reason == found[6].reason
    assert found[10].verdict == "agrees"  # ReLU, both pooling over 5 x 5
    assert [badge(study, row) for row in study.rows] == ["", "not run", "agrees"]


def test_a_chosen_baseline_can_be_a_row_of_the_paper():
    found = [
        *runs(IDENTITY, 70.0, 71.0, 73.0),
        *runs(RANDOM, 73.0, 73.5, 76.5),
        *BASE,
    ]
    (study,) = build_studies(found, found[0].run_id)
    found = judge_claims(study)
    assert found[1].verdict == "agrees"  # random above identity
    assert "the paper's token_mixers=pool" in found[2].reason


# Rows that did not learn


def test_two_rows_that_did_not_learn_are_undetermined():
    """Both are at 10% of ten classes: the claim "within 0.5" would agree."""
    base = runs(BASELINE, 10.0, 10.1, 9.9, status="diverged")
    found = verdict(5, *base, *runs(POOL5, 9.9, 10.0, 10.0, status="diverged"))
    assert (found.verdict, found.reason) == ("undetermined", "neither row learned")
    assert (found.p, found.seeds) == (None, None)
    assert f"{POOL5}: 3 of 3 runs diverged." in found.notes
    guessing = [
        replace(run, data=SEEN)
        for run in (*runs(BASELINE, 10.0, 10.1, 9.9), *runs(POOL5, 9.9, 10.0, 10.0))
    ]
    found = verdict(5, *guessing)
    assert (found.verdict, found.reason) == ("undetermined", "neither row learned")
    assert "Baseline does no better than guessing." in found.notes
    assert judge_difference(WITHIN, found.delta)[0] == "agrees"


def test_one_row_that_did_not_learn_decides_the_claim():
    lost = "Residual connection -> None"
    found = verdict(13, *BASE, *runs(lost, 10.0, 10.0, 10.0, status="diverged"))
    assert (found.verdict, found.notes) == ("agrees", (f"{lost}: 3 of 3 runs diverged.",))
    # Three deviations above 10% of 2,000 images are 12.01%.
    for top1, notes in ((12.0, 1), (12.1, 0)):
        run = [replace(each, data=SEEN) for each in (*BASE, *runs(lost, top1, top1, top1))]
        assert len(verdict(13, *run).notes) == notes


def test_a_record_without_valid_counts_counts_as_learned():
    odd = [
        replace(run, data={**SEEN, "val": "many"})
        for run in (*BASE, *runs(POOL5, *shifted(0, 1, 0)))
    ]
    assert verdict(5, *odd).reason == "the 95% interval crosses 0.5 points"


# Properties

differences = st.lists(
    st.integers(-400, 400).map(lambda hundredths: hundredths / 100), min_size=2, max_size=8
)
kinds = st.sampled_from([ABOVE, BELOW, WITHIN])
no_deadline = settings(deadline=None)


def delta(found):
    return stats.difference(dict(enumerate(found)), dict.fromkeys(range(len(found)), 0.0))


@given(differences, kinds)
@no_deadline
def test_a_verdict_is_given_exactly_where_p_is_below_5_percent(found, kind):
    seen = delta(found)
    p = verdicts.p_value(kind, seen)
    assume(p is None or abs(p - 0.05) > 1e-9)
    verdict = judge_difference(kind, seen).verdict
    assert (verdict != "undetermined") == (p is not None and p < 0.05)


@given(differences, kinds)
@no_deadline
def test_opposite_differences_give_the_opposite_verdict(found, kind):
    opposite = {"agrees": "contradicts", "contradicts": "agrees", "undetermined": "undetermined"}
    verdict = judge_difference(kind, delta(found)).verdict
    other = judge_difference(kind, delta([-value for value in found])).verdict
    assert other == (verdict if kind == WITHIN else opposite[verdict])


@given(differences, kinds, st.floats(1, 20))
@no_deadline
def test_more_noise_does_not_decide_an_undetermined_claim(found, kind, factor):
    before = delta(found)
    assume(not before.constant)
    noisy = [before.mean + factor * (value - before.mean) for value in found]
    assume(abs(verdicts.p_value(kind, before) - 0.05) > 1e-9)
    if judge_difference(kind, before).verdict == "undetermined":
        assert judge_difference(kind, delta(noisy)).verdict == "undetermined"


@given(differences, st.floats(0.1, 3), st.floats(1, 5))
@no_deadline
def test_a_wider_margin_keeps_agreement_and_adds_no_contradiction(found, margin, factor):
    seen = delta(found)
    narrow, wide = (judge_difference(WITHIN, seen, width)[0] for width in (margin, margin * factor))
    assert wide == "agrees" or narrow != "agrees"
    assert narrow == "contradicts" or wide != "contradicts"
