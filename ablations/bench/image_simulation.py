"""Simulated studies of right and wrong images: what intervals over seeds and images are worth.

Each study draws seeds and images anew. Whether row r with seed s has image i right depends on how
hard the image is, on effects of (r, i) and (r, s), and on noise. Rows are alike in distribution, so
no difference from the baseline is real; what a study sees of one is due to its seeds and images.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from ablations.analysis.stats import ALPHA, Comparisons, crossed
from ablations.analysis.stats.comparisons import family_of
from ablations.bench.limits import (
    HIGHEST_FAMILY_ERROR,
    LOWEST_COVERAGE,
    keeps_limits,
    standard_error,
)
from ablations.bench.timing import BenchResult, Report
from ablations.config.schema import RunConfig

STUDIES = 30  # a round
SIZES = ((5, 500), (17, 2000))  # rows besides the baseline, images
SEEDS = (2, 3, 5, 10)
DIFFICULTY = 1.5  # standard deviation of the latent difficulty of images; the noise has 1
MEAN = 1.8  # about 84% right


class Scenario(NamedTuple):
    """Standard deviations of the latent effects of a row on an image and on a seed."""

    image: float
    seed: float


SCENARIOS = {
    "images matter more": Scenario(1.0, 0.02),
    "both matter": Scenario(0.5, 0.08),
    "seeds matter more": Scenario(0.25, 0.15),
    "images do not matter": Scenario(0.0, 0.05),
}
Correct = dict[str, dict[int, np.ndarray]]


def simulate(
    generator: np.random.Generator, scenario: Scenario, rows: int, seeds: int, images: int
) -> Correct:
    """Row -> seed -> whether each image is right, (images,); row 0 is the baseline."""
    shape = (rows + 1, seeds, images)
    latent = generator.standard_normal(shape, np.float32)
    latent += MEAN + DIFFICULTY * generator.standard_normal(images, np.float32)
    latent += scenario.image * generator.standard_normal((rows + 1, 1, images), np.float32)
    latent += scenario.seed * generator.standard_normal((rows + 1, seeds, 1), np.float32)
    return {str(row): dict(enumerate(own > 0)) for row, own in enumerate(latent)}


class Rates(NamedTuple):
    """Shares, over seeds and images and over seeds alone.

    Args:
        coverage: Individual 95% intervals that hold the true difference.
        family_error: Studies with any row declared different.
        images_share: Mean share of the images in the squared standard error.
        seeds_coverage: The coverage of intervals over seeds alone.
        seeds_family_error: The same for the family error.
    """

    coverage: float
    family_error: float
    images_share: float
    seeds_coverage: float
    seeds_family_error: float


def measure(
    scenario: Scenario, rows: int, seeds: int, images: int, studies: int, seed: int = 0
) -> Rates:
    """Simulate studies and count right and wrong statements."""
    generator = np.random.default_rng([seed, rows, seeds, images])
    found = [
        _study_rates(simulate(generator, scenario, rows, seeds, images)) for _ in range(studies)
    ]
    return Rates(*np.mean(found, axis=0).tolist())


def _study_rates(correct: Correct) -> Rates:
    outcomes = {row: crossed.accuracy_by_seed(own) for row, own in correct.items()}
    others = [row for row in outcomes if row != "0"]
    rates = []
    for images in (correct, None):
        comparisons = Comparisons(outcomes, correct=images)
        found = [comparisons.difference(row, "0") for row in others]
        deltas = [each for each in found if each is not None and each.p is not None]
        level = family_of(deltas).level()  # quicker than the corrected p-values
        p_values = np.array([each.p for each in deltas])
        shares = [each.images_share or 0.0 for each in deltas]
        rates.append((np.mean(p_values > ALPHA), (p_values < level).any(), np.mean(shares)))
    (coverage, error, share), (seeds_coverage, seeds_error, _) = rates
    return Rates(*map(float, (coverage, error, share, seeds_coverage, seeds_error)))


def bench_images(_: RunConfig, rounds: int, report: Report) -> BenchResult:
    """Measure intervals over seeds and images against limits, and those over seeds beside them.

    Args:
        rounds: How many times 30 studies of each kind are simulated.
        report: Called with one line per scenario.
    """
    studies = rounds * STUDIES
    error = 100 * standard_error(studies)
    lines = [
        f"Simulated studies, {studies} of each kind: each draws new seeds and new images, and no",
        "row differs. Coverage: of 95% intervals alone. Family error: any row declared different.",
        f"In percent; a family error of 5.5% is known to {error:.1f} points.",
        "",
        f"{'':30} {'over seeds and images':>38} {'over seeds':>22}",
        f"{'':20} {'rows':>4} {'seeds':>5} {'images':>6} {'coverage':>8} {'family error':>12}"
        f" {'share':>5} {'coverage':>8} {'family error':>12}",
    ]
    passed = True
    for name, scenario in SCENARIOS.items():
        report(name)
        for (rows, images), seeds in itertools.product(SIZES, SEEDS):
            rates = measure(scenario, rows, seeds, images, studies)
            kept = keeps_limits(studies, rates.family_error, rates.coverage)
            passed &= kept
            shown = [f"{100 * rate:.1f}" for rate in rates]
            lines.append(
                f"{name:20} {rows:4} {seeds:5} {images:6} {shown[0]:>8} {shown[1]:>12}"
                f" {shown[2]:>5} {shown[3]:>8} {shown[4]:>12}" + ("" if kept else " NOT KEPT")
            )
    lines += [
        "",
        f"Limits: coverage {LOWEST_COVERAGE:.1%} or more, family error {HIGHEST_FAMILY_ERROR:.1%} "
        f"or less: {'kept' if passed else 'NOT KEPT'}.",
        "Share: of the images in the squared standard error.",
    ]
    return BenchResult(lines, passed)
