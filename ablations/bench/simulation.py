"""Simulated studies: how often the intervals and the tests of tables are right.

Each study has a baseline and rows with the same true mean, effects of the seeds, and residuals with
a standard deviation of 1 where the scenario says nothing else. Its outcomes go through the code
that tables use.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ablations.analysis.stats import (
    ALPHA,
    Comparisons,
    Method,
    SignificanceTest,
    holm_correction,
)
from ablations.analysis.stats.comparisons import family_of
from ablations.bench.limits import (
    HIGHEST_FAMILY_ERROR,
    LOWEST_COVERAGE,
    keeps_limits,
    standard_error,
)
from ablations.bench.timing import BenchResult, Report
from ablations.config.schema import RunConfig

STUDIES = 100  # a round
# Seeds of each row, and the true difference in standard deviations for which power is compared.
EFFECTS = {2: 8.0, 3: 4.5, 5: 2.5, 10: 1.5}
ROWS = (4, 17, 60)
ORDINARY = Method(SignificanceTest.ORDINARY)

Outcomes = dict[str, dict[int, float]]
Simulate = Callable[[np.random.Generator, int, int], Outcomes]


def _outcomes(
    generator: np.random.Generator, spreads: np.ndarray, seeds: int, alike: int = 0
) -> Outcomes:
    """Outcomes by row and seed.

    Args:
        generator: The source of noise.
        spreads: Standard deviation of the residuals of each row, the baseline first.
        seeds: Seeds of each row.
        alike: Rows whose residuals have a part in common with those of the baseline.
    """
    residuals = generator.standard_normal((len(spreads), seeds)) * spreads[:, None]
    if alike:
        residuals[: alike + 1] += generator.standard_normal(seeds)
    values = 80 + generator.standard_normal(seeds) + residuals
    return {str(row): dict(enumerate(map(float, own))) for row, own in enumerate(values)}


def _with_spreads(*groups: tuple[slice, float]) -> Simulate:
    """Studies in which some rows have another spread; row 0 is the baseline."""

    def simulate(generator: np.random.Generator, rows: int, seeds: int) -> Outcomes:
        spreads = np.ones(rows + 1)
        for part, spread in groups:
            spreads[part] = spread
        return _outcomes(generator, spreads, seeds)

    return simulate


def _log_normal(generator: np.random.Generator, rows: int, seeds: int) -> Outcomes:
    return _outcomes(generator, np.exp(0.4 * generator.standard_normal(rows + 1)), seeds)


def _collapsed(generator: np.random.Generator, rows: int, seeds: int) -> Outcomes:
    found = _outcomes(generator, np.ones(rows + 1), seeds)
    return {**found, **{row: dict.fromkeys(range(seeds), 80.0) for row in ("1", "2")}}


def _diverged(generator: np.random.Generator, rows: int, seeds: int) -> Outcomes:
    found = _outcomes(generator, np.ones(rows + 1), seeds)
    del found["1"][seeds - 1]
    return found


def _unpaired(generator: np.random.Generator, rows: int, seeds: int) -> Outcomes:
    """Each row has seeds of its own, so their effects are part of its noise."""
    values = generator.normal(80, math.sqrt(2), (rows + 1, seeds))
    return {
        str(row): {1000 * row + seed: float(value) for seed, value in enumerate(own)}
        for row, own in enumerate(values)
    }


def _alike(generator: np.random.Generator, rows: int, seeds: int) -> Outcomes:
    return _outcomes(generator, np.ones(rows + 1), seeds, alike=rows // 2)


# What a study may be expected to meet; the limits hold here.
SCENARIOS: dict[str, Simulate] = {
    "equal spreads": _with_spreads(),
    "log-normal spreads": _log_normal,
    "two rows x 5": _with_spreads((slice(1, 3), 5.0)),
    "two collapsed rows": _collapsed,
    "one seed diverged": _diverged,
    "unpaired seeds": _unpaired,
}
# Harder cases, to know what then happens; no limit.
HARD_SCENARIOS: dict[str, Simulate] = {
    "half the rows alike": _alike,
    "half the rows x 3": lambda generator, rows, seeds: _outcomes(
        generator, np.where(np.arange(rows + 1) % 2, 3.0, 1.0), seeds
    ),
    "baseline x 2": _with_spreads((slice(0, 1), 2.0)),
}


class Rates(NamedTuple):
    """Shares of studies, or of rows, for the moderated and for the ordinary test.

    Args:
        coverage: Individual 95% intervals that hold the true difference.
        family_error: Studies with any row declared different; all rows are equal.
        power: Rows declared different when they differ.
        ordinary_family_error: The same for paired t tests (or Welch's) with Holm's correction.
        ordinary_power: The same.
    """

    coverage: float
    family_error: float
    power: float
    ordinary_family_error: float
    ordinary_power: float


def measure(simulate: Simulate, rows: int, seeds: int, studies: int, seed: int = 0) -> Rates:
    """Simulate studies and count right and wrong statements."""
    generator = np.random.default_rng([seed, rows, seeds])
    found = [_study_rates(simulate(generator, rows, seeds), EFFECTS[seeds]) for _ in range(studies)]
    return Rates(*np.mean(found, axis=0).tolist())


def _study_rates(outcomes: Outcomes, effect: float) -> Rates:
    others = [row for row in outcomes if row != "0"]
    error_and_power = []
    for method in (Method(), ORDINARY):
        comparisons = Comparisons(outcomes, method)
        found = [comparisons.difference(row, "0") for row in others]
        deltas = [each for each in found if each is not None and each.p is not None]
        for shift in (0.0, effect):  # an effect moves the means and changes no spread
            p_values = [each.p_value_of(each.mean + shift) or 0.0 for each in deltas]
            if comparisons.test is SignificanceTest.ORDINARY:
                found_different = [p < ALPHA for p in holm_correction(p_values) if p is not None]
            else:
                # Quicker than the corrected p-values, which are below 5% exactly below the level.
                level = family_of(deltas).level()
                found_different = [p < level for p in p_values]
            error_and_power.append(
                sum(found_different) / len(others) if shift else float(any(found_different))
            )
        if method is not ORDINARY:
            coverage = sum((each.p or 0.0) > ALPHA for each in deltas) / max(len(deltas), 1)
    return Rates(coverage, *error_and_power)


def bench_statistics(_: RunConfig, rounds: int, report: Report) -> BenchResult:
    """Measure the coverage of intervals and the family error against limits, and the power.

    Args:
        rounds: How many times 100 studies of each kind are simulated.
        report: Called with one line per scenario.
    """
    studies = rounds * STUDIES
    error = 100 * standard_error(studies)
    lines = [
        f"Simulated studies, {studies} of each kind, 95% intervals. Coverage: of intervals alone.",
        "Family error: any row declared different though none is. Power: rows that differ by",
        f"{', '.join(f'{effect:g} ({n} seeds)' for n, effect in EFFECTS.items())} standard",
        "deviations. Ordinary: t tests with Holm's correction. In percent; a family error of 5.5%",
        f"is known to {error:.1f} points (one standard error).",
        "",
        f"{'':20} {'rows':>4} {'seeds':>5} {'coverage':>9} {'family error':>13} {'power':>6}"
        f" {'ordinary: family error':>23} {'power':>6}",
    ]
    passed = True
    for name, simulate in {**SCENARIOS, **HARD_SCENARIOS}.items():
        report(name)
        for rows, seeds in itertools.product(ROWS, EFFECTS):
            rates = measure(simulate, rows, seeds, studies)
            kept = keeps_limits(studies, rates.family_error, rates.coverage)
            kept |= name in HARD_SCENARIOS
            passed &= kept
            lines.append(_line(name, rows, seeds, rates) + ("" if kept else " NOT KEPT"))
    lines += [
        "",
        f"Limits: coverage {LOWEST_COVERAGE:.1%} or more, family error {HIGHEST_FAMILY_ERROR:.1%} "
        f"or less: {'kept' if passed else 'NOT KEPT'}.",
        f"No limits for: {', '.join(HARD_SCENARIOS)}.",
    ]
    return BenchResult(lines, passed)


def _line(name: str, rows: int, seeds: int, rates: Rates) -> str:
    coverage, family, power, ordinary, ordinary_power = (f"{100 * rate:.1f}" for rate in rates)
    return (
        f"{name:20} {rows:4} {seeds:5} {coverage:>9} {family:>13} {power:>6} {ordinary:>23}"
        f" {ordinary_power:>6}"
    )
