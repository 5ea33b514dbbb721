"""A study in sentences, each computed from its numbers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable

from ablations.analysis.method_notes import family_note
from ablations.analysis.stats import ALPHA
from ablations.analysis.study import Study
from ablations.analysis.verdicts import NOT_RUN, VERDICTS, judge_claims
from ablations.store.records import STATUSES
from ablations.tables import cells
from ablations.text.phrases import pluralize

LEVEL = f"{ALPHA:.0%}"


def summary_sentences(study: Study) -> list[str]:
    """A study in sentences, the most important first."""
    best = ""
    if study.best is not None:
        best = f"{study.best.label} is above every other variant, at {LEVEL}."
    sentences = [_size(study), _baseline(study), *_differences(study), _power(study), best]
    return [sentence for sentence in [*sentences, _claims(study), *_failures(study)] if sentence]


def seed_ranges(values: Iterable[int]) -> str:
    """Seeds as text, with consecutive ones as a range: "0 to 4, 7"."""
    found: list[list[int]] = []
    for value in sorted(set(values)):
        if found and value == found[-1][-1] + 1:
            found[-1].append(value)
        else:
            found.append([value])
    parts = [
        f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in found
    ]
    return ", ".join(parts)


def _size(study: Study) -> str:
    runs = study.records
    seeds = sorted({record.config["seed"] for record in runs})
    statuses = Counter(record.status for record in runs)
    ends = ", ".join(f"{statuses[status]} {status}" for status in STATUSES if statuses[status])
    variants = pluralize(len(study.rows), "variant")
    word = "seed" if len(seeds) == 1 else "seeds"
    return f"{pluralize(len(runs), 'run')} of {variants} with {word} {seed_ranges(seeds)}: {ends}."


def _baseline(study: Study) -> str:
    if study.baseline is None:
        return "There is no baseline among these runs, so nothing is compared."
    if study.baseline.top1 is None:
        return "The baseline has no result, so nothing is compared."
    return (
        f"The baseline reaches {cells.accuracy(study.baseline)}% top-1 "
        f"(n = {study.baseline.top1.n}, the last epoch's)."
    )


def _differences(study: Study) -> list[str]:
    tested = [row for row in study.rows if row.delta and row.delta.p is not None]
    if not tested:
        compared = any(row.delta for row in study.rows)
        reason = "a test takes two seeds or more whose results vary"
        return [f"No variant could be tested against the baseline: {reason}."] * compared
    different = [row for row in tested if row.delta and row.delta.significant]
    family = family_note(study.comparisons, "all variants").rstrip(".")
    family = family[:1].lower() + family[1:]
    claim = f"from the baseline significantly ({LEVEL}; {family})"
    if not different:
        subject = "The variant tested does not differ" if len(tested) == 1 else "No variant differs"
        return [f"{subject} {claim}, which is no proof of equality."]
    verb = "differs" if len(different) == 1 else "differ"
    names = "; ".join(f"{row.label} ({cells.plain_points(row.delta)} points)" for row in different)
    count = f"{len(different)} of {pluralize(len(tested), 'variant')}"
    sentences = [f"{count} {verb} {claim}: {names}."]
    if rest := len(tested) - len(different):
        others = "The other one does" if rest == 1 else f"The other {rest} do"
        sentences.append(f"{others} not with these seeds, which is no proof of equality.")
    return sentences


def _power(study: Study) -> str:
    effects = sorted(row.minimum_effect for row in study.rows if row.minimum_effect is not None)
    if not effects:
        return ""
    return (
        f"The study could detect a true difference of {statistics.median(effects):.2f} points in "
        f"the median variant ({effects[0]:.2f} to {effects[-1]:.2f}), with 80% power."
    )


def _claims(study: Study) -> str:
    judged = judge_claims(study)
    verdicts = Counter(each.verdict for each in judged)
    if verdicts[NOT_RUN] == verdicts.total():
        return ""
    tally = ", ".join(f"{name} {verdicts[name]}" for name in VERDICTS if verdicts[name])
    lost = sum(not each.survives_correction for each in judged)
    holm = f"; {pluralize(lost, 'verdict')} would not hold after Holm's correction" if lost else ""
    return f"The paper's {pluralize(verdicts.total(), 'claim')} on ablations: {tally}{holm}."


def _failures(study: Study) -> list[str]:
    diverged = [f"{row.label} ({n})" for row in study.rows if (n := row.count("diverged"))]
    failed = [
        f"{row.label} ({', '.join(f'{n} {kind}' for kind, n in sorted(row.failures.items()))})"
        for row in study.rows
        if row.failures
    ]
    missing = [
        f"{row.label} (seed {seed_ranges(row.missing_seeds)})"
        for row in study.rows
        if row.missing_seeds
    ]
    parts = {"Diverged": diverged, "Failed": failed, "Missing beside the baseline": missing}
    return [f"{name}: {'; '.join(rows)}." for name, rows in parts.items() if rows]
