"""Differences on other images as well as with other seeds: crossed random effects.

The validation images are a sample too. Row minus baseline with seed s on image i is 100, 0 or -100
points, and is modelled as

    difference[s, i] = mean + seed[s] + image[i] + residual[s, i]

with independent random effects. For n seeds and m images the mean of all has the variance

    (v_seed / n + v_residual / (n m)) + v_image / m.

The first part is what varies between seeds on these images: the squared standard error of
``stats.difference``, or a moderated one in its place. The second part is what other images add. It
is estimated by the method of moments from the means over the seeds and the residuals (Searle,
Casella and McCulloch, Variance Components, 1992, chapter 4), and is 0 where the estimate is below.
Its error follows from its spread over the images, not from a normal distribution: most images have
a difference of exactly 0.

Where row and baseline share no seeds, each side has residuals of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ablations.analysis.stats._common import CONFIDENCE
from ablations.analysis.stats.differences import Difference, difference
from ablations.analysis.stats.variances import Variance
from ablations.errors import StatisticsError

Correct = Mapping[int, NDArray[np.bool_]]  # seed -> whether each image is right, (m,)


def accuracy_by_seed(correct: Correct) -> dict[int, float]:
    """Seed -> percent of the images that are right."""
    return {seed: 100 * float(right.mean()) for seed, right in correct.items()}


def crossed_difference(
    row: Correct, baseline: Correct, confidence: float = CONFIDENCE
) -> Difference | None:
    """Row minus baseline with a standard error over seeds and images; None without any seed.

    The seeds' part is that of ``stats.difference``.

    Raises:
        StatisticsError: The sides have different numbers of images, or fewer than two.
    """
    found = difference(accuracy_by_seed(row), accuracy_by_seed(baseline), confidence)
    return found and over_images(found, images_variance(row, baseline, found.paired))


def images_variance(row: Correct, baseline: Correct, paired: bool) -> Variance | None:
    """The part of the variance of row minus baseline that other images add, in squared points.

    None with one seed, which cannot tell the images' effect from the residual. Its degrees of
    freedom are Satterthwaite's: 2 value^2 / (variance of the value).

    Args:
        row: Seed -> whether each image is right, (m,).
        baseline: The same images in the same order.
        paired: Whether to compare the common seeds, or else all seeds of both as independent.

    Raises:
        StatisticsError: The sides have different numbers of images, or fewer than two.
    """
    images = {len(right) for right in (*row.values(), *baseline.values())}
    if len(images) > 1 or min(images, default=2) < 2:
        counts = ", ".join(map(str, sorted(images)))
        raise StatisticsError(f"the runs have {counts} images: all need the same, two or more")
    if paired:
        seeds = sorted(row.keys() & baseline.keys())
        groups = [_stack(row, seeds) - _stack(baseline, seeds)]
    else:
        groups = [_stack(row, sorted(row)), -_stack(baseline, sorted(baseline))]
    if min(len(group) for group in groups) < 2:
        return None
    means = np.sum([group.mean(axis=0) for group in groups], axis=0)
    m = len(means)
    # An image's squared deviation, less what its residuals contribute to it.
    own = (means - means.mean()) ** 2 - sum(map(_residual_variance_of_means, groups))
    value, variance = own.sum() / (m - 1) / m, own.var(ddof=1) / m**3
    if value <= 0:
        return Variance(0.0, 0.0)
    return Variance(1e4 * float(value), 2 * float(value**2 / variance) if variance else math.inf)


def _stack(correct: Correct, seeds: list[int]) -> NDArray[np.int8]:
    """Outcomes (n, m), 1 where right."""
    return np.array([correct[seed] for seed in seeds], bool).view(np.int8)


def _residual_variance_of_means(outcomes: NDArray[np.int8]) -> NDArray[np.float64]:
    """For outcomes (n, m): the variance (m,) of each image's mean over the seeds, by residuals."""
    n = len(outcomes)
    seeds = outcomes.mean(axis=1)
    seeds -= seeds.mean()
    sums = outcomes.sum(axis=0, dtype=float)
    # The squares of outcomes[s, i] - (mean of image i) - seeds[s], summed over the seeds.
    squares: NDArray[np.float64] = (outcomes**2).sum(axis=0, dtype=float) - sums**2 / n
    squares += seeds @ seeds - 2 * (seeds @ outcomes)
    squares /= (n - 1) * n
    return squares


def over_images(difference: Difference, images: Variance | None) -> Difference:
    """A difference whose standard error covers other images too.

    The squared standard errors add up, and Satterthwaite's degrees of freedom are those of the sum.
    A difference without a test keeps none. Only the seeds' part of the baseline counts as shared
    with other rows, which makes a family of rows slightly conservative.

    Args:
        difference: Over seeds, its variances moderated or not.
        images: As ``images_variance`` gives it.
    """
    if images is None or not difference.standard_error or difference.df is None:
        return difference
    seeds = difference.standard_error**2
    squared = seeds + images.value
    parts = seeds**2 / difference.df + (images.value**2 / images.df if images.df else 0.0)
    return replace(
        difference,
        standard_error=math.sqrt(squared),
        df=squared**2 / parts,
        images_error=math.sqrt(images.value),
        baseline_share=difference.baseline_share * math.sqrt(seeds / squared),
    )
