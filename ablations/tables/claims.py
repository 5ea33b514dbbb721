"""The verdicts on the paper's claims for a study: tidy numbers, and what a reader sees of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ablations.analysis.rows import Row
from ablations.analysis.stats import ALPHA
from ablations.analysis.study import Study
from ablations.analysis.verdicts import NOT_RUN, UNDETERMINED, VERDICTS, Verdict, judge_claims
from ablations.paper.claims import MARGIN, OTHER_CLAIMS, WITHIN
from ablations.paper.published import BASELINE
from ablations.tables import csv_columns, missing, provenance
from ablations.tables.ablation import (
    CONTROL,
    WELCH_NOTE,
    control_text,
    controls_note,
    interval_text,
    study_title,
    welch_mark,
)
from ablations.tables.table import PlottedDifference, Table, number_text, p_value_text, signed_text

WORDS = ["Claim", "Verdict"]
COLUMNS = ["#", *WORDS, "Δ", "95% CI", CONTROL, "n", "p (Holm)", "Seeds needed", "Paper Δ", "In CI"]


def claims_frame(study: Study) -> pd.DataFrame:
    """A row a claim, raw numbers: accuracies in percent, differences in points.

    Columns under ``paper_`` are the paper's own numbers. Empty where there is none.
    """
    frame = pd.DataFrame([_tidy_row(study, each) for each in judge_claims(study)])
    if len(frame):
        frame["seeds_needed"] = frame["seeds_needed"].astype("Int64")  # a count, also beside gaps
    return frame


def _tidy_row(study: Study, held: Verdict) -> csv_columns.Columns:
    claim, delta = held.claim, held.delta
    against = row.control if (row := _controlled(held)) else None
    subject, comparison = map(csv_columns.of_outcome, (held.subject, held.comparison))
    return {
        **csv_columns.of_study(study),
        "claim": claim.id,
        "subject": claim.subject,
        "comparison": claim.comparison,
        "kind": claim.kind,
        "margin": claim.margin,
        "reading": claim.evidence,
        "verdict": held.verdict,
        "why": held.reason,
        "notes": " ".join(held.notes),
        "subject_variant": claim.variants[0],
        "subject_top1_mean": subject["top1_mean"],
        "subject_n": subject["n"],
        "comparison_variant": claim.variants[1],
        "comparison_top1_mean": comparison["top1_mean"],
        "comparison_n": comparison["n"],
        **csv_columns.of_difference(delta),
        "delta_n_comparison": delta.n_baseline if delta else 0,
        "delta_test": _test(held),
        "control": against.control.label if against else None,
        "control_kind": against.kind if against else None,
        **csv_columns.of_interval(against.delta if against else None, "control_delta"),
        "p": held.p,
        "p_holm": held.p_holm,
        "survives_holm": held.survives_holm if held.decided else None,
        "seeds_needed": held.seeds,
        "paper_delta": claim.difference,
        "paper_stated_delta": claim.stated_difference,
        "paper_in_interval": held.paper_in_interval,
        "paper_top1": claim.subject_top1,
        "paper_comparison_top1": claim.comparison_top1,
        "subject_run_ids": csv_columns.run_ids(held.subject),
        "comparison_run_ids": csv_columns.run_ids(held.comparison),
    }


def _controlled(held: Verdict) -> Row | None:
    """The claim's subject, where it has controls of the baseline that it is held against."""
    row = held.subject
    return row if row and row.controls and held.claim.variants[1] == BASELINE else None


def _test(held: Verdict) -> str | None:
    if held.p is None:
        return None
    test = csv_columns.test_of(held.delta)
    return f"two one-sided, {test}" if held.claim.kind == WITHIN else test


def claims_table(study: Study) -> Table:
    """The verdicts on the paper's claims that the rows of a study decide."""
    found = judge_claims(study)
    table = Table(f"Claims: {study_title(study)}", pd.DataFrame(), WORDS)
    lines = [_cells(table, each) for each in found]
    table.frame = pd.DataFrame(lines, columns=COLUMNS).astype(str)
    if not any(table.frame[CONTROL]):
        table.frame = table.frame.drop(columns=CONTROL)
    table.drawn = [_drawn(each) for each in found]
    table.badges = [each.badge for each in found]
    table.runs = [_runs(each) for each in found]
    absent = missing.missing_paper_rows(study)
    table.foot = [
        *_foot(study, found),
        *missing.row_notes(study, absent),
        *provenance.provenance_notes(study),
    ]
    return table


def _runs(held: Verdict) -> list[list[str]]:
    rows = (held.subject, held.comparison)
    return [[record.run_id for record in row.records] if row else [] for row in rows]


def _cells(table: Table, held: Verdict) -> dict[str, str]:
    claim, delta = held.claim, held.delta
    notes = [*held.notes]
    if row := _controlled(held):
        notes.append(controls_note(row))
    of_rows = " ".join(table.note(note) for note in notes)  # ¹² would be twelve
    of_verdict = table.note(reason) if (reason := _reason(held)) else ""
    return {
        "#": str(claim.id),
        "Claim": f"{claim.summary} {of_rows}".strip(),
        "Verdict": f"{held.verdict} {of_verdict}".strip(),
        "Δ": _difference(held),
        "95% CI": interval_text(delta),
        CONTROL: control_text(row) if row else "",
        "n": _count(held),
        "p (Holm)": p_value_text(held.p_holm),
        "Seeds needed": number_text(held.seeds, 1, 0) if held.verdict == UNDETERMINED else "",
        "Paper Δ": signed_text(claim.difference),
        "In CI": ""
        if held.paper_in_interval is None
        else "yes"
        if held.paper_in_interval
        else "no",
    }


def _reason(held: Verdict) -> str:
    """What the numbers beside a verdict do not say of it; empty where they say all."""
    absent = held.subject is None or held.comparison is None
    if held.verdict == NOT_RUN and absent:
        return ""  # the foot tells what is missing
    if held.p is None:
        return f"{held.reason[:1].upper()}{held.reason[1:]}."
    if not held.survives_holm:
        return f"Not below {ALPHA:.0%} after Holm: of so many claims, chance may decide one so."
    return ""


def _difference(held: Verdict) -> str:
    if held.delta is None:
        return ""
    return f"{signed_text(held.delta.mean, 2)}{welch_mark(held.delta)}"


def _count(held: Verdict) -> str:
    if held.delta is None:
        return ""
    ours, theirs = held.delta.n, held.delta.n_baseline
    return str(ours) if ours == theirs else f"{ours}, {theirs}"


def _drawn(held: Verdict) -> PlottedDifference:
    if held.delta is None:
        return PlottedDifference(paper=held.claim.difference)
    return PlottedDifference(
        held.delta.mean, held.delta.low, held.delta.high, held.claim.difference
    )


def _foot(study: Study, found: Sequence[Verdict]) -> list[str]:
    """The tally, the rules, and what the verdicts are about."""
    counts = {name: sum(each.verdict == name for each in found) for name in VERDICTS}
    tally = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    lines = [f"{len(found)} claims on ablations: {tally or 'none can be read'}."]
    if study.baseline_candidates:
        ids = ", ".join(
            f"{row.records[0].run_id} ({row.label})" for row in study.baseline_candidates
        )
        lines.append(
            "More than one row could be the baseline, so no claim about it is held: choose with "
            f"--baseline RUN_ID, one of {ids}."
        )
    elif study.baseline is None:
        lines.append("No baseline among these records, so no claim about it is held.")
    if any(each.delta for each in found):
        lines += _rules(found)
    side = next((side for r in study.records if (side := r.cost.get("image_size"))), None)
    pixels = f", {side}x{side} pixels" if side else ""
    lines.append(
        f"A verdict is about recipe {study.recipe} (data {study.data}{pixels}, "
        f"{study.training_length}), the paper's claim about ImageNet-1K (224x224 pixels, "
        "300 epochs): either can hold without the other."
    )
    lines.append(
        f"The paper's claims {OTHER_CLAIMS[0]} to {OTHER_CLAIMS[-1]} (other people's models, COCO "
        "and ADE20K, longer training, speed) are decided by no record of an ablation."
    )
    return lines


def _rules(found: Sequence[Verdict]) -> list[str]:
    tested = sum(each.p is not None for each in found)
    lines = [
        "Δ is the claim's first row minus its second in points, paired by seed, with its 95% t "
        "interval; In CI: whether the paper's Δ lies in it.",
        "Above and below agree where the interval lies wholly on that side of 0, and contradict "
        f"where it lies on the other. Within {MARGIN:g} agrees where the 90% interval lies inside "
        f"±{MARGIN:g} (two one-sided tests at 5%), and contradicts where the 95% interval lies "
        f"outside; {MARGIN:g} points is what the paper's text calls a drop (pool size 9). All else "
        "is undetermined.",
    ]
    if tested:
        lines.append(
            f"Of {tested} claims tested at 5% each, chance alone would decide up to "
            f"{tested * ALPHA:.1f} wrongly; p (Holm) is corrected for their number, the verdict is "
            "not."
        )
    if any(each.verdict == UNDETERMINED for each in found):
        lines.append(
            "Seeds needed: of each row, to settle the claim with 80% power if the true difference "
            "is the one seen here; of a spread from few seeds it is a rough guess."
        )
    if any(each.delta and each.p is not None and not each.delta.paired for each in found):
        lines.append(WELCH_NOTE)
    return lines
