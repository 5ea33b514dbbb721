"""The paper's claims: the lines of the CSV file, and the rows that they compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ablations.analysis.build import build_studies
from ablations.analysis.verdicts import VERDICTS, judge_claims
from ablations.config.sweep import expand_sweeps
from ablations.paper import published
from ablations.paper.claims import ABOVE, BASELINE, BELOW, MARGIN, OTHER_CLAIMS, WITHIN, load_claims
from tests.factories.claims import badge
from tests.factories.records import record

SWEEPS = ["token_mixer", "pool_size", "normalization", "activation", "components"]
SWEEPS += ["hybrid_stages"]


def test_the_file_has_eighteen_claims_about_ablations():
    assert [claim.id for claim in load_claims()] == list(range(1, 19))
    lines = {int(line["id"]): line for line in published.parse_csv("claims.csv", dict)}
    assert set(lines) == {*range(1, 19), *OTHER_CLAIMS}
    assert all(lines[claim.id]["metric"] == "ImageNet-1K top-1" for claim in load_claims())


@pytest.mark.parametrize("claim", load_claims(), ids=lambda claim: claim.summary)
def test_the_numbers_of_a_claim_agree_with_the_ablation_table(claim):
    subject, comparison = (published.ablation_rows()[variant] for variant in claim.variants)
    assert subject is not comparison
    assert (claim.subject_top1, claim.comparison_top1) == (subject.top1, comparison.top1)
    # Two rounded values differ by up to 0.05 from their rounded difference; the text rounds again.
    assert claim.difference == pytest.approx(subject.top1 - comparison.top1, abs=0.051)
    assert claim.stated_difference == pytest.approx(claim.difference, abs=0.102)
    assert claim.evidence
    assert {
        ABOVE: claim.difference > 0,
        BELOW: claim.difference < 0,
        WITHIN: abs(claim.difference) < MARGIN,
    }[claim.kind]


def test_the_kind_of_a_claim_follows_from_the_papers_words():
    kinds = {claim.id: (claim.kind, claim.margin) for claim in load_claims()}
    assert {number for number, kind in kinds.items() if kind == (WITHIN, MARGIN)} == {5, 6, 12}
    above = {number for number, kind in kinds.items() if kind == (ABOVE, None)}
    assert above == {2, 4, 8, 9, *range(15, 19)}
    assert kinds[7] == (BELOW, None)  # pool size 9 is a drop
    words = {claim.id: claim.summary for claim in load_claims()}
    assert words[2] == "global random matrix above identity"
    assert words[5] == "pool size 5 within 0.5 of pool size 3"
    assert words[9] == "GroupNorm(1)/MLN above BatchNorm"


def test_every_claim_has_its_rows_in_a_study_of_the_sweeps():
    runs = expand_sweeps([Path(f"sweeps/{name}.yaml") for name in SWEEPS], "mini", seeds=[0])
    found = [
        replace(
            record(),
            run_id=run.config.run_id,
            config=run.config.to_json(),
            metrics={"val/top1": {"last": 50.0 + index, "best": 90.0}},
        )
        for index, run in enumerate(runs)
    ]
    (study,) = build_studies(found)
    assert len(study.rows) == 18
    verdicts = judge_claims(study)
    for each in verdicts:
        assert each.verdict != "not run", each.claim
        for variant, row in zip(each.claim.variants, (each.subject, each.comparison), strict=True):
            assert row.paper.variant == variant
            assert row in study.rows
    badges = {row.paper.variant: badge(study, row) for row in study.rows}
    assert badges.pop(BASELINE) == ""
    assert all(badge in VERDICTS for badge in badges.values())
