"""The verdicts on the paper's claims for a study, as raw numbers or as text."""

from __future__ import annotations

from collections.abc import Sequence

from ablations.analysis.method_notes import method_note
from ablations.analysis.rows import Row
from ablations.analysis.stats import ALPHA
from ablations.analysis.study import Study
from ablations.analysis.verdicts import NOT_RUN, UNDETERMINED, VERDICTS, Verdict, judge_claims
from ablations.paper.claims import IMAGES, MARGIN, OTHER_CLAIMS, SEEDS_STD
from ablations.paper.published import BASELINE
from ablations.tables import cells, csv_values, missing, provenance
from ablations.tables.notes import (
    WELCH_NOTE,
    baseline_notes,
    controls_note,
    study_title,
)
from ablations.tables.table import Badge, Column, PlottedDifference, Table, Values, word_columns

CONTROL = "Δ from control"
OTHERS = "the rows of the ablation table together, and those of claims without the baseline"
COLUMNS = [
    Column("#", "claim"),
    *word_columns(_claim="Claim", _verdict="Verdict"),
    Column("Δ", "_delta", cells.points),
    Column("95% CI", "_delta", cells.interval),
    Column(CONTROL, "_controlled_row", cells.control),
    Column("n", "_count"),
    Column("p", "_p", cells.p_value),
    Column("Seeds needed", "_seeds_needed"),
    Column("Paper Δ", "paper_delta", cells.signed),
    Column("Paper ±", "paper_ci95", cells.two_decimals),
    Column("In CI", "paper_in_interval", {None: "", True: "yes", False: "no"}.__getitem__),
]


def _line(study: Study, verdict: Verdict) -> Values:
    claim, delta, row = verdict.claim, verdict.delta, _controlled_row(verdict)
    against = row.control if row else None
    test = csv_values.test_name(delta) if verdict.p is not None else None
    return {
        **csv_values.study_values(study),
        "claim": claim.id,
        **csv_values.fields_of(claim, "subject", "comparison", "kind", "margin"),
        "reading": claim.evidence,
        "verdict": verdict.verdict,
        "why": verdict.reason,
        "notes": " ".join(verdict.notes),
        **_side_values("subject", claim.variants[0], verdict.subject),
        **_side_values("comparison", claim.variants[1], verdict.comparison),
        **csv_values.delta_values(delta),
        "delta_n_comparison": delta.n_baseline if delta else 0,
        "delta_test": test,
        "test": study.comparisons.test.value if test else None,
        "intervals": study.comparisons.interval_kind.value if test else None,
        "control": against.control.label if against else None,
        "control_kind": against.kind if against else None,
        **csv_values.interval_values(against.delta if against else None, "control_delta"),
        **csv_values.fields_of(verdict, "p", "p_corrected"),
        "survives_correction": verdict.survives_correction if verdict.decided else None,
        "seeds_needed": verdict.seeds,
        "paper_delta": claim.difference,
        "paper_stated_delta": claim.stated_difference,
        "paper_ci95": claim.half_width,
        "paper_se_images": claim.images_error,
        "paper_se_seeds": claim.seeds_error,
        "paper_open": claim.open,
        "paper_in_interval": verdict.paper_in_interval,
        "paper_top1": claim.subject_top1,
        "paper_comparison_top1": claim.comparison_top1,
        "subject_run_ids": csv_values.run_ids(verdict.subject),
        "comparison_run_ids": csv_values.run_ids(verdict.comparison),
    }


def _side_values(side: str, variant: str, row: Row | None) -> Values:
    return {
        f"{side}_variant": variant,
        f"{side}_top1_mean": row.top1.mean if row and row.top1 else None,
        f"{side}_n": row.top1.n if row and row.top1 else 0,
    }


def _controlled_row(verdict: Verdict) -> Row | None:
    """The claim's subject, if it has controls of the baseline that it is compared with."""
    row = verdict.subject
    return row if row and row.controls and verdict.claim.variants[1] == BASELINE else None


def claims_table(study: Study) -> Table:
    """The verdicts on the paper's claims that the rows of a study can decide, a row a claim.

    Its values: accuracies in percent, differences in points; those under ``paper_`` are the
    paper's own numbers.
    """
    verdicts = judge_claims(study)
    table = Table(f"Claims: {study_title(study)}")
    for verdict in verdicts:
        row, undetermined = _controlled_row(verdict), verdict.verdict == UNDETERMINED
        claim_marks = table.row_notes.mark(*verdict.notes, controls_note(row))
        marks = table.row_notes.mark(_reason_note(verdict))
        sides = (verdict.subject, verdict.comparison)
        table.lines.append(
            _line(study, verdict)
            | {
                "_claim": verdict.claim.summary + claim_marks,
                "_verdict": verdict.verdict + marks,
                "_delta": verdict.delta,
                "_p": verdict.p if verdict.p_corrected is None else verdict.p_corrected,
                "_controlled_row": row,
                "_count": _count(verdict),
                "_seeds_needed": cells.number(verdict.seeds, 1, 0) if undetermined else "",
                "_badge": Badge.of(verdict, marks),
                "_difference": PlottedDifference.of(verdict.delta, verdict.claim.difference),
                "_runs": [[r.run_id for r in side.records] if side else [] for side in sides],
            }
        )
    with_controls = any(line["_controlled_row"] for line in table.lines)
    table.columns = [c for c in COLUMNS if with_controls or c.heading != CONTROL]
    table.footnotes = [
        *_footnotes(study, verdicts),
        *missing.row_notes(study, missing.missing_paper_rows(study)),
        *provenance.provenance_notes(study),
    ]
    return table


def _count(verdict: Verdict) -> str:
    """The seeds of the difference; of either row, if they differ."""
    if verdict.delta is None:
        return ""
    counts = dict.fromkeys((verdict.delta.n, verdict.delta.n_baseline))
    return ", ".join(map(str, counts))


def _reason_note(verdict: Verdict) -> str:
    """What the numbers beside a verdict do not say; empty if they say everything."""
    absent = verdict.subject is None or verdict.comparison is None
    if verdict.verdict == NOT_RUN and absent:
        return ""  # a footnote has the command that trains the missing rows
    if verdict.p is None:
        return f"{verdict.reason[:1].upper()}{verdict.reason[1:]}."
    if not verdict.survives_correction:
        return f"Not below {ALPHA:.0%} after Holm: of so many claims, chance may decide one so."
    return ""


def _footnotes(study: Study, verdicts: Sequence[Verdict]) -> list[str]:
    """The tally, the rules, and what the verdicts are about."""
    counts = {name: sum(each.verdict == name for each in verdicts) for name in VERDICTS}
    tally = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    notes = [f"{len(verdicts)} claims on ablations: {tally or 'none can be read'}."]
    notes += baseline_notes(study, "no claim about it is judged")
    if any(each.delta for each in verdicts):
        notes += _rules(study, verdicts)
    notes.append(_paper_note(verdicts))
    side = next((side for r in study.records if (side := r.cost.get("image_size"))), None)
    pixels = f", {side}x{side} pixels" if side else ""
    return [
        *notes,
        f"A verdict is about recipe {study.recipe} (data {study.data}{pixels}, "
        f"{study.training_length}), the paper's claim about ImageNet-1K (224x224 pixels, "
        "300 epochs): either can hold without the other.",
        f"No record of an ablation decides the paper's claims {OTHER_CLAIMS[0]} to "
        f"{OTHER_CLAIMS[-1]} (other people's models, COCO and ADE20K, longer training, speed).",
    ]


def _paper_note(verdicts: Sequence[Verdict]) -> str:
    """What the images and the seeds of the paper leave open of its differences."""
    within = [str(each.claim.id) for each in verdicts if each.claim.open]
    open_ones = f"Claims {', '.join(within)} differ by no more." if within else ""
    return (
        f"Paper ±: half of a 95% interval of the paper's Δ, which is of one run each on {IMAGES:,} "
        "images: the binomial error of both accuracies, taken as independent (an upper bound, as "
        "the images are the same), and seeds, which the paper does not give: a standard deviation "
        f"of {SEEDS_STD:g} points is assumed. {open_ones}"
    ).rstrip()


def _rules(study: Study, verdicts: Sequence[Verdict]) -> list[str]:
    rules = [
        "Δ is the claim's first row minus its second in points, paired by seed, with its 95% "
        f"interval. {method_note(study.comparisons, OTHERS)} In CI: whether the paper's Δ lies in "
        "the interval.",
        "Above and below agree if the whole interval lies on that side of 0, and contradict if it "
        f"lies on the other. Within {MARGIN:g} agrees if the whole interval lies inside "
        f"±{MARGIN:g}, and contradicts if it lies outside; {MARGIN:g} points is what the paper's "
        "text calls a drop (pool size 9). All else is undetermined. p: of no difference, or of one "
        "as large as the margin.",
    ]
    if any(each.verdict == UNDETERMINED for each in verdicts):
        rules.append(
            "Seeds needed: of each row, to decide the claim with 80% power if the true difference "
            "is the one seen here; a rough guess, as the spread comes from few seeds."
        )
    if any(each.p is not None and cells.uses_welch(each.delta) for each in verdicts):
        rules.append(WELCH_NOTE)
    return rules
