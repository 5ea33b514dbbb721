"""Raw values that several tables share, so that a number has one name in all CSV files.

Each function gives column -> value. What is not known is None, except counts: 0.
"""

from __future__ import annotations

from ablations.analysis.rows import Row
from ablations.analysis.stats import Comparisons, Difference
from ablations.analysis.study import Study
from ablations.config import naming
from ablations.tables import provenance
from ablations.tables.table import Values

ROUNDING = 5e-14  # larger than the rounding errors in sums and differences of percentages


def fields_of(source: object, *names: str, prefix: str = "") -> Values:
    """Fields of an object, each under its name after a prefix; all None if the object is None."""
    return {prefix + name: getattr(source, name) if source else None for name in names}


def study_values(study: Study) -> Values:
    """The settings that all runs of a study share."""
    return fields_of(study, "recipe", "data", "fingerprint", "epochs", "precision")


def shared_changes(study: Study) -> Values:
    """What all rows of a study change against its recipe."""
    return {"shared_changes": "; ".join(naming.format_assignments(study.shared_changes))}


def outcome_values(row: Row | None, prefix: str = "") -> Values:
    """Mean and standard deviation of a row's top-1 in percent, and its number of seeds."""
    top1 = row.top1 if row else None
    values = fields_of(top1, "mean", "std", prefix=f"{prefix}top1_")
    return values | {f"{prefix}n": top1.n if top1 else 0}


def without_noise(value: float) -> float:
    """A number without rounding errors in its last bits: 79.4, not 79.40000000000001."""
    short = float(f"{value:.10g}")
    return short if abs(short - value) < ROUNDING else value


def seed_values(row: Row | None) -> Values:
    """Each seed with its outcome in percent: "0:78.1 1:77.9"."""
    pairs = row.top1_by_seed.items() if row else ()
    return {"top1_by_seed": " ".join(f"{seed}:{without_noise(top1)}" for seed, top1 in pairs)}


def interval_values(delta: Difference | None, name: str) -> Values:
    """A difference in points and the ends of its 95% interval."""
    return fields_of(delta, "mean", "low", "high", prefix=f"{name}_")


def delta_values(delta: Difference | None, name: str = "delta") -> Values:
    """A difference, its interval, and its number of pairs or seeds of the row."""
    return interval_values(delta, name) | {f"{name}_n": delta.n if delta else 0}


def method_values(study: Study, row: Row) -> Values:
    """How a row's difference is tested, its interval alone, and the ordinary test beside it."""
    delta, ordinary = row.delta, study.ordinary_differences.get(row.label)
    comparisons = study.comparisons
    return {
        "delta_se": delta.standard_error if delta else None,
        "delta_df": delta.df if delta else None,
        "delta_se_seeds": delta.seeds_error if delta else None,
        "delta_se_images": delta.images_error if delta else None,
        "images_share": delta.images_share if delta else None,
        "test": comparisons.test.value if delta else None,
        "intervals": comparisons.interval_kind.value if delta else None,
        "over": over(comparisons) if delta else None,
        **fields_of(delta.alone if delta else None, "low", "high", prefix="delta_individual_"),
        **fields_of(ordinary, "low", "high", "p", prefix="ordinary_"),
        "p_holm": ordinary.p_corrected if ordinary else None,
    }


def over(comparisons: Comparisons) -> str:
    """What standard errors are over, as ``--over`` has it."""
    return "seeds" if comparisons.correct is None else "seeds+images"


def test_name(delta: Difference | None) -> str | None:
    """The test that a difference's p-value comes from; None without one."""
    if delta is None or delta.p is None:
        return None
    return "paired t" if delta.paired else "Welch t"


def status_counts(row: Row | None) -> Values:
    """How many runs of a row diverged or failed."""
    return {status: row.count(status) if row else 0 for status in ("diverged", "failed")}


def cost_values(row: Row | None) -> Values:
    """Parameters and MACs of a row's model, in counts, and its image size in pixels."""
    cost = row.cost if row else {}
    return {name: cost.get(name) for name in ("params", "frozen_params", "macs", "image_size")}


def record_values(row: Row | None) -> Values:
    """The commits and the ids of a row's runs."""
    commits = provenance.commits(row.records) if row else []
    return {"commits": " ".join(commits), "run_ids": run_ids(row)}


def run_ids(row: Row | None) -> str:
    """The ids of a row's runs, with blanks between."""
    return " ".join(record.run_id for record in row.records) if row else ""
