"""Verdicts on the paper's claims about its ablations: agrees, contradicts or undetermined.

A claim says that one row (the subject) is above or below another (the comparison) in top-1, or the
same within a margin (``ablations.paper.claims``). The difference is subject minus comparison over
the seeds of both (``Study.difference``).

The 95% interval of the difference decides. By default a difference from the baseline has its
interval of the ablation table, whose intervals all hold together, and so do those of the other
claims: 5% bounds the chance of any wrong verdict in each of the two families.

- **Above, below.** *agrees*: the interval lies wholly on the claimed side of 0. *contradicts*:
  wholly on the other side.
- **Within the margin.** *agrees*: the interval lies wholly inside the margin. *contradicts*:
  wholly outside.
- *undetermined*: everything else. This includes one seed, outcomes without spread (which have no
  interval), and two rows of which neither learned: runs that diverge or only guess do not show what
  the rows can do, and would count as "the same".
- *not run*: the study has no result for a row, or its baseline differs from the paper's in what the
  claim is about.

The p-value is that of no difference, or for a margin that of a difference as large as the margin. A
verdict is given exactly where it is below 5%.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ablations.analysis import stats
from ablations.analysis.rows import Row
from ablations.analysis.stats import Intervals, sensitivity
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.paper import matching
from ablations.paper.claims import ABOVE, BELOW, MARGIN, WITHIN, Claim, load_claims
from ablations.paper.matching import PAPER_BASELINE
from ablations.paper.published import BASELINE

VERDICTS = ["agrees", "contradicts", "undetermined", "not run"]
AGREES, CONTRADICTS, UNDETERMINED, NOT_RUN = VERDICTS


@dataclass(frozen=True)
class Verdict:
    """The verdict of a study on a claim.

    Args:
        verdict: One of VERDICTS.
        reason: The reason in words.
        delta: Subject minus comparison in points; None where either has no result.
        p: The p-value of the verdict alone; None where there is no test.
        p_corrected: The same in the family of the study's claims; None for individual intervals.
        seeds: Seeds of each row that would decide an undetermined claim with 80% power, if the true
            difference were the observed one; None without an observed spread.
        subject: The row of the study; None where it has none.
        comparison: The same.
        notes: Further facts about the two rows, a sentence each.
    """

    claim: Claim
    verdict: str
    reason: str
    delta: stats.Difference | None = None
    p: float | None = None
    p_corrected: float | None = None
    seeds: int | None = None
    subject: Row | None = None
    comparison: Row | None = None
    notes: tuple[str, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether the verdict is that the study agrees or contradicts."""
        return self.verdict in (AGREES, CONTRADICTS)

    @property
    def survives_correction(self) -> bool:
        """Whether the verdict holds for all claims together; True for an undecided one.

        Always the case for simultaneous intervals.
        """
        return not self.decided or self.p_corrected is None or self.p_corrected < stats.ALPHA

    @property
    def paper_in_interval(self) -> bool | None:
        """Whether the paper's difference lies in our 95% interval; None without an interval."""
        if self.delta is None or self.delta.low is None or self.delta.high is None:
            return None
        return self.delta.low <= self.claim.difference <= self.delta.high


def judge_claims(study: Study, claims: Sequence[Claim] | None = None) -> list[Verdict]:
    """The verdict on each claim, in the order of the ids.

    Args:
        study: The study.
        claims: The claims; None for the paper's.
    """
    rows = _rows(study)
    claims = load_claims() if claims is None else claims
    found = [_compare(study, claim, rows) for claim in claims]
    direct = [_like_the_table(study, each) for each in found]
    others = [
        replace(each, delta=None, p=None) if like else each
        for each, like in zip(found, direct, strict=True)
    ]
    deltas = study.comparisons.together(
        [each.delta for each in others], False, [each.p for each in others]
    )
    return [
        _judge(like or replace(each, delta=delta))
        for each, like, delta in zip(found, direct, deltas, strict=True)
    ]


def _like_the_table(study: Study, found: Verdict) -> Verdict | None:
    """A claim about a row and the baseline with the row's interval in the ablation table.

    The page then has one interval for one difference. None for other claims, and where intervals
    are individual anyway.
    """
    if study.comparisons.interval_kind is not Intervals.SIMULTANEOUS or found.delta is None:
        return None
    sides = found.subject, found.comparison
    row = next((side for side in sides if side is not None and side is not study.baseline), None)
    if study.baseline not in sides or row is None or row.delta is None or row.delta.level is None:
        return None
    p = found.p
    if p is not None:
        deltas = [other.delta for other in study.rows]
        p = study.comparisons.corrected(p, deltas, row.delta.level)
    return replace(found, delta=replace(found.delta, level=row.delta.level, p_corrected=p))


def verdict_of_row(verdicts: Sequence[Verdict], row: Row) -> Verdict | None:
    """The verdict on the claim that compares a row with the baseline; None without such a claim."""
    for each in verdicts:
        if row.records and row is not each.subject and row is not each.comparison:
            continue
        if BASELINE not in each.claim.variants or each.subject is each.comparison is not None:
            continue
        for variant, own in zip(each.claim.variants, (each.subject, each.comparison), strict=True):
            absent = not row.records and row.paper is not None and row.paper.variant == variant
            if variant != BASELINE and (own is row or absent):
                return each
    return None


class Judgement(NamedTuple):
    """A verdict with the reason in words."""

    verdict: str
    reason: str


def judge_difference(kind: str, delta: stats.Difference, margin: float = MARGIN) -> Judgement:
    """The verdict that a difference gives.

    Args:
        kind: ABOVE, BELOW or WITHIN.
        delta: Subject minus comparison in points.
        margin: In points; only WITHIN uses it.
    """
    if delta.constant:
        return Judgement(UNDETERMINED, "all seeds differ by the same: no spread, no interval")
    if delta.low is None or delta.high is None:
        return Judgement(UNDETERMINED, "one seed has no interval")
    if kind != WITHIN:
        if delta.low <= 0 <= delta.high:
            return Judgement(UNDETERMINED, "the 95% interval includes 0")
        side = ABOVE if delta.low > 0 else BELOW
        verdict = AGREES if side == kind else CONTRADICTS
        return Judgement(verdict, f"the 95% interval lies {side} 0")
    if delta.within(margin):
        return Judgement(AGREES, f"the 95% interval lies within {margin:g} points")
    if delta.low > margin or delta.high < -margin:
        return Judgement(CONTRADICTS, f"the 95% interval lies beyond {margin:g} points")
    return Judgement(UNDETERMINED, f"the 95% interval crosses {margin:g} points")


def p_value(kind: str, delta: stats.Difference, margin: float = MARGIN) -> float | None:
    """The p-value of no difference, or for a margin that of a difference as large as it."""
    return delta.p_value_of(abs(delta.mean) - margin if kind == WITHIN else delta.mean)


def seeds_to_decide(kind: str, delta: stats.Difference, margin: float = MARGIN) -> int | None:
    """Seeds of each row that decide a claim with 80% power, if the true difference is ``delta``.

    For a margin, the seeds that show the difference to be within it or beyond it (a test against
    the nearer end). The spread of a few seeds is a rough guess, and so is this number. None for one
    seed, for no spread, and for a difference equal to the margin.

    Args:
        kind: ABOVE, BELOW or WITHIN.
        delta: Subject minus comparison in points.
        margin: In points; only WITHIN uses it.
    """
    if kind == WITHIN and abs(delta.mean) < margin:
        return sensitivity.seeds_to_show_equivalence(delta, margin)
    beyond = abs(delta.mean) - margin if kind == WITHIN else delta.mean
    return sensitivity.seeds_to_detect(delta, beyond)


def _rows(study: Study) -> dict[str, list[Row]]:
    """The rows of a study by their variant in the paper's ablation table."""
    found: dict[str, list[Row]] = {}
    for row in study.rows:
        if row is study.baseline:
            continue
        # With another baseline than the paper's, a row can still make the paper's change.
        paper = row.paper or matching.find_paper_row(row.changed)
        if paper and paper.variant != BASELINE:
            found.setdefault(paper.variant, []).append(row)
    if study.baseline is not None:
        found[BASELINE] = [study.baseline]
        # A baseline that the user chose may be another row of the paper as well.
        own = diff.flat_config(study.baseline.records[0].config)
        changed = {k: (v, own[k]) for k, v in PAPER_BASELINE.items() if own[k] != v}
        if changed and (paper := matching.find_paper_row(changed)):
            found.setdefault(paper.variant, []).append(study.baseline)
    return found


def _compare(study: Study, claim: Claim, rows: dict[str, list[Row]]) -> Verdict:
    """A claim with the rows that it is about and their difference."""
    both = [rows.get(variant, []) for variant in claim.variants]
    # Of several rows that match, the one that shares most changes with the paper's row.
    subject, comparison = (
        max(fitting, key=lambda row: (bool(row.top1_by_seed), len(row.changed)), default=None)
        for fitting in both
    )
    result = Verdict(claim, NOT_RUN, "", subject=subject, comparison=comparison)
    missing = [
        _missing_reason(study, variant, row)
        for variant, row in zip(claim.variants, (subject, comparison), strict=True)
        if row is None or not row.top1_by_seed
    ]
    if subject is None or comparison is None or missing:
        return replace(result, reason="; ".join(missing))
    if BASELINE in claim.variants and (other := _baseline_mismatch(study, (subject, comparison))):
        return replace(result, reason=other)
    delta = study.difference(subject, comparison)
    learned = has_learned(subject) or has_learned(comparison)
    return replace(
        result,
        reason="" if learned else "neither row learned",
        delta=delta,
        p=p_value(claim.kind, delta, claim.margin or MARGIN) if delta and learned else None,
        notes=tuple(_notes(claim, both, (subject, comparison))),
    )


def _judge(found: Verdict) -> Verdict:
    """The verdict on a claim whose rows have been compared."""
    claim, delta = found.claim, found.delta
    if delta is None:
        return found
    found = replace(found, p_corrected=delta.p_corrected, delta=replace(delta, p_corrected=None))
    if found.reason:
        return replace(found, verdict=UNDETERMINED)
    margin = claim.margin or MARGIN
    judged = judge_difference(claim.kind, delta, margin)
    undetermined = judged.verdict == UNDETERMINED
    seeds = seeds_to_decide(claim.kind, delta, margin) if undetermined else None
    return replace(found, **judged._asdict(), seeds=seeds)


def _missing_reason(study: Study, variant: str, row: Row | None) -> str:
    if row is not None:
        ends = [f"{count} failed: {kind}" for kind, count in sorted(row.failures.items())]
        if diverged := row.count("diverged"):
            ends.append(f"{diverged} diverged")
        return f"no result of {row.label} ({', '.join(ends)})"
    if variant != BASELINE:
        return f"no record of {variant}"
    if study.baseline_candidates:
        return "more than one row could be the baseline: choose with --baseline RUN_ID"
    return "no baseline among these records"


def _baseline_mismatch(study: Study, rows: Sequence[Row]) -> str:
    """How the baseline differs from the paper's in the fields that the rows change, if it does."""
    if study.baseline is None or not any(row is study.baseline for row in rows):
        return ""
    own = diff.flat_config(study.baseline.records[0].config)
    fields = [diff.primary_field(row.changed) for row in rows if row is not study.baseline]
    fields = fields or list(PAPER_BASELINE)  # both rows are the baseline that the user chose
    if "model.pool_size" in fields:
        fields.append("model.token_mixers")
    for name in fields:
        if name in PAPER_BASELINE and own[name] != PAPER_BASELINE[name]:
            both = PAPER_BASELINE[name], own[name]
            theirs, ours = (naming.format_assignments({name: (None, value)})[0] for value in both)
            return f"the baseline has {ours}, the paper's {theirs}"
    return ""


def has_learned(row: Row) -> bool:
    """Whether some run of a row did not diverge and the row does better than guessing.

    Guessing one of k classes gives 100 / k percent; on n images the result stays within three
    standard deviations of that. Records without these counts show only divergence.
    """
    done = [record for record in row.records if record.done]
    if all(record.status == "diverged" for record in done):
        return False
    data = next((record.data for record in done if record.data), {})
    classes, images = data.get("classes"), data.get("val")
    if not (isinstance(classes, int) and isinstance(images, int)) or row.top1 is None:
        return True
    chance = 1 / max(classes, 1)
    deviation = math.sqrt(chance * (1 - chance) / max(images, 1))
    return row.top1.mean > 100 * (chance + 3 * deviation)


def _notes(claim: Claim, fitting: Sequence[Sequence[Row]], rows: Sequence[Row]) -> list[str]:
    notes = []
    for row, others in zip(rows, fitting, strict=True):
        if row.also_changes:
            notes.append(f"{row.label} also changes {', '.join(row.also_changes)}.")
        if len(others) > 1:
            changes = ", ".join(row.also_changes) or "nothing else"
            notes.append(
                f"{len(others)} rows match the paper's {row.label}; this verdict is about the one "
                f"that changes {changes}."
            )
        if diverged := row.count("diverged"):
            ended = sum(record.done for record in row.records)
            notes.append(f"{row.label}: {diverged} of {ended} runs diverged.")
        elif not has_learned(row):
            notes.append(f"{row.label} does no better than guessing.")
    if abs(claim.stated_difference - claim.difference) > 1e-9:
        notes.append(
            f"{claim.stated_difference:+g} in the paper's text, {claim.difference:+g} by its table."
        )
    return notes
