"""How differences are tested, in words; tables, figures and the report say it in one note."""

from __future__ import annotations

from ablations.analysis.stats import Comparisons, Intervals, SignificanceTest


def method_note(comparisons: Comparisons, rows: str = "all rows of this table") -> str:
    """How differences are tested, in a sentence or two."""
    family = over_note(comparisons) + family_note(comparisons, rows)
    if comparisons.test is SignificanceTest.ORDINARY:
        few = (
            "Fewer than five rows (with the baseline) have a spread: none borrows from the others."
        )
        asked = comparisons.method.test
        return f"t tests. {family}" + ("" if asked is SignificanceTest.ORDINARY else f" {few}")
    spread = {
        SignificanceTest.MODERATED: "A row's spread borrows from the other rows (moderated t).",
        SignificanceTest.POOLED: "All rows share one spread.",
    }[comparisons.test]
    return f"{spread} {family}"


def over_note(comparisons: Comparisons) -> str:
    """That standard errors cover other images too, in a sentence; empty where they do not."""
    return "" if comparisons.correct is None else "Over other seeds and other images. "


def family_note(comparisons: Comparisons, rows: str) -> str:
    """What intervals and p-values are about, in a sentence."""
    if comparisons.test is SignificanceTest.ORDINARY:
        return "Each interval holds alone; p is after Holm's correction."
    if comparisons.interval_kind is Intervals.INDIVIDUAL:
        return "Each interval and p holds alone, uncorrected."
    return f"Intervals and p hold for {rows} together."
