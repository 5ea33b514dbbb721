"""Which devices or nodes get no more runs, because runs failed there."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field

QUARANTINE_AFTER = 3  # consecutive failed runs on a device or node


def with_hostname(location: str) -> str:
    """The name of a device or node for people who do not know the runner's machine."""
    if location.startswith(("cpu", "gpu")):
        return f"{location} of {platform.node()}"
    return location


@dataclass
class Quarantine:
    """Quarantines a device or node after ``QUARANTINE_AFTER`` consecutive failures.

    A run that also fails at a second location is bad itself and counts against neither.

    Args:
        failing: Location -> runs that failed there since one succeeded.
        quarantined: Location -> the runs whose failures count against it.
        failed_at: Run id -> the locations where it failed.
    """

    failing: dict[str, list[str]] = field(default_factory=dict)
    quarantined: dict[str, list[str]] = field(default_factory=dict)
    failed_at: dict[str, set[str]] = field(default_factory=dict)

    def succeeded(self, location: str) -> None:
        """A run finished there."""
        self.failing.pop(location, None)

    def failed(self, location: str, run_id: str, others: bool) -> list[str]:
        """A run failed there. If the location is quarantined, return the runs to retry elsewhere.

        Args:
            location: The device or node.
            run_id: The run.
            others: Whether another location is usable: the last one is never quarantined.
        """
        locations = self.failed_at.setdefault(run_id, set())
        locations.add(location)
        if len(locations) > 1:
            self._clear(run_id)
            return []
        if location in self.quarantined:  # more runs were training there when it was quarantined
            self.quarantined[location].append(run_id)
            return [run_id] if others else []
        runs = self.failing.setdefault(location, [])
        if run_id not in runs:
            runs.append(run_id)
        if len(runs) < QUARANTINE_AFTER or not others:
            return []
        self.quarantined[location] = self.failing.pop(location)
        return list(self.quarantined[location])

    def _clear(self, run_id: str) -> None:
        """Forget the failures of a bad run; release locations that were quarantined for it."""
        for runs in (*self.failing.values(), *self.quarantined.values()):
            if run_id in runs:
                runs.remove(run_id)
        for location, runs in list(self.quarantined.items()):
            if len(runs) < QUARANTINE_AFTER:
                self.failing[location] = self.quarantined.pop(location)
