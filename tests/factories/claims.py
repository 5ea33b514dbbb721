"""Records of the rows that the paper's claims compare."""

from __future__ import annotations

from ablations import tables
from ablations.analysis.build import build_studies
from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.analysis.verdicts import judge_claims, verdict_of_row
from ablations.paper.claims import BASELINE
from ablations.paper.matching import PAPER_CHANGES
from ablations.tables.table import Badge
from tests.factories.records import record


def render_claims(found, form: str) -> str:
    return tables.render_tables([*map(tables.claims_table, build_studies(found))], form)


def runs(variant, *outcomes, first=0, status="finished", **overrides):
    """Records of a row of the paper, one outcome per seed; ``BASELINE`` for the baseline."""
    if variant != BASELINE:
        field, value = PAPER_CHANGES[variant]
        overrides[field] = value
    return [
        record(seed, top1, status=status, **overrides)
        for seed, top1 in enumerate(outcomes, start=first)
    ]


def shifted(*differences):
    """The baseline's outcomes plus these differences, seed by seed."""
    outcomes = (80.0, 81.0, 83.0)
    return [base + by for base, by in zip(outcomes, differences, strict=True)]


def verdict(own, *found):
    """The verdict of the records on the claim with this id."""
    (study,) = build_studies(found)
    return {each.claim.id: each for each in judge_claims(study)}[own]


BASE = runs(BASELINE, 80.0, 81.0, 83.0)
IDENTITY, RANDOM = "Pooling -> Identity mapping", "Pooling -> Global random matrix"
POOL5, DEPTHWISE = "Pooling size 3 -> 5", "Pooling -> Depthwise convolution"


def badge(study: Study, row: Row) -> str:
    """The badge of a row; "" for none."""
    found = Badge.of(verdict_of_row(judge_claims(study), row))
    return found.text if found else ""
