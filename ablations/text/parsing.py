"""Strict parsing of numbers that people type: ``1_0``, ``٣`` and ``010`` are refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from poolformer.errors import ConfigError

WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)", re.ASCII)
DECIMAL = re.compile(
    r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.?inf|\.?nan)",
    re.ASCII | re.IGNORECASE,
)
YES, NO = ("true", "yes", "on"), ("false", "no", "off")
LARGEST = 2**63 - 1  # the largest integer that JSON readers and databases share
MOST = 100_000  # runs or seeds in one command
_SEED = "(0|[1-9][0-9]{0,17})"
_SEEDS = re.compile(rf"{_SEED}(?:(?:-|\.\.){_SEED})?", re.ASCII)


def parse_int(text: str) -> int:
    """``"12"`` -> 12.

    Raises:
        ValueError: Not a plain decimal number, or one beyond 64 bits.
    """
    if len(text) > 20 or not WHOLE.fullmatch(text) or abs(int(text)) > LARGEST:
        raise ValueError(f"{text[:40]!r} is not a whole number")
    return int(text)


def parse_float(text: str) -> float:
    """``"0.5"``, ``"1e-3"`` or ``"inf"`` -> a float.

    Raises:
        ValueError: Any other spelling.
    """
    if not DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def parse_seeds(texts: Iterable[str]) -> list[int]:
    """Lists and ranges of seeds: ``0,1,2``, ``0-4``, ``0..4`` and ``0 1 2``, each seed once.

    Args:
        texts: The values of the flag, which may be repeated.

    Raises:
        ConfigError: Any other text, or more than ``MOST`` seeds.
    """
    found: dict[int, None] = {}
    for text in texts:
        given = f"--seeds {text[:60]!r}"
        remedy = f"{given} must be numbers, such as 0,1,2, or a range, such as 0-4"
        joined = re.sub(r"\s*(-|\.\.)\s*", r"\1", text.strip())
        for part in re.split(r"\s*,\s*|\s+", joined):
            match = _SEEDS.fullmatch(part)
            seeds = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
            if not seeds:
                raise ConfigError(remedy)
            if (count := seeds.stop - seeds.start) + len(found) > MOST:
                raise ConfigError(f"{given} are {count + len(found):,} seeds: at most {MOST:,}")
            found |= dict.fromkeys(seeds)
    return list(found)
