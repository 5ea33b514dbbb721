"""Errors of the statistics; importing them does not import scipy.stats or pandas."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from ablations.analysis import stats
from ablations.errors import StatisticsError

NAN, INF = math.nan, math.inf
INVALID = {
    "value 2 of 3 is nan": lambda: stats.spread([1.0, NAN, 2.0]),
    "value 1 of 1 is inf": lambda: stats.spread([INF]),
    "row, seed 3 is nan": lambda: stats.difference({3: NAN, 4: 1.0}, {3: 1.0, 4: 2.0}),
    "baseline, seed 9 is -inf": lambda: stats.difference({3: 1.0}, {3: 1.0, 9: -INF}),
    "row, seed 4 is nan": lambda: stats.paired_difference({3: 1.0, 4: NAN}, {3: 1.0}),
    "baseline, seed 1 is nan": lambda: stats.unpaired_difference({0: 1.0}, {1: NAN}),
    "confidence 95 must": lambda: stats.difference({0: 1.0}, {0: 1.0}, 95),
    "confidence 1 must": lambda: stats.bootstrap_interval([1.0], np.random.default_rng(), 1),
    "value 1 of 2 is nan": lambda: stats.bootstrap_interval([NAN, 1.0], np.random.default_rng()),
    "p-value 2 of 2 is nan": lambda: stats.holm_correction([0.1, NAN]),
    "p-value 1 of 1 is -0.1": lambda: stats.holm_correction([-0.1]),
    "p-value 1 of 1 is 1.1": lambda: stats.holm_correction([1.1]),
    "margin 0 must": lambda: stats.difference({0: 1.0}, {0: 1.0}).within(0),
    "margin nan must": lambda: stats.difference({0: 1.0}, {0: 1.0}).within(NAN),
    "standard deviation -1 must": lambda: stats.minimum_effect(-1, 5),
    "standard deviation nan must": lambda: stats.seeds_needed(1.0, NAN),
    "alpha 0 must": lambda: stats.minimum_effect(1.0, 5, alpha=0),
    "power 0.04 must": lambda: stats.minimum_effect(1.0, 5, power=0.04),
    "power 1 must": lambda: stats.seeds_needed(1.0, 1.0, power=1),
    "effect 0.5 must lie within": lambda: stats.seeds_for_equivalence(0.5, 1.0, 0.5),
    "effect nan must": lambda: stats.seeds_needed(NAN, 1.0),
    "effect inf must": lambda: stats.detection_power(INF, 1.0, 5),
}


@pytest.mark.parametrize("message", INVALID)
def test_invalid_arguments_are_errors_that_name_the_value(message):
    with pytest.raises(StatisticsError, match=message) as caught:
        INVALID[message]()
    assert "\n" not in str(caught.value)


def test_importing_is_light():
    code = """
import sys, ablations.analysis.stats
heavy = {"scipy.stats", "scipy.optimize", "statsmodels", "pandas"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
