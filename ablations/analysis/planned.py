"""Studies whose seeds were added by a plan: their differences at the looks that decided them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ablations.analysis.rows import Row
from ablations.analysis.stats.looks import Conclusion, Decision
from ablations.analysis.study import Study
from ablations.analysis.study_plan import STUDY_FILE, StudyPlan, read_study_plan
from ablations.text.phrases import pluralize


def apply_plans(studies: Iterable[Study], folders: Iterable[Path]) -> list[Study]:
    """Studies with the plans of their folders applied, and rows marked that have none.

    Raises:
        ConfigError: A file is not a plan.
    """
    plans = [plan for folder in folders if (plan := read_study_plan(folder))]
    found = []
    for study in studies:
        runs = {record.run_id for record in study.records}
        own = next((p for p in plans if runs & {i for ids in p.rows.values() for i in ids}), None)
        found.append(_apply_plan(study, own) if own else _mark_uneven(study))
    return found


def _apply_plan(study: Study, plan: StudyPlan) -> Study:
    """A study with the differences of the plan's looks; its other rows are marked."""
    if study.baseline is None or not _is_row(study.baseline, plan.rows[plan.baseline]):
        return _without_looks(study, f"against {plan.baseline}, which is not the baseline here")
    if study.comparisons.method != plan.looks.method or study.comparisons.correct is not None:
        return _without_looks(study, f"by the {plan.looks.method.test} test over seeds")
    progress = plan.progress(study.records)
    baseline, rows = study.baseline, []
    for row in study.rows:
        label = next((name for name, ids in plan.rows.items() if _is_row(row, ids)), None)
        decision = progress.decisions.get(label) if label else None
        if label is None:
            rows.append(replace(row, look_note="not in the plan of study.json"))
            continue
        # A decided row does not lack the seeds that only others need.
        missing = {*row.started_seeds, *progress.missing.get(label, ())}
        planned = replace(row, missing_seeds=sorted(missing))
        if row is study.baseline:
            baseline = planned
        else:
            delta = decision.difference if decision else row.delta
            planned = replace(
                planned, delta=delta, look_note=_look_note(plan, row, label, decision)
            )
        rows.append(planned)
    return replace(
        study,
        rows=rows,
        baseline=baseline,
        best=None,  # the plan has no test of the best row
        plan_note=_plan_note(plan, progress.look),
    )


def _without_looks(study: Study, what: str) -> Study:
    note = f"{STUDY_FILE} plans looks {what}: intervals and p here do not allow for the looks."
    return replace(study, plan_note=note)


def _is_row(row: Row, run_ids: Sequence[str]) -> bool:
    return any(record.run_id in run_ids for record in row.records)


def _look_note(plan: StudyPlan, row: Row, label: str, decision: Decision | None) -> str:
    """At which look a row was decided, and which of its seeds that look does not use."""
    if decision is None:
        return "before its first look"
    verdict = decision.verdict
    where = f"at {decision.seeds} seeds"
    note = f"open {where}" if verdict is Conclusion.OPEN else f"decided {where} ({verdict.value})"
    last = plan.looks.looks[-1] if verdict is Conclusion.OPEN else decision.seeds
    planned = plan.rows[label][:last]
    extra = [r.config["seed"] for r in row.records if r.done and r.run_id not in planned]
    if extra:
        seeds = ", ".join(map(str, sorted(extra)))
        note += f"; seeds added without a plan, which Δ leaves out: {seeds}"
    return note


def _plan_note(plan: StudyPlan, look: int | None) -> str:
    counts = ", ".join(map(str, plan.looks.looks))
    errors = " + ".join(f"{100 * error:.2g}" for error in plan.looks.errors)
    note = (
        f"Seeds were added by the plan in {STUDY_FILE}: looks at {counts} seeds, which spend "
        f"{errors} = 5%. Δ, interval and p of a row are those of its last look."
    )
    if look is not None:
        note += f" The look at {plan.looks.looks[look]} seeds is not complete."
    if plan.results_before:
        results = pluralize(plan.results_before, "planned run")
        note += f" The plan was written when {results} had results already."
    return note


def _mark_uneven(study: Study) -> Study:
    """A study without a plan, with a note at rows that have more seeds than the others."""
    counts = {row: row.delta.n for row in study.rows if row.delta and row is not study.baseline}
    if len(counts) < 2:
        return study
    frequent = Counter(counts.values())
    usual = min(frequent, key=lambda n: (-frequent[n], n))
    marked = {
        row: replace(
            row,
            look_note=f"{count} seeds where other rows have {usual}, and no {STUDY_FILE} plans "
            "it; if they were added after a look at the results, p is too small",
        )
        for row, count in counts.items()
        if count > usual
    }
    best = study.best and marked.get(study.best, study.best)
    return replace(study, rows=[marked.get(row, row) for row in study.rows], best=best)
