"""Claims against records made by hand: a verdict for every kind, by arithmetic done on paper."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from ablations import published, stats
from ablations.__main__ import main
from ablations.claims import (
    ABOVE,
    BELOW,
    MARGIN,
    OTHERS,
    VERDICTS,
    WITHIN,
    hold,
    judge,
    of_row,
    paper,
    read,
    seeds_to_settle,
)
from ablations.claims.paper import BASELINE
from ablations.places import ROWS
from ablations.study import studies
from ablations.sweep import expand
from ablations.tables import claims, claims_tidy, written_claims
from tests.ablations.test_tables import record

SHIPPED = published.PAPER / paper.FILE
SWEEPS = ["token_mixer", "pool_size", "normalization", "activation", "components"]
SWEEPS += ["hybrid_stages"]


def render_claims(found, form: str) -> str:
    return written_claims(studies(found), form)


def runs(variant, *outcomes, first=0, status="finished", **overrides):
    """Records of a row of the paper, an outcome a seed; for the baseline, ``BASELINE``."""
    if variant != BASELINE:
        field, value = ROWS[variant]
        overrides[field] = value
    return [
        record(seed, top1, status=status, **overrides)
        for seed, top1 in enumerate(outcomes, start=first)
    ]


def moved(*differences):
    """Outcomes that differ by so much from the baseline's, seed by seed."""
    outcomes = (80.0, 81.0, 83.0)
    return [base + by for base, by in zip(outcomes, differences, strict=True)]


def verdict(own, *found):
    """What the records say of the claim with this id."""
    (study,) = studies(found)
    return {each.claim.id: each for each in hold(study)}[own]


BASE = runs(BASELINE, 80.0, 81.0, 83.0)
IDENTITY, RANDOM = "Pooling -> Identity mapping", "Pooling -> Global random matrix"
POOL5, DEPTHWISE = "Pooling size 3 -> 5", "Pooling -> Depthwise convolution"
SEEN = {"fingerprint": "f" * 16, "classes": 10, "val": 2000}


# What the paper claims


def test_the_shipped_file_has_eighteen_claims_on_ablations_and_is_whole():
    found, problems = read()
    assert problems == []
    assert [claim.id for claim in found] == list(range(1, 19))
    lines = {int(line["id"]): line for line in csv.DictReader(io.StringIO(SHIPPED.read_text()))}
    assert set(lines) == {*range(1, 19), *OTHERS}
    table = published.ablation_rows()
    for claim in found:
        line, (subject, comparison) = lines[claim.id], claim.rows
        assert (claim.subject, claim.comparison) == (line["subject"], line["comparison"])
        assert claim.difference == float(line["delta_from_tables"])
        assert table[subject].top1 == claim.value
        assert table[comparison].top1 == claim.reference
        assert claim.reading


def test_the_papers_words_make_the_kinds():
    kinds = {claim.id: (claim.kind, claim.margin) for claim in read()[0]}
    assert {own for own, kind in kinds.items() if kind == (WITHIN, MARGIN)} == {5, 6, 12}
    assert {own for own, (kind, _) in kinds.items() if kind == ABOVE} == {
        2,
        4,
        8,
        9,
        *range(15, 19),
    }
    assert kinds[7] == (BELOW, None)  # 9 is a drop
    words = {claim.id: claim.words for claim in read()[0]}
    assert words[2] == "global random matrix above identity"
    assert words[5] == "pool size 5 within 0.5 of pool size 3"
    assert words[9] == "GroupNorm(1)/MLN above BatchNorm"


def test_every_claim_finds_its_rows_in_the_study_of_the_sweeps():
    cells = expand([Path(f"sweeps/{name}.yaml") for name in SWEEPS], "mini", seeds=[0])
    found = [
        replace(record(), run_id=cell.config.run_id, config=cell.config.to_json(), metrics=top1)
        for place, cell in enumerate(cells)
        if (top1 := {"val/top1": {"last": 50.0 + place, "best": 90.0}})
    ]
    (study,) = studies(found)
    assert len(study.rows) == 18
    for each in hold(study):
        assert each.verdict != "not run", each.claim
        for variant, row in zip(each.claim.rows, (each.subject, each.comparison), strict=True):
            assert row.paper.variant == variant
            assert row in study.rows
    badges = {row.paper.variant: of_row(hold(study), row) for row in study.rows}
    assert badges.pop(BASELINE) == ""
    assert all(badge in VERDICTS for badge in badges.values())


# Verdicts, by hand


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
        # The baseline is the subject: what is lost by another norm is won by its own.
        (8, "Modified LayerNorm -> LayerNorm", (-3, -2.5, -3.5), "agrees"),
        (9, "Modified LayerNorm -> BatchNorm", (3, 2.5, 3.5), "contradicts"),
        # Within 0.5: 0 ± 2.919986 * 0.1 / sqrt(3) = 0.169 at 90%.
        (5, POOL5, (0.1, 0, -0.1), "agrees"),
        (5, POOL5, (0.3, 0.2, 0.1), "agrees"),  # above 0, and within 0.5
        (5, POOL5, (2, 2.1, 1.9), "contradicts"),  # 2 ± 0.248 at 95%
        (5, POOL5, (-2, -2.1, -1.9), "contradicts"),
        (5, POOL5, (0.6, 0.3, 0), "undetermined"),  # 0.3 ± 0.506
        (5, POOL5, (2, 1, 3), "undetermined"),  # sure to be above 0? no, and 0.5 is inside
        (12, "GELU -> SiLU", (0.1, 0, -0.1), "agrees"),
    ],
)
def test_a_verdict_follows_the_interval(own, variant, differences, expected):
    found = verdict(own, *BASE, *runs(variant, *moved(*differences)))
    assert found.verdict == expected
    assert (found.delta.paired, found.delta.n) == (True, 3)
    assert (found.seeds is not None) == (expected == "undetermined")
    sign = -1 if own in (8, 9) else 1
    assert found.delta.mean == pytest.approx(sign * sum(differences) / 3)


def test_the_p_value_is_that_of_the_verdict():
    # t = -2 sqrt(3) with 2 degrees of freedom.
    found = verdict(1, *BASE, *runs(IDENTITY, *moved(-2, -1, -3)))
    assert found.p == pytest.approx(2 * student.cdf(-2 * 3**0.5, 2))
    # Nearer margin at 0.5, standard error 0.1 / sqrt(3).
    found = verdict(5, *BASE, *runs(POOL5, *moved(0.1, 0, -0.1)))
    assert found.p == pytest.approx(student.cdf(-0.5 / (0.1 / 3**0.5), 2))
    found = verdict(5, *BASE, *runs(POOL5, *moved(2, 2.1, 1.9)))
    assert found.p == pytest.approx(2 * student.cdf(-1.5 / (0.1 / 3**0.5), 2))


def test_a_comparison_need_not_be_the_baseline():
    found = verdict(2, *runs(IDENTITY, 70.0, 71.0, 73.0), *runs(RANDOM, 73.0, 73.5, 76.5))
    assert (found.verdict, found.why) == ("agrees", "the 95% interval lies above 0")
    assert found.delta.mean == pytest.approx(3)  # there is no baseline here at all


def test_one_seed_is_undetermined_and_says_so():
    found = verdict(1, BASE[0], *runs(IDENTITY, 40.0))
    assert (found.verdict, found.why) == ("undetermined", "one seed has no interval")
    assert (found.delta.mean, found.p, found.p_holm, found.seeds) == (-40, None, None, None)
    assert found.paper_inside is None


def test_no_spread_is_undetermined_even_for_the_same():
    for own, variant, by in ((1, IDENTITY, -2), (5, POOL5, 0)):
        found = verdict(own, *BASE, *runs(variant, *moved(by, by, by)))
        assert (found.verdict, found.p, found.seeds) == ("undetermined", None, None)
        assert "no spread" in found.why


def test_other_seeds_are_compared_by_welch():
    found = verdict(1, *BASE, *runs(IDENTITY, 70.0, 71.0, 73.0, first=7))
    assert (found.verdict, found.delta.paired, found.delta.n) == ("agrees", False, 3)
    # Equal spreads, s² = 7/3 each: t = 10 / sqrt(14/9) with 4 degrees of freedom.
    assert found.p == pytest.approx(2 * student.cdf(-10 / (14 / 9) ** 0.5, 4))


def test_a_row_that_was_not_run_or_has_no_result_is_told():
    found = verdict(1, *BASE)
    assert (found.verdict, found.why) == ("not run", f"no record of {IDENTITY}")
    failed = runs(IDENTITY, None, None, status="failed")
    found = verdict(1, *BASE, *failed)
    assert found.why == f"no result of {IDENTITY} (2 failed: oom)"
    diverged = runs(IDENTITY, None, status="diverged")
    assert verdict(1, *BASE, *diverged).why == f"no result of {IDENTITY} (1 diverged)"
    found = verdict(2, *BASE)
    assert found.why == f"no record of {RANDOM}; no record of {IDENTITY}"
    assert (found.delta, found.p, found.seeds) == (None, None, None)


def test_without_a_baseline_its_claims_are_not_run():
    lone = runs(IDENTITY, 70.0, 71.0)
    found = verdict(1, *lone)
    assert (found.verdict, found.why) == ("not run", "no baseline among these records")
    assert "No baseline among these records, so no claim about it is held." in render_claims(
        lone, "md"
    )
    lost = [record(optim__lr=lr, model__norm="layer") for lr in (0.1, 0.2)]
    found = verdict(8, *lost)
    assert found.verdict == "not run"
    assert "choose with --baseline RUN_ID" in found.why
    assert f"--baseline RUN_ID, one of {lost[0].run_id} (" in render_claims(lost, "md")


def test_a_row_whose_line_of_the_papers_table_is_left_out_is_not_called_unrun(monkeypatch):
    (study,) = studies([*BASE, *runs(IDENTITY, 70.0, 71.0)])
    study.rows[1].paper = None
    left = {name: row for name, row in published.ablation_rows().items() if name != IDENTITY}
    monkeypatch.setattr(published, "ablation_rows", lambda: left)
    found = hold(study)[0]
    assert (found.verdict, found.why) == (
        "not run",
        f"ablation.csv has no usable line of {IDENTITY}",
    )


def test_a_baseline_that_is_not_the_papers_decides_nothing_of_its_own_field():
    """Chosen with --baseline: "9 in place of 5" is none of the paper's claims."""
    base = runs("Pooling size 3 -> 5", 80.0, 81.0, 83.0)
    five = {"model.pool_size": 5}
    found = [
        *base,
        *runs("Pooling size 3 -> 9", 70.0, 71.0, 73.5),
        *runs("GELU -> ReLU", 70.0, 71.0, 73.5, **five),
    ]
    (study,) = studies(found, base[0].run_id)
    verdicts = hold(study)
    assert (verdicts[6].verdict, verdicts[6].why) == (
        "not run",
        "the baseline has pool_size=5, the paper's pool_size=3",
    )
    assert verdicts[4].why == verdicts[6].why
    assert verdicts[10].verdict == "agrees"  # ReLU, both pooling over 5 x 5
    assert [of_row(verdicts, row) for row in study.rows] == ["", "not run", "agrees"]


def test_a_baseline_that_was_chosen_is_still_a_row_of_the_paper():
    found = [
        *runs(IDENTITY, 70.0, 71.0, 73.0),
        *runs(RANDOM, 73.0, 73.5, 76.5),
        *BASE,
    ]
    (study,) = studies(found, found[0].run_id)
    verdicts = hold(study)
    assert verdicts[1].verdict == "agrees"  # random above identity
    assert "the paper's token_mixers=pool" in verdicts[2].why


# Rows that did not learn


def test_two_rows_that_did_not_learn_are_not_the_same():
    """Both at 10% of ten classes: "within 0.5" would agree."""
    base = runs(BASELINE, 10.0, 10.1, 9.9, status="diverged")
    found = verdict(5, *base, *runs(POOL5, 9.9, 10.0, 10.0, status="diverged"))
    assert (found.verdict, found.why) == ("undetermined", "neither row learned")
    assert (found.p, found.seeds) == (None, None)
    assert f"{POOL5}: 3 of 3 runs diverged." in found.notes
    guessing = [
        replace(run, data=SEEN)
        for run in (*runs(BASELINE, 10.0, 10.1, 9.9), *runs(POOL5, 9.9, 10.0, 10.0))
    ]
    found = verdict(5, *guessing)
    assert (found.verdict, found.why) == ("undetermined", "neither row learned")
    assert "Baseline does no better than guessing." in found.notes
    assert judge(WITHIN, found.delta)[0] == "agrees"


def test_one_row_that_did_not_learn_is_an_outcome():
    lost = "Residual connection -> None"
    found = verdict(13, *BASE, *runs(lost, 10.0, 10.0, 10.0, status="diverged"))
    assert (found.verdict, found.notes) == ("agrees", (f"{lost}: 3 of 3 runs diverged.",))
    # Three deviations above 10% of 2,000 pictures are 12.01%.
    for top1, notes in ((12.0, 1), (12.1, 0)):
        run = [replace(each, data=SEEN) for each in (*BASE, *runs(lost, top1, top1, top1))]
        assert len(verdict(13, *run).notes) == notes


def test_a_record_that_knows_no_counts_is_taken_as_learned():
    odd = [
        replace(run, data={**SEEN, "val": "many"}) for run in (*BASE, *runs(POOL5, *moved(0, 1, 0)))
    ]
    assert verdict(5, *odd).why == "the interval crosses 0.5 points"


# What stands beside a verdict


def test_a_verdict_that_holms_correction_takes_back_is_marked():
    # t = -1.5 / (0.5 / sqrt(3)) with 2 degrees of freedom: p = 0.035, of two claims 0.070.
    lone = [*BASE, *runs(IDENTITY, *moved(-1.5, -1, -2))]
    both = [*lone, *runs(DEPTHWISE, *moved(2, 1, 3))]
    found = verdict(1, *lone)
    assert (found.verdict, found.survives) == ("agrees", True)
    assert found.p_holm == found.p == pytest.approx(0.0351, abs=5e-5)
    found = verdict(1, *both)
    assert (found.verdict, found.survives) == ("agrees", False)
    assert found.p_holm == pytest.approx(2 * found.p)
    text = render_claims(both, "md")
    assert "Not below 5% after Holm" in text
    assert "chance alone would decide up to 0.1 wrongly" in text
    assert "Not below 5% after Holm" not in render_claims(lone, "md")


def test_the_papers_difference_may_lie_in_our_interval():
    assert verdict(1, *BASE, *runs(IDENTITY, *moved(-2, -1, -3))).paper_inside is True  # -2.9
    assert verdict(1, *BASE, *runs(IDENTITY, *moved(-2, -2.1, -1.9))).paper_inside is False


def test_seeds_that_would_settle_a_claim():
    # A difference of two deviations; one of 0.2 deviations from the margin of 0.5 at 10%.
    found = verdict(1, *BASE, *runs(IDENTITY, *moved(-2, -1, -3)))
    assert found.seeds == stats.seeds_needed(2.0, 1.0) == 5
    found = verdict(5, *BASE, *runs(POOL5, *moved(1.3, 0.3, -0.7)))
    assert found.seeds == stats.equivalence_seeds(0.3, 1.0, 0.5) == 156
    found = verdict(5, *BASE, *runs(POOL5, *moved(1.7, 0.7, -0.3)))  # beyond it: two-sided, 5%
    assert found.seeds == stats.seeds_needed(0.2, 1.0) == 199
    welch = verdict(5, *BASE, *runs(POOL5, 80.0, 81.0, 83.0, first=7))
    assert welch.seeds == stats.equivalence_seeds(0.0, (7 / 3) ** 0.5, 0.5, paired=False)
    border = stats.difference({0: 1.5, 1: -0.5}, {0: 0.0, 1: 0.0})
    assert seeds_to_settle(WITHIN, border) is None


def test_a_row_that_changes_more_than_its_axis_is_told_and_the_papers_own_is_held():
    full = [record(seed, top1, preset="ppaa") for seed, top1 in enumerate((85.0, 86.0, 88.5))]
    bare = runs("[Pool,Pool,Attention,Attention]", 20.0, 21.0, 23.0)
    found = verdict(16, *BASE, *full, *bare)
    assert found.subject.top1.mean == pytest.approx(86.5)
    assert found.notes[0].startswith("[Pool,Pool,Attention,Attention] also changes batch_size")
    assert found.notes[1].startswith("2 rows are the paper's [Pool,Pool,Attention,Attention]")
    (study,) = studies([*BASE, *full, *bare])
    badges = [of_row(hold(study), row) for row in study.rows]
    assert sorted(badges) == ["", "", "agrees"]


def test_the_badge_of_a_row_is_that_of_its_claim_against_the_baseline():
    found = [
        *BASE,
        *runs(IDENTITY, *moved(-3, -2.5, -3.5)),
        *runs(RANDOM, *moved(3, 2.5, 3.5)),
        *runs("Modified LayerNorm -> LayerNorm", *moved(3, 2.5, 3.5)),
        *runs("Pooling size 3 -> 9", None, status="failed"),
        record(model__mlp_ratio=2.0),
    ]
    (study,) = studies(found)
    verdicts = hold(study)
    assert [(row.label, of_row(verdicts, row)) for row in study.rows] == [
        ("Baseline", ""),
        (IDENTITY, "agrees"),
        (RANDOM, "contradicts"),  # above identity as claimed, but that is another claim
        ("Pooling size 3 -> 9", "not run"),
        ("Modified LayerNorm -> LayerNorm", "contradicts"),
        ("model.mlp_ratio 4 -> 2", ""),
    ]
    from ablations.tables.missing import paper_rows

    absent = paper_rows(study, whole=True)
    assert {of_row(verdicts, row) for row in absent} == {"not run"}


# What always holds

differences = st.lists(
    st.integers(-400, 400).map(lambda hundredths: hundredths / 100), min_size=2, max_size=8
)
kinds = st.sampled_from([ABOVE, BELOW, WITHIN])
patiently = settings(deadline=None)


def delta(found):
    return stats.difference(dict(enumerate(found)), dict.fromkeys(range(len(found)), 0.0))


@given(differences, kinds)
@patiently
def test_a_verdict_is_given_just_where_p_is_below_5_percent(found, kind):
    verdict, p, _ = judge(kind, delta(found))
    assume(p is None or abs(p - 0.05) > 1e-9)
    assert (verdict != "undetermined") == (p is not None and p < 0.05)


@given(differences, kinds)
@patiently
def test_the_opposite_outcomes_give_the_opposite_verdict(found, kind):
    opposite = {"agrees": "contradicts", "contradicts": "agrees", "undetermined": "undetermined"}
    verdict, p, _ = judge(kind, delta(found))
    other, p_other, _ = judge(kind, delta([-value for value in found]))
    assert other == (verdict if kind == WITHIN else opposite[verdict])
    assert p_other == pytest.approx(p)


@given(differences, kinds, st.floats(1, 20))
@patiently
def test_more_noise_never_settles_a_claim(found, kind, factor):
    before = delta(found)
    assume(not before.constant)
    noisy = [before.mean + factor * (value - before.mean) for value in found]
    verdict, p, _ = judge(kind, before)
    assume(abs(p - 0.05) > 1e-9)
    if verdict == "undetermined":
        assert judge(kind, delta(noisy))[0] == "undetermined"


@given(differences, st.floats(0.1, 3), st.floats(1, 5))
@patiently
def test_a_wider_margin_keeps_what_agrees_and_adds_no_contradiction(found, margin, factor):
    seen = delta(found)
    narrow, wide = (judge(WITHIN, seen, width)[0] for width in (margin, margin * factor))
    assert wide == "agrees" or narrow != "agrees"
    assert narrow == "contradicts" or wide != "contradicts"


# The table


def test_the_table_reads_as_the_paper_counts():
    found = [*BASE, *runs(IDENTITY, *moved(-3, -2.5, -3.5)), *runs(POOL5, *moved(0.6, 0.3, 0))]
    (study,) = studies(found)
    table = claims(study)
    assert list(table.frame["#"]) == [str(own) for own in range(1, 19)]
    cells = table.frame.iloc[0].to_dict()
    assert cells["Claim"] == "identity token mixer below pooling baseline"
    assert (cells["Verdict"], cells["Δ"], cells["95% CI"]) == ("agrees", "-3.00", "[-4.24, -1.76]")
    assert (cells["n"], cells["Paper Δ"], cells["In CI"]) == ("3", "-2.9", "yes")
    assert cells["Seeds needed"] == ""
    assert int(table.frame.iloc[4]["Seeds needed"]) > 3
    assert table.badges == [each.verdict for each in hold(study)]
    assert (table.drawn[0].mean, table.drawn[0].paper) == (pytest.approx(-3), -2.9)
    assert (table.drawn[1].mean, table.drawn[1].paper) == (None, 1.5)
    foot = "\n".join(table.lines)
    assert "18 claims on ablations: agrees 1, undetermined 1, not run 16." in foot
    assert "about recipe mini (data mini, 32x32 pixels" in foot
    assert "claims 19 to 34" in foot
    assert "`ablations run sweeps/pool_size.yaml --recipe mini --seeds 0,1,2`" in foot
    assert table.lines[-1].startswith("Made from 9 records")


def test_the_tidy_table_has_raw_numbers():
    found = [*BASE, *runs(IDENTITY, *moved(-2, -1, -3)), *runs(POOL5, *moved(0.1, 0, -0.1))]
    (study,) = studies(found)
    frame = claims_tidy(study).set_index("claim")
    row = frame.loc[1]
    assert (row["kind"], row["verdict"], row["delta_test"]) == ("below", "undetermined", "paired t")
    assert row["delta_low"] == pytest.approx(-2 - 4.302653 / 3**0.5, rel=1e-6)
    assert (row["subject_n"], row["comparison_n"], row["seeds_needed"]) == (3, 3, 5)
    assert row["subject_run_ids"] == " ".join(run.run_id for run in found[3:6])
    assert (frame.loc[5, "margin"], frame.loc[5, "delta_test"]) == (0.5, "two one-sided, paired t")
    assert frame.loc[7, "paper_delta"] == -0.4
    assert frame.loc[7, "paper_stated_delta"] == -0.5
    two = render_claims([*found, record(recipe="fashion")], "csv")
    lines = list(csv.DictReader(io.StringIO(two)))
    assert len(lines) == 36
    assert lines[18]["seeds_needed"] == "5"  # mini follows fashion
    assert {line["verdict"] for line in lines[:18]} == {"not run"}


def test_latex_has_all_of_it():
    text = render_claims([*BASE, *runs(IDENTITY, *moved(-3, -2.5, -3.5))], "tex")
    assert "identity token mixer below pooling baseline & agrees & -3.00" in text
    assert text.count("{") == text.count("}")


# The command


def test_verdicts_come_without_torch_and_pandas():
    code = "import sys, ablations.claims as _; sys.exit(bool({'torch', 'pandas'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_exit_code_is_0_whatever_the_verdicts(tmp_path, capsys):
    for run in (*BASE, *runs(IDENTITY, *moved(3, 2.5, 3.5))):
        run.write(tmp_path / "mini")
    record(recipe="fashion").write(tmp_path / "fashion")
    folders = [str(tmp_path / name) for name in ("mini", "fashion")]
    assert main(["claims", *folders]) == 0
    out, err = capsys.readouterr()
    assert out.count("### Claims: ") == 2
    assert "contradicts" in out
    assert err == ""
    target = tmp_path / "claims.csv"
    assert main(["claims", folders[0], "--format", "csv", "-o", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert len(target.read_text().splitlines()) == 19


def test_the_baseline_can_be_chosen(tmp_path, capsys):
    for run in (*BASE, *runs(IDENTITY, *moved(-3, -2.5, -3.5))):
        run.write(tmp_path)
    chosen = runs(IDENTITY, 0.0)[0].run_id
    assert main(["claims", str(tmp_path), "--baseline", chosen, "--format", "csv"]) == 0
    (line, *_) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert line["why"] == "the baseline has token_mixers=identity, the paper's token_mixers=pool"


def test_a_record_that_cannot_be_used_is_left_out_and_told(tmp_path, capsys):
    for run in BASE:
        run.write(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    assert main(["claims", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "### Claims: " in out
    assert err.count("\n") == 1
    assert "broken/record.json" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "markdown"], "valid are md, csv, tex"),
        (["--baseline", "none"], "is the id of no run here"),
        (["--finished"], "give --wandb PATH"),
        (["--seed=3"], "does not take --seed"),
        (["--style=paper"], "unknown flag '--style'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(words, told, tmp_path, capsys):
    for run in BASE:
        run.write(tmp_path)
    assert main(["claims", str(tmp_path), *words]) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert (out, err.count("\n")) == ("", 1)


# A file edited into nonsense


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """``edited(old, new)``: the shipped papers' files, one of them changed."""
    folder = shutil.copytree(published.PAPER, tmp_path / "paper")

    def edit(old: str, new: str) -> Path:
        path = folder / paper.FILE
        text = SHIPPED.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        monkeypatch.setattr(published, "PAPER", folder)
        return path

    return edit


FIRST = "1,identity token mixer,pooling baseline,ImageNet-1K top-1,74.3,77.2,-2.9,-2.9"
NONSENSE = {
    "line 2: value 'abc' is no number": (FIRST, FIRST.replace("74.3", "abc")),
    "line 2: value 'nan' is no number": (FIRST, FIRST.replace("74.3", "nan")),
    "line 2: reference_value '' is no number": (FIRST, FIRST.replace("77.2", "")),
    "line 2: value 75.3, but Pooling -> Identity mapping has 74.3": (
        FIRST,
        FIRST.replace("74.3", "75.3"),
    ),
    "line 2: delta_from_tables 2.9, but 74.3 - 77.2 is another": (
        FIRST,
        FIRST.removesuffix("-2.9") + "2.9",
    ),
    "line 2: stated_delta -3.2, but 74.3 - 77.2 is another": (
        FIRST,
        FIRST.replace("-2.9", "-3.2", 1),
    ),
    "line 2: subject 'foo' is no row": (FIRST, FIRST.replace("identity token mixer", "foo")),
    "line 2: pooling baseline is pooling baseline: nothing is compared": (
        FIRST,
        FIRST.replace("identity token mixer", "pooling baseline"),
    ),
    "line 2: metric 'COCO AP' is not": (FIRST, FIRST.replace("ImageNet-1K top-1", "COCO AP")),
    "line 2: id 'one' is none of the paper's claims, 1 to 34": (FIRST, "one" + FIRST[1:]),
    "line 2: id '99' is none": (FIRST, "99" + FIRST[1:]),
    "line 3: id 1 is there already": ("\n2,", "\n1,"),
    "line 2: fewer cells than columns": (FIRST + ",V3 text+Table 5; ARTICLE", FIRST),
    "line 2: more cells than columns": (FIRST, FIRST + ",,,"),
    "line 2: the paper says pool": (
        FIRST,
        "1,pooling baseline,identity,ImageNet-1K top-1,77.2,74.3,2.9,2.9",
    ),
    "has no column subject": ("id,subject,", "id,topic,"),
    "is no CSV": ("derived", 'derived""" ,"'),
}


@pytest.mark.parametrize("told", NONSENSE)
def test_a_line_of_nonsense_is_left_out_and_told_with_its_place(told, edited, tmp_path, capsys):
    path = edited(*NONSENSE[told])
    for run in (*BASE, *runs(POOL5, *moved(0.1, 0, -0.1))):
        run.write(tmp_path / "runs")
    assert main(["claims", str(tmp_path / "runs")]) == 1
    out, err = capsys.readouterr()
    assert (err.count("\n"), str(path) in err) == (1, True)
    assert told in err
    whole_file = "line" not in told
    assert ("pool size 5 within 0.5 of pool size 3" in out) != whole_file
    assert "Made from 6 records" in out


def test_a_line_that_is_gone_is_told(edited):
    found, problems = read(edited("\n5,pool size 5,", "\n6,pool size 5,"))
    assert [claim.id for claim in found] == [1, 2, 3, 4, 6, *range(7, 19)]
    (problem,) = problems
    assert problem.endswith("id 6 is there already")
    lines = SHIPPED.read_text().splitlines(keepends=True)
    path = edited("".join(lines[5:7]), "")
    assert read(path)[1] == [f"{path} has no claim 5, 6"]


def test_a_file_that_is_gone_or_begins_with_a_mark(edited):
    path = edited("id,", "\ufeffid,")
    assert read()[1] == []
    path.unlink()
    assert read() == ([], [f"{path} cannot be read: No such file or directory"])


def test_bytes_that_are_no_text_are_told(edited):
    path = edited("id,", "id,")
    path.write_bytes(b"\xff\xfe\x00id")
    found, (problem,) = read()
    assert found == []
    assert problem.startswith(f"{path} is no CSV")
    (study,) = studies(BASE)
    assert claims(study).foot[0] == "0 claims on ablations: none can be read."
