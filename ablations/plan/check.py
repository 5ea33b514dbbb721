"""A plan held against the records: what was expected of each variant, and what it took."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ablations.plan.file import Expected
from ablations.records import Record


@dataclass(frozen=True)
class Checked:
    """What became of planned cells.

    Args:
        name: The variant; empty for all of them.
        planned: How many cells.
        pairs: Expected and taken seconds of each cell that ran to its end where it was planned.
        apart: The other cells: why they are not compared, and how many.
    """

    name: str
    planned: int
    pairs: list[tuple[float, float]]
    apart: Counter[str]

    @property
    def expected(self) -> float:
        """Seconds that were expected of the compared cells."""
        return sum(expected for expected, _ in self.pairs)

    @property
    def took(self) -> float:
        """Seconds that they took."""
        return sum(took for _, took in self.pairs)

    @property
    def ratios(self) -> list[float]:
        """Taken over expected, of each compared cell, rising."""
        return sorted(took / expected for expected, took in self.pairs)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values; a ratio is None where nothing is compared."""
        ratios = self.ratios
        return {
            "variant": self.name,
            "planned": self.planned,
            "compared": len(self.pairs),
            "expected_seconds": self.expected,
            "took_seconds": self.took,
            "ratio": statistics.median(ratios) if ratios else None,
            "ratio_low": ratios[0] if ratios else None,
            "ratio_high": ratios[-1] if ratios else None,
            "not_compared": dict(self.apart),
        }


def check(plan: Mapping[str, Expected], known: Iterable[Record]) -> list[Checked]:
    """Each variant of a plan in its order, and all of them as the last.

    Args:
        plan: What is expected of cells, by run id.
        known: Records of the folder.
    """
    records = {record.run_id: record for record in known}
    names = [*dict.fromkeys(cell.variant for cell in plan.values()), ""]
    found = []
    for name in names:
        cells = {run_id: cell for run_id, cell in plan.items() if name in ("", cell.variant)}
        pairs, apart = [], Counter[str]()
        for run_id, cell in cells.items():
            record = records.get(run_id)
            if why := _apart(cell, record):
                apart[why] += 1
            else:
                assert record is not None
                pairs.append((cell.seconds, record.timing["epoch_seconds"]))
        found.append(Checked(name, len(cells), pairs, apart))
    return found


def _apart(cell: Expected, record: Record | None) -> str | None:
    """Why a cell says nothing about its plan; None where it does."""
    if record is None:
        return "no record yet"
    if record.status != "finished":
        return record.status  # it ended early
    if not record.timing.get("epoch_seconds"):
        return "no time in its record"
    where = record.environment
    device = where.get("device") or "an unknown device"
    if device != cell.device:
        return f"ran on {device}, planned for {cell.device}"
    if device.startswith("cpu") and where.get("threads") != cell.threads:
        return f"ran on {where.get('threads')} threads, planned for {cell.threads}"
    return None
