"""What the lab itself costs: each number against a limit or a peer in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ablations.bench import runner, table, tracker
from ablations.bench.timing import Finding
from ablations.config.schema import RunConfig

# Name -> what measures it: of a run, so many rounds, with a line a round to whoever watches.
BENCHES: Mapping[str, Callable[[RunConfig, int, Callable[[str], None]], Finding]] = {
    "table": table.measure,
    "runner": runner.measure,
    "tracker": tracker.measure,
}

__all__ = ["BENCHES", "Finding"]
