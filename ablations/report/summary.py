"""What a study says, in words: each sentence is computed, and none claims more than its numbers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable

from ablations.analysis.rows import Row
from ablations.analysis.stats import ALPHA
from ablations.analysis.study import Study
from ablations.analysis.verdicts import NOT_RUN, VERDICTS, judge_claims
from ablations.store.records import STATUSES
from ablations.tables import cells
from ablations.text.phrases import pluralize

LEVEL = f"{ALPHA:.0%}"


def summary_sentences(study: Study) -> list[str]:
    """A study in sentences, the most important first."""
    told = [_size(study), _baseline(study), *_differences(study), _power(study)]
    if study.best is not None:
        told.append(f"{study.best.label} is above every other variant, at {LEVEL} after Holm.")
    told.append(_claims(study))
    return [sentence for sentence in [*told, *_troubles(study)] if sentence]


def seed_ranges(values: Iterable[int]) -> str:
    """Seeds as text, runs of neighbours shortened: "0 to 4, 7"."""
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
    tested = [row for row in study.rows if row.p_holm is not None]
    if not tested:
        why = "that takes two seeds or more whose results vary"
        compared = any(row.delta for row in study.rows)
        return [f"No variant could be tested against it: {why}."] if compared else []
    apart = [row for row in tested if row.p_holm is not None and row.p_holm < ALPHA]
    beyond = f"from the baseline beyond what chance gives (t test, {LEVEL} after Holm's correction)"
    if not apart:
        of = "The variant tested does not differ" if len(tested) == 1 else "No variant differs"
        return [f"{of} {beyond}, which is no proof of equality."]
    verb = "differs" if len(apart) == 1 else "differ"
    names = "; ".join(map(_named, apart))
    told = [f"{len(apart)} of {pluralize(len(tested), 'variant')} {verb} {beyond}: {names}."]
    if rest := len(tested) - len(apart):
        others = "The other one" if rest == 1 else f"The other {rest}"
        told.append(
            f"{others} cannot be told from it with these seeds, which is no proof of equality."
        )
    return told


def _named(row: Row) -> str:
    return f"{row.label} ({cells.signed(row.delta.mean, 2) if row.delta else ''} points)"


def _power(study: Study) -> str:
    effects = sorted(row.minimum_effect for row in study.rows if row.minimum_effect is not None)
    if not effects:
        return ""
    return (
        f"What the study could have seen: a true difference of {statistics.median(effects):.2f} "
        f"points in the median variant ({effects[0]:.2f} to {effects[-1]:.2f}), with 80% power at "
        f"{LEVEL} before any correction."
    )


def _claims(study: Study) -> str:
    held = judge_claims(study)
    verdicts = Counter(each.verdict for each in held)
    if verdicts[NOT_RUN] == verdicts.total():
        return ""
    tally = ", ".join(f"{name} {verdicts[name]}" for name in VERDICTS if verdicts[name])
    told = f"The paper's {pluralize(verdicts.total(), 'claim')} on ablations: {tally}"
    if lost := sum(not each.survives_holm for each in held):
        told += f"; {pluralize(lost, 'verdict')} would not stand after Holm's correction"
    return f"{told}."


def _troubles(study: Study) -> list[str]:
    told = []
    diverged = [(row, row.count("diverged")) for row in study.rows if row.count("diverged")]
    failed = [row for row in study.rows if row.failures]
    if diverged:
        told.append("Diverged: " + "; ".join(f"{r.label} ({n})" for r, n in diverged) + ".")
    if failed:
        kinds = [
            f"{row.label} ({', '.join(f'{n} {kind}' for kind, n in sorted(row.failures.items()))})"
            for row in failed
        ]
        told.append(f"Failed: {'; '.join(kinds)}.")
    lacking = [row for row in study.rows if row.missing_seeds]
    if lacking:
        rows = "; ".join(f"{row.label} (seed {seed_ranges(row.missing_seeds)})" for row in lacking)
        told.append(f"Without a result that the baseline has: {rows}.")
    return told
