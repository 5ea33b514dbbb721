"""The smallest true difference that the planned seeds can be expected to find."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ablations.analysis.build import build_studies
from ablations.analysis.stats import sensitivity
from ablations.analysis.study import Study
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError
from ablations.store.records import Record
from ablations.text.phrases import pluralize

# Recipe -> standard deviation, in points, of a difference paired by seed, pooled over the rows of
# the study that is committed in results/ (a test computes it again).
COMMITTED_STD = {"mini": 0.335}


def difference_std(
    runs: Sequence[RunConfig], records: Iterable[Record], std: float | None
) -> tuple[float | None, str]:
    """The standard deviation of paired differences to plan with, in points, and its source.

    The given one comes first, then that of the records, then that of a committed study. None if
    nothing is known.

    Args:
        runs: The planned runs, on one recipe.
        records: Usable records.
        std: What the user says.

    Raises:
        ConfigError: ``std`` is not above 0.
    """
    if std is not None:
        if not 0 < std < math.inf:
            raise ConfigError(f"--std {std} must be above 0, in percentage points")
        return std, "--std"
    recipe, planned = runs[0].recipe, {_setting(run.to_json()) for run in runs}
    studies = build_studies(record for record in records if record.config["recipe"] == recipe)
    similar = [s for s in studies if planned & {_setting(record.config) for record in s.records}]
    value, rows = pooled_std(similar)
    if value:
        return value, (
            f"pooled over {pluralize(rows, 'row')} of records with two or more paired seeds"
        )
    if recipe in COMMITTED_STD and planned == {_setting(resolve(recipe).to_json())}:
        return COMMITTED_STD[recipe], f"assumed: that of the committed study results/{recipe}"
    return None, "not known: give --std, or run two seeds of a row and the baseline first"


def pooled_std(studies: Iterable[Study]) -> tuple[float | None, int]:
    """The standard deviation of paired differences over all rows, in points, and how many rows.

    Rows share their baseline, so it is less certain than from as many independent rows.
    """
    deltas = [delta for study in studies for delta in study.ordinary_differences.values()]
    known = [
        (delta.std, delta.df)
        for delta in deltas
        if delta and delta.paired and delta.std is not None and delta.df
    ]
    if not known:
        return None, 0
    squares = sum(df * std**2 for std, df in known)
    return math.sqrt(squares / sum(df for _, df in known)), len(known)


def _setting(config: dict[str, Any]) -> tuple[str, int, int]:
    """What two runs must share for the spread of one to apply to the other."""
    epochs = config["optim"]["epochs"] + config["optim"]["cooldown_epochs"]
    return config["data"]["name"], config["data"]["image_size"], epochs


def minimum_effects(seed_counts: Iterable[int], std: float | None) -> list[dict[str, Any]]:
    """The smallest effect for each number of seeds, as JSON values.

    It has 80% power in a table of all these variants, paired by seed
    (``stats.planned_minimum_effect``); None for one seed.

    Args:
        seed_counts: Planned seeds of each variant, the baseline among them.
        std: The standard deviation of paired differences in points; None if not known.
    """
    counts = Counter(seed_counts)
    rows = max(counts.total() - 1, 1)
    found = []
    for seeds, variants in sorted(counts.items()):
        in_std = sensitivity.planned_minimum_effect(seeds, rows)
        points = in_std * std if in_std and std else None
        found.append({"seeds": seeds, "variants": variants, "in_std": in_std, "points": points})
    return found
