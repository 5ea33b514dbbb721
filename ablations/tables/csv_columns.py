"""Columns that tidy tables share, so that a number has one name in all of them.

Each function gives column -> value; what is not known is None, a count 0.
"""

from __future__ import annotations

from ablations.analysis.rows import Row
from ablations.analysis.stats import Difference
from ablations.analysis.study import Study
from ablations.tables import provenance

Columns = dict[str, object]
NOISE = 5e-14  # sums and differences of percentages are not exact beyond it


def of_study(study: Study) -> Columns:
    """What tells a study from others."""
    return {
        "recipe": study.recipe,
        "data": study.data,
        "fingerprint": study.fingerprint,
        "epochs": study.epochs,
        "precision": study.precision,
    }


def of_outcome(row: Row | None, prefix: str = "") -> Columns:
    """Mean and deviation of a row's top-1 in percent, and of how many seeds."""
    top1 = row.top1 if row else None
    return {
        f"{prefix}top1_mean": top1.mean if top1 else None,
        f"{prefix}top1_std": top1.std if top1 else None,
        f"{prefix}n": top1.n if top1 else 0,
    }


def rounded(value: float) -> float:
    """A number without the noise of its last bits: 79.4, not 79.40000000000001; else as it is."""
    short = float(f"{value:.10g}")
    return short if abs(short - value) < NOISE else value


def by_seed(row: Row | None) -> str:
    """Each seed with its outcome in percent: "0:78.1 1:77.9"."""
    return (
        " ".join(f"{seed}:{rounded(value)}" for seed, value in row.top1_by_seed.items())
        if row
        else ""
    )


def of_interval(delta: Difference | None, name: str) -> Columns:
    """A difference in points and the ends of its 95% interval."""
    return {
        f"{name}_mean": delta.mean if delta else None,
        f"{name}_low": delta.low if delta else None,
        f"{name}_high": delta.high if delta else None,
    }


def of_difference(delta: Difference | None) -> Columns:
    """The difference that a line is about, and how many pairs or seeds of the row it is over."""
    return {**of_interval(delta, "delta"), "delta_n": delta.n if delta else 0}


def test_of(delta: Difference | None) -> str | None:
    """The test that a difference's p-value is of; None without one."""
    if delta is None or delta.p is None:
        return None
    return "paired t" if delta.paired else "Welch t"


def of_ends(row: Row | None) -> Columns:
    """How many runs of a row came to no good end."""
    return {
        "diverged": row.count("diverged") if row else 0,
        "failed": row.count("failed") if row else 0,
    }


def of_cost(row: Row | None) -> Columns:
    """What a model of a row costs, in counts, and for pictures of how many pixels a side."""
    cost = row.cost if row else {}
    return {name: cost.get(name) for name in ("params", "frozen_params", "macs", "image_size")}


def of_records(row: Row | None) -> Columns:
    """Which code and which runs a row is made from."""
    return {
        "commits": " ".join(provenance.commits(row.records)) if row else "",
        "run_ids": run_ids(row),
    }


def run_ids(row: Row | None) -> str:
    """The ids of a row's runs in one cell."""
    return " ".join(record.run_id for record in row.records) if row else ""
