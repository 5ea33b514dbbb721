"""The smallest true difference that a study's planned seeds can be expected to find."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ablations.analysis import stats
from ablations.analysis.build import build_studies
from ablations.analysis.study import Study
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError
from ablations.store.records import Record
from ablations.text.phrases import pluralize

# Recipe -> standard deviation in points of a difference paired by seed, pooled over the rows of the
# study that is committed in results/ (a test computes it again).
MEASURED = {"mini": 0.335}


def spread(
    cells: Sequence[RunConfig], known: Iterable[Record], std: float | None
) -> tuple[float | None, str]:
    """The deviation of paired differences to plan with in points, and where it is from, in words.

    The one given, else that of the records, else of a committed study; None where nothing is known.

    Args:
        cells: What is planned, on one recipe.
        known: Usable records.
        std: What the user says.

    Raises:
        ConfigError: It is not above 0.
    """
    if std is not None:
        if not 0 < std < math.inf:
            raise ConfigError(f"--std {std} must be above 0, in percentage points")
        return std, "--std"
    recipe, plan = cells[0].recipe, {_likeness(cell.to_json()) for cell in cells}
    alike = (record for record in known if record.config["recipe"] == recipe)
    measured = [
        study
        for study in build_studies(alike)
        if plan & {_likeness(r.config) for r in study.records}
    ]
    value, rows = pooled(measured)
    if value:
        return value, (
            f"pooled over {pluralize(rows, 'row')} of records with two or more paired seeds"
        )
    shipped = _likeness(resolve(recipe).to_json())
    if recipe in MEASURED and plan == {shipped}:
        return MEASURED[recipe], f"assumed: that of the committed study results/{recipe}"
    return None, "not known: give --std, or run two seeds of a row and the baseline first"


def pooled(found: Iterable[Study]) -> tuple[float | None, int]:
    """The deviation of paired differences over all rows of studies in points, and how many rows.

    Rows share their baseline, so it is less sure than so many independent ones.
    """
    deltas = [row.delta for study in found for row in study.rows if row.delta and row.delta.paired]
    known = [(delta.std, delta.df) for delta in deltas if delta.std is not None and delta.df]
    if not known:
        return None, 0
    squares = sum(df * std**2 for std, df in known)
    return math.sqrt(squares / sum(df for _, df in known)), len(known)


def _likeness(config: dict[str, Any]) -> tuple[str, int, int]:
    """What must be alike for the spread of one run to say something about another's."""
    epochs = config["optim"]["epochs"] + config["optim"]["cooldown_epochs"]
    return config["data"]["name"], config["data"]["image_size"], epochs


def effects(seeds: Iterable[int], std: float | None) -> list[dict[str, Any]]:
    """For each number of seeds a variant: how many variants, the effect in deviations and points.

    With 80% power at 5%, paired by seed, before any correction; None for one seed.

    Args:
        seeds: Planned seeds of each variant.
        std: The deviation of paired differences in points; None where it is not known.
    """
    return [
        {
            "seeds": count,
            "variants": variants,
            "in_std": stats.minimum_effect(1.0, count),
            "points": stats.minimum_effect(std, count) if std else None,
        }
        for count, variants in sorted(Counter(seeds).items())
    ]
