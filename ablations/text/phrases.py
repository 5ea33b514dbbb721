"""Counts and durations in words, for messages, tables and reports."""

from __future__ import annotations

import math

# The limit below which each unit is used: 99 s, then 1.7 min.
UNITS = (
    (1, "s", 99.5),
    (60, "min", 99.5),
    (3600, "h", 99.5),
    (86_400, "day", 999.5),
    (31_557_600, "year", math.inf),
)


def pluralize(count: int, name: str, plural: str | None = None) -> str:
    """``1 run``, ``3 runs``, ``12,000 images``.

    Args:
        count: The number.
        name: The singular.
        plural: The plural; by default the singular with an s.
    """
    return f"{count:,} {name if count == 1 else plural or name + 's'}"


def format_duration(seconds: float | None) -> str:
    """``0.52 s``, ``42 s``, ``3 min``, ``5.2 h``, ``12 days``, ``383 years``; ``?`` for unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    size, unit = next((size, unit) for size, unit, below in UNITS if seconds / size < below)
    value = seconds / size
    number = f"{round(value, 2):.2g}" if value < 9.95 else f"{value:,.0f}"
    if unit in ("day", "year") and number != "1":
        unit += "s"
    return f"{number} {unit}"
