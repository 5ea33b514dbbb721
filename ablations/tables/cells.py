"""The text of one cell: numbers, differences, intervals and outcomes."""

from __future__ import annotations

import math
from typing import TypeGuard

from ablations.analysis.rows import Row
from ablations.analysis.stats import Difference

EMPTY = "–"
UNITS = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1}
WELCH_MARK = "ʷ"
NO_SPREAD = "no spread"  # in place of an interval, if the seeds do not vary
MISSING = "missing"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number other than NaN."""
    return isinstance(value, (int, float)) and not math.isnan(value)


def number(value: object, unit: float = 1, digits: int = 1) -> str:
    """A number in a unit, or a dash for none."""
    return f"{value / unit:.{digits}f}" if is_number(value) else EMPTY


def signed(value: object, digits: int = 1) -> str:
    """A number with its sign, zero without one; a dash for none."""
    if not is_number(value):
        return EMPTY
    text = f"{value:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def quantity(value: object, unit: str) -> str:
    """A count in k, M or G, to three digits: ``422k``, ``0.32M``, ``1.82G``; a dash for none."""
    return f"{value / UNITS[unit]:#.3g}".rstrip(".") + unit if is_number(value) else EMPTY


def significant(value: object, unit: float) -> str:
    """A number in a unit to one decimal, as the paper prints it; small ones to three digits."""
    if not is_number(value):
        return EMPTY
    return f"{value / unit:.1f}" if value / unit >= 0.95 else f"{value / unit:.3g}"


def p_value(value: float | None) -> str:
    """A p-value to three decimals; empty for none."""
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"


def reported_p(delta: Difference | None) -> str:
    """The p-value that belongs to a difference's interval; empty for none."""
    return p_value(delta.reported_p if delta else None)


def mean_and_std(mean: float, std: float | None) -> str:
    """Mean ± standard deviation."""
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def accuracy(row: Row | None) -> str:
    """Mean ± standard deviation of a row's top-1, and the runs that failed, by kind of failure."""
    if row is None:
        return MISSING
    problems = [f"{n} diverged"] if (n := row.count("diverged")) else []
    problems += [f"{n} failed: {kind}" for kind, n in sorted(row.failures.items())]
    if row.started_seeds:
        problems.append(f"{len(row.started_seeds)} not done")
    text = mean_and_std(row.top1.mean, row.top1.std) if row.top1 else MISSING
    return f"{text} ({', '.join(problems)})" if problems else text


def seeds(row: Row) -> str:
    """The outcome of each seed, in their order, if there are few."""
    return " ".join(f"{value:.2f}" for value in row.top1.few_values) if row.top1 else ""


def uses_welch(delta: Difference | None) -> bool:
    """Whether a difference is tested by Welch's t, as the two sides share too few seeds."""
    return delta is not None and delta.p is not None and not delta.paired


def points(delta: Difference | None) -> str:
    """A mean difference in points, marked if it is tested by Welch's t; empty for none."""
    if delta is None:
        return ""
    return signed(delta.mean, 2) + WELCH_MARK * uses_welch(delta)


def interval(delta: Difference | None) -> str:
    """A 95% interval; empty without one."""
    if delta is None:
        return ""
    if delta.constant:
        return NO_SPREAD
    if delta.low is None or delta.high is None:
        return ""
    return f"[{signed(delta.low, 2)}, {signed(delta.high, 2)}]"


def row_delta(row: Row | None) -> str:
    """A row's difference from the baseline; ``0`` for the baseline itself."""
    if row and row.delta is None and row.records and not row.changed:
        return "0"
    return points(row.delta if row else None)


def row_delta_and_interval(row: Row) -> str:
    """A row's difference from the baseline ± half of its 95% interval."""
    delta = row.delta
    if delta is None or delta.half_width is None:
        return row_delta(row) + f" {NO_SPREAD}" * bool(delta and delta.constant)
    mark = WELCH_MARK * uses_welch(delta)
    return f"{signed(delta.mean, 2)} ± {delta.half_width:.2f}{mark}"


def control(row: Row | None) -> str:
    """A row's difference from its closest control, with its interval; empty without a control."""
    return control_delta(row.control.delta) if row and row.control else ""


def control_delta(delta: Difference | None) -> str:
    """A difference from a control with its interval."""
    return f"{signed(delta.mean, 2)} {interval(delta)}".strip() if delta else MISSING


def bootstrap(row: Row) -> str:
    """A bootstrap interval of a row's mean; empty without one."""
    return "[{:.2f}, {:.2f}]".format(*row.bootstrap) if row.bootstrap else ""


def two_decimals(value: float | None) -> str:
    """A number to two decimals; empty for none."""
    return "" if value is None else f"{value:.2f}"


def percentage(share: float | None) -> str:
    """A share of 1 in whole percent; empty for none."""
    return "" if share is None else f"{share:.0%}"


def millions(value: float | None) -> str:
    """A number of millions, to three digits; a dash for none."""
    return quantity(value and value * 1e6, "M")


def billions(value: float | None) -> str:
    """A number of billions, to three digits; a dash for none."""
    return quantity(value and value * 1e9, "G")


def plain_points(delta: Difference | None) -> str:
    """A mean difference in points; empty for none."""
    return signed(delta.mean, 2) if delta else ""
