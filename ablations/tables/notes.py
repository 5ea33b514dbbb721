"""Footnotes that several tables share."""

from __future__ import annotations

from collections.abc import Iterable

from ablations.analysis.rows import Row
from ablations.analysis.stats import Difference
from ablations.analysis.study import Study
from ablations.config import naming
from ablations.tables import cells
from ablations.text.phrases import pluralize

WELCH_NOTE = "ʷ The two share fewer than two seeds: their means are compared, as independent."


def study_title(study: Study) -> str:
    """What the numbers of a study were measured on."""
    if not study.shared_changes:
        return study.name
    return f"{study.name}, all with {naming.describe_values(study.shared_changes)}"


def also_note(row: Row) -> str:
    """What a row changes besides what its name says; empty for nothing."""
    return f"{row.label} also changes {', '.join(row.also_changes)}." if row.also_changes else ""


def partial_pairs_note(row: Row) -> str:
    """Over how many seeds a paired difference is, if over fewer than the row's mean; else empty."""
    delta = row.delta
    if delta is None or row.top1 is None or not delta.paired or delta.n == row.top1.n:
        return ""
    if "without a plan, which" in row.look_note:
        return ""  # that note says it
    seeds = pluralize(delta.n, "seed")
    return f"{row.label}: Δ is over the {seeds} that the baseline has too, of {row.top1.n}."


def controls_note(row: Row | None) -> str:
    """A row's differences from all its controls, in a sentence; empty without controls."""
    if row is None or not row.controls:
        return ""
    differences = [
        f"{cells.control_delta(each.delta)} from {each.control.label} (the row's {each.kind})"
        for each in row.controls
    ]
    return f"{row.label} against its controls: {'; '.join(differences)}."


def delta_notes(deltas: Iterable[Difference]) -> list[str]:
    """What a reader must know of differences without a paired interval."""
    deltas = list(deltas)
    notes = [WELCH_NOTE] if any(map(cells.uses_welch, deltas)) else []
    if any(delta.df is None for delta in deltas):
        notes.append("A row of one seed has neither interval nor p-value.")
    if any(delta.constant for delta in deltas):
        notes.append("No spread: the seeds' differences are equal, so there is no interval.")
    return notes


def baseline_notes(study: Study, consequence: str) -> list[str]:
    """That a study has no baseline, and what follows for its table; none if it has one."""
    if rows := study.baseline_candidates:
        choices = ", ".join(f"{row.records[0].run_id} ({row.label})" for row in rows)
        return [
            f"More than one row could be the baseline, so {consequence}: choose with "
            f"--baseline RUN_ID, one of {choices}."
        ]
    return [f"No baseline among these records, so {consequence}."] if not study.baseline else []


def paper_note(study: Study) -> str:
    """Where the paper's numbers come from, and whether a study's images are others."""
    source = "Paper: arXiv 2111.11418 version 3, ImageNet-1K at 224x224 pixels"
    classes = next((found for r in study.records if (found := r.data.get("classes"))), None)
    if study.data == "folder" and classes == 1000:
        return f"{source}."
    count = f" ({pluralize(classes, 'class', 'classes')})" if isinstance(classes, int) else ""
    return f"{source}; this study's data set is another one: {study.data}{count}."
