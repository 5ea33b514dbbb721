"""Simulated studies that add seeds look by look: wrong statements, runs saved, and the price.

Each study has a baseline and 17 rows, effects of the seeds, and residuals with a standard deviation
of 1 where the scenario says nothing else. It goes through the code that `ablations run
--until-decided` uses, and is compared with one look at all seeds that spends the whole 5%.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ablations.analysis.stats import ALPHA
from ablations.analysis.stats.looks import Conclusion, LookPlan, LookProgress, follow, split_error
from ablations.bench.limits import HIGHEST_FAMILY_ERROR, keeps_limits, standard_error
from ablations.bench.timing import BenchResult, Report
from ablations.config.schema import RunConfig

STUDIES = 100  # a round
ROWS = 17
LOOKS = (3, 5, 7, 10)
MARGIN = 2.0  # in standard deviations of a residual
PLAN = LookPlan(LOOKS, split_error(LOOKS), MARGIN)
ONE_LOOK = replace(PLAN, looks=LOOKS[-1:], errors=(ALPHA,))


class Scenario(NamedTuple):
    """What a study may meet.

    Args:
        effects: True differences of the rows, (17,), in standard deviations of a residual.
        spreads: Standard deviations of the residuals, (18,), the baseline first.
    """

    effects: np.ndarray
    spreads: np.ndarray


EQUAL = np.ones(ROWS + 1)
WILD = np.where(np.isin(np.arange(ROWS + 1), (1, 2)), 5.0, 1.0)
MIXED = np.resize([0.0, 0.0, 1.0, -3.0, 0.0, 5.0], ROWS)
SCENARIOS = {
    "no row differs": Scenario(np.zeros(ROWS), EQUAL),
    "no row differs, two x 5": Scenario(np.zeros(ROWS), WILD),
    "all differ by the margin": Scenario(np.full(ROWS, MARGIN), EQUAL),
    "half the rows differ": Scenario(MIXED, EQUAL),
    "half differ, two x 5": Scenario(MIXED, WILD),
}


class Rates(NamedTuple):
    """Shares of studies, rows or runs.

    Args:
        family_error: Studies with any wrong statement at any look: a row called different that is
            not, or equivalent whose true difference is not below the margin.
        decided: Rows that some look decides.
        saved: Runs that are not needed, of those of all rows with all seeds.
        one_look_error: The family error of one look at all seeds.
        one_look_decided: Rows that it decides.
    """

    family_error: float
    decided: float
    saved: float
    one_look_error: float
    one_look_decided: float


def measure(scenario: Scenario, studies: int, seed: int = 0) -> Rates:
    """Simulate studies and count what their looks say."""
    generator = np.random.default_rng([seed, ROWS])
    return Rates(*np.mean([_study_rates(generator, scenario) for _ in range(studies)], axis=0))


def _study_rates(generator: np.random.Generator, scenario: Scenario) -> Rates:
    most = LOOKS[-1]
    residuals = generator.standard_normal((ROWS + 1, most)) * scenario.spreads[:, None]
    values = 80 + generator.standard_normal(most) + residuals
    values[1:] += scenario.effects[:, None]
    outcomes = {str(row): dict(enumerate(own.tolist())) for row, own in enumerate(values)}
    ended = {row: own.keys() for row, own in outcomes.items()}
    looks, fixed = (follow(p, range(most), outcomes, "0", ended) for p in (PLAN, ONE_LOOK))
    counts = [each.seeds for each in looks.decisions.values()]
    runs = sum(counts) + max(counts)  # and those of the baseline
    return Rates(
        _any_wrong(looks, scenario.effects),
        len(looks.decided) / ROWS,
        1 - runs / ((ROWS + 1) * most),
        _any_wrong(fixed, scenario.effects),
        len(fixed.decided) / ROWS,
    )


def _any_wrong(progress: LookProgress, effects: np.ndarray) -> float:
    for row, decision in progress.decided.items():
        effect = effects[int(row) - 1]
        different = decision.verdict is Conclusion.DIFFERENT
        if (effect == 0) if different else (abs(effect) >= MARGIN):
            return 1.0
    return 0.0


def bench_looks(_: RunConfig, rounds: int, report: Report) -> BenchResult:
    """Measure the family error of all looks together against a limit, and the runs they save.

    Args:
        rounds: How many times 100 studies of each kind are simulated.
        report: Called with one line per scenario.
    """
    studies = rounds * STUDIES
    error = 100 * standard_error(studies)
    lines = [
        f"Simulated studies, {studies} of each kind: {ROWS} rows and a baseline, looks at",
        f"{', '.join(map(str, LOOKS))} seeds, margin {MARGIN:g} standard deviations of a run.",
        "Family error: any wrong statement at any look. One look: at all seeds, with the whole 5%.",
        f"In percent; a family error of 5.5% is known to {error:.1f} points (one standard",
        "error).",
        "",
        f"{'':26}{'family error':>13}{'decided':>9}{'runs saved':>12}"
        f"{'one look: family error':>24}{'decided':>9}",
    ]
    passed = True
    for name, scenario in SCENARIOS.items():
        report(name)
        rates = measure(scenario, studies)
        kept = keeps_limits(studies, rates.family_error)
        passed &= kept
        cells = zip((f"{100 * rate:.1f}" for rate in rates), (13, 9, 12, 24, 9), strict=True)
        text = "".join(f"{cell:>{width}}" for cell, width in cells)
        lines.append(f"{name:26}{text}" + ("" if kept else " NOT KEPT"))
    lines += [
        "",
        f"Limit: family error {HIGHEST_FAMILY_ERROR:.1%} or less: "
        f"{'kept' if passed else 'NOT KEPT'}.",
    ]
    return BenchResult(lines, passed)
