"""The paper's claims on its ablations, each held against a study: agrees, contradicts or neither.

A claim says that one row (the subject) is above or below another (the comparison) in top-1, or the
same within a margin. ``paper/claims.csv`` has the paper's words and numbers; which of the three it
says, and why we read it so, is ``READINGS`` here. The difference is subject minus comparison over
the seeds of both (``stats.difference``: paired where they share two seeds, else Welch's t).

The verdict follows from its t interval alone:

- **Above, below.** *agrees*: the 95% interval lies wholly on the claimed side of 0. *contradicts*:
  wholly on the other side.
- **Within the margin.** *agrees*: two one-sided tests at 5% reject a difference of the margin or
  more, so the 90% interval lies inside it. *contradicts*: the 95% interval lies wholly outside.
- *undetermined*: everything else. That is also one seed, outcomes without spread (no interval can
  be had), and two rows of which neither learned: runs that diverged or that only guess say nothing
  of what the rows can do, and would be "the same".
- *not run*: the study has no result of a row, or its baseline has another value of what the claim
  is about than the paper's.

The p-value is of the verdict that the outcomes lean to: of no difference for a direction; for a
margin, of a difference beyond it where ours is inside, and of one inside it where ours is beyond.
So a verdict is given just where p is below 5%, and wrong in at most 5 of 100 studies. Over a whole
table that adds up: ``p_holm`` is corrected for the claims that were tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ablations.analysis import stats
from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.paper import matching
from ablations.paper.claims import ABOVE, BELOW, MARGIN, WITHIN, Claim, load_claims
from ablations.paper.matching import PAPER_BASELINE
from ablations.paper.published import BASELINE

VERDICTS = ["agrees", "contradicts", "undetermined", "not run"]
AGREES, CONTRADICTS, UNDETERMINED, NOT_RUN = VERDICTS
UNCORRECTED = "uncorrected"  # said of a verdict that Holm's correction takes away


@dataclass(frozen=True)
class Verdict:
    """What the records of a study say of a claim.

    Args:
        verdict: One of VERDICTS.
        reason: The reason in words.
        delta: Subject minus comparison in points; None where either has no result.
        p: Of the verdict that the outcomes lean to; None where there is no test.
        p_holm: The same after Holm's correction over the study's claims.
        seeds: Of each row, to settle an undetermined claim with 80% power if the true difference
            were the one that was seen; None where nothing was seen to go by.
        subject: The row of the study; None where it has none.
        comparison: The same.
        notes: What else a reader must know of the two rows, a sentence each.
    """

    claim: Claim
    verdict: str
    reason: str
    delta: stats.Difference | None = None
    p: float | None = None
    p_holm: float | None = None
    seeds: int | None = None
    subject: Row | None = None
    comparison: Row | None = None
    notes: tuple[str, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether the claim agrees or contradicts."""
        return self.verdict in (AGREES, CONTRADICTS)

    @property
    def survives_holm(self) -> bool:
        """Whether a verdict stands after Holm's correction; True where there is nothing to lose."""
        return not self.decided or (self.p_holm is not None and self.p_holm < stats.ALPHA)

    @property
    def badge(self) -> str:
        """The verdict, and whether it would not stand after Holm's correction."""
        return self.verdict if self.survives_holm else f"{self.verdict}, {UNCORRECTED}"

    @property
    def paper_in_interval(self) -> bool | None:
        """Whether the paper's difference lies in our 95% interval; None without one."""
        if self.delta is None or self.delta.low is None or self.delta.high is None:
            return None
        return self.delta.low <= self.claim.difference <= self.delta.high


def judge_claims(study: Study, claims: Sequence[Claim] | None = None) -> list[Verdict]:
    """A verdict on each claim, in the order of the ids.

    Args:
        study: The study.
        claims: The shipped ones, if None.
    """
    rows = _rows(study)
    found = [_hold(study, claim, rows) for claim in (load_claims() if claims is None else claims)]
    corrected = stats.holm_correction([each.p for each in found])
    return [replace(each, p_holm=p) for each, p in zip(found, corrected, strict=True)]


def badge_of_row(verdicts: Sequence[Verdict], row: Row) -> str:
    """The verdict on the claim that compares a row with the baseline; "" where none does."""
    for each in verdicts:
        if row.records and row is not each.subject and row is not each.comparison:
            continue
        if BASELINE not in each.claim.variants or each.subject is each.comparison is not None:
            continue
        for variant, held in zip(each.claim.variants, (each.subject, each.comparison), strict=True):
            absent = not row.records and row.paper is not None and row.paper.variant == variant
            if variant != BASELINE and (held is row or absent):
                return each.badge
    return ""


def judge_difference(
    kind: str, delta: stats.Difference, margin: float = MARGIN
) -> tuple[str, float | None, str]:
    """The verdict that a difference gives, its p-value, and the reason in words.

    Args:
        kind: above, below or within.
        delta: Subject minus comparison in points.
        margin: In points; only ``within`` asks for it.

    Raises:
        StatisticsError: The margin is not above 0.
    """
    if delta.constant:
        return UNDETERMINED, None, "all seeds differ by the same: no spread, no interval"
    if delta.low is None or delta.high is None:
        return UNDETERMINED, None, "one seed has no interval"
    if kind != WITHIN:
        if delta.low <= 0 <= delta.high:
            return UNDETERMINED, delta.p, "the 95% interval includes 0"
        side = ABOVE if delta.low > 0 else BELOW
        verdict = AGREES if side == kind else CONTRADICTS
        return verdict, delta.p, f"the 95% interval lies {side} 0"
    p = stats.equivalence_p_value(delta, margin)
    if p is not None and p < stats.ALPHA:
        return AGREES, p, f"the 90% interval lies within {margin:g} points"
    if p is not None and abs(delta.mean) > margin:
        p = min(1.0, 2 * (1 - p))  # the other hypothesis: no more than the margin, two-sided
    if delta.low > margin or delta.high < -margin:
        return CONTRADICTS, p, f"the 95% interval lies beyond {margin:g} points"
    return UNDETERMINED, p, f"the interval crosses {margin:g} points"


def seeds_to_decide(kind: str, delta: stats.Difference, margin: float = MARGIN) -> int | None:
    """Seeds of each row that decide a claim with 80% power, were the true difference what was seen.

    For a margin, those that show the difference to be within it (``stats.equivalence_seeds``) or
    beyond it (a two-sided test against the nearer end). The spread of a few seeds is a rough guess,
    and so is what follows from it. None for one seed, for no spread, and on the very border.

    Args:
        kind: above, below or within.
        delta: Subject minus comparison in points.
        margin: In points; only ``within`` asks for it.
    """
    if not delta.std:
        return None
    if kind == WITHIN and abs(delta.mean) < margin:
        return stats.seeds_for_equivalence(delta.mean, delta.std, margin, delta.paired)
    beyond = abs(delta.mean) - margin if kind == WITHIN else delta.mean
    return stats.seeds_needed(beyond, delta.std, delta.paired)


def _rows(study: Study) -> dict[str, list[Row]]:
    """The rows of a study by what the paper's ablation table calls them."""
    found: dict[str, list[Row]] = {}
    for row in study.rows:
        if row is study.baseline:
            continue
        # Of another baseline than the paper's, what a row changes is still the paper's change.
        paper = row.paper or matching.find_paper_row(row.changed)
        if paper and paper.variant != BASELINE:
            found.setdefault(paper.variant, []).append(row)
    if study.baseline is not None:
        found[BASELINE] = [study.baseline]
        # One that the user chose may be another row of the paper as well.
        own = diff.flat_config(study.baseline.records[0].config)
        changed = {k: (v, own[k]) for k, v in PAPER_BASELINE.items() if own[k] != v}
        if changed and (paper := matching.find_paper_row(changed)):
            found.setdefault(paper.variant, []).append(study.baseline)
    return found


def _hold(study: Study, claim: Claim, rows: dict[str, list[Row]]) -> Verdict:
    both = [rows.get(variant, []) for variant in claim.variants]
    # Of several rows that are the paper's, the one that changes most of what the paper's does.
    subject, comparison = (
        max(fitting, key=lambda row: (bool(row.top1_by_seed), len(row.changed)), default=None)
        for fitting in both
    )
    held = Verdict(claim, NOT_RUN, "", subject=subject, comparison=comparison)
    lacking = [
        _lacking(study, variant, row)
        for variant, row in zip(claim.variants, (subject, comparison), strict=True)
        if row is None or not row.top1_by_seed
    ]
    if subject is None or comparison is None or lacking:
        return replace(held, reason="; ".join(lacking))
    if BASELINE in claim.variants and (other := _other_baseline(study, (subject, comparison))):
        return replace(held, reason=other)
    delta = stats.difference(subject.top1_by_seed, comparison.top1_by_seed)
    assert delta is not None  # both have values
    held = replace(held, delta=delta, notes=tuple(_notes(claim, both, (subject, comparison))))
    if not has_learned(subject) and not has_learned(comparison):
        return replace(held, verdict=UNDETERMINED, reason="neither row learned")
    margin = claim.margin or MARGIN
    verdict, p, why = judge_difference(claim.kind, delta, margin)
    seeds = seeds_to_decide(claim.kind, delta, margin) if verdict == UNDETERMINED else None
    return replace(held, verdict=verdict, p=p, reason=why, seeds=seeds)


def _lacking(study: Study, variant: str, row: Row | None) -> str:
    if row is not None:
        ends = [f"{count} failed: {kind}" for kind, count in sorted(row.failures.items())]
        ends += [f"{row.count('diverged')} diverged"] * bool(row.count("diverged"))
        return f"no result of {row.label} ({', '.join(ends)})"
    if variant != BASELINE:
        return f"no record of {variant}"
    if study.baseline_candidates:
        return "more than one row could be the baseline: choose with --baseline RUN_ID"
    return "no baseline among these records"


def _other_baseline(study: Study, rows: Sequence[Row]) -> str:
    """Where the baseline is not the paper's in what a row compared with it changes: how."""
    if study.baseline is None or not any(row is study.baseline for row in rows):
        return ""
    own = diff.flat_config(study.baseline.records[0].config)
    fields = [diff.primary_field(row.changed) for row in rows if row is not study.baseline]
    fields = fields or list(PAPER_BASELINE)  # both rows are the baseline: the user chose another's
    if "model.pool_size" in fields:
        fields.append("model.token_mixers")
    for name in fields:
        if name in PAPER_BASELINE and own[name] != PAPER_BASELINE[name]:
            ours, theirs = (
                naming.format_assignments({name: (None, value)})[0]
                for value in (own[name], PAPER_BASELINE[name])
            )
            return f"the baseline has {ours}, the paper's {theirs}"
    return ""


def has_learned(row: Row) -> bool:
    """Whether a run of a row came to its end and the row does more than guess.

    Guessing one of k classes gives 100 / k percent; what n pictures add by chance stays within
    three of its standard deviations. Without the counts in a record, only divergence is known.
    """
    done = [record for record in row.records if record.done]
    if all(record.status == "diverged" for record in done):
        return False
    facts = next((record.data for record in done if record.data), {})
    classes, pictures = (facts.get(name) for name in ("classes", "val"))
    if not (isinstance(classes, int) and isinstance(pictures, int)) or row.top1 is None:
        return True
    chance = 1 / max(classes, 1)
    by_luck = 3 * math.sqrt(chance * (1 - chance) / max(pictures, 1))
    return row.top1.mean > 100 * (chance + by_luck)


def _notes(claim: Claim, fitting: Sequence[Sequence[Row]], rows: Sequence[Row]) -> list[str]:
    told = []
    for row, others in zip(rows, fitting, strict=True):
        if row.also_changes:
            told.append(f"{row.label} also changes {', '.join(row.also_changes)}.")
        if len(others) > 1:
            told.append(f"{len(others)} rows are the paper's {row.label}; held is the one that ")
            told[-1] += f"changes {', '.join(row.also_changes) or 'nothing else'}."
        if diverged := row.count("diverged"):
            ended = sum(record.done for record in row.records)
            told.append(f"{row.label}: {diverged} of {ended} runs diverged.")
        elif not has_learned(row):
            told.append(f"{row.label} does no better than guessing.")
    if abs(claim.stated_difference - claim.difference) > 1e-9:
        told.append(
            f"{claim.stated_difference:+g} in the paper's text, {claim.difference:+g} by its table."
        )
    return told
