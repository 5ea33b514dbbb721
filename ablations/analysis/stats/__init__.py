"""Statistics of outcomes by seed: pure functions, percent in, percentage points out, never a NaN.

A quantity that the data does not determine is None: the spread of one seed, the interval of one
pair. A value that is not a finite number raises ``StatisticsError``.

Every table imports this package, so the t distributions come from ``scipy.special`` (0.3 s) and not
from ``scipy.stats`` (1.2 s) or statsmodels (1.7 s). The tests compare every function with both.
"""

from __future__ import annotations

from ablations.analysis.stats._common import ALPHA, CONFIDENCE
from ablations.analysis.stats.bootstrap import bootstrap_interval
from ablations.analysis.stats.comparisons import Comparisons, Intervals, Method, SignificanceTest
from ablations.analysis.stats.descriptive import Spread, spread
from ablations.analysis.stats.differences import (
    BySeed,
    Difference,
    difference,
    paired_difference,
    unpaired_difference,
)
from ablations.analysis.stats.equivalence import seeds_for_equivalence
from ablations.analysis.stats.multiple_testing import holm_correction
from ablations.analysis.stats.power import detection_power, minimum_effect, seeds_needed

__all__ = [
    "ALPHA",
    "CONFIDENCE",
    "BySeed",
    "Comparisons",
    "Difference",
    "Intervals",
    "Method",
    "SignificanceTest",
    "Spread",
    "bootstrap_interval",
    "detection_power",
    "difference",
    "holm_correction",
    "minimum_effect",
    "paired_difference",
    "seeds_for_equivalence",
    "seeds_needed",
    "spread",
    "unpaired_difference",
]
