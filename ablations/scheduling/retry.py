"""Which failed runs are tried again, and which devices get no more of them."""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass, field

# How often a cell may lose its process within one `ablations run` without an epoch in between.
ATTEMPTS = 3
IN_A_ROW = 3  # so many cells that fail one after another at a place make it suspect


def named(place: str) -> str:
    """A place for people who do not know on which machine the runner is."""
    return f"{place} of {platform.node()}" if place.startswith(("cpu", "gpu")) else place


@dataclass
class Places:
    """Where cells fail again and again: a place whose cells do, one after another, is set aside.

    A cell that fails at a second place is bad itself and speaks against neither.

    Args:
        failing: Place -> the cells that failed there since one succeeded.
        aside: The places that get no more cells -> the cells that speak against them.
        where: Cell -> the places where it failed.
    """

    failing: dict[str, list[str]] = field(default_factory=dict)
    aside: dict[str, list[str]] = field(default_factory=dict)
    where: dict[str, set[str]] = field(default_factory=dict)

    def succeeded(self, place: str) -> None:
        """A cell has come to its end there."""
        self.failing.pop(place, None)

    def failed(self, place: str, run_id: str, elsewhere: bool) -> list[str]:
        """A cell has failed there; where that sets the place aside, the cells to try elsewhere.

        Args:
            place: The place.
            run_id: The cell.
            elsewhere: Whether there is another place to go on at: the last one is never set aside.
        """
        known = self.where.setdefault(run_id, set())
        known.add(place)
        if len(known) > 1:
            self._clear(run_id)
            return []
        if place in self.aside:  # it had several cells when it was set aside
            self.aside[place].append(run_id)
            return [run_id] if elsewhere else []
        cells = self.failing.setdefault(place, [])
        if run_id not in cells:
            cells.append(run_id)
        if len(cells) < IN_A_ROW or not elsewhere:
            return []
        self.aside[place] = self.failing.pop(place)
        return list(self.aside[place])

    def _clear(self, run_id: str) -> None:
        """A cell is bad itself: places that were set aside for it get cells again."""
        for cells in (*self.failing.values(), *self.aside.values()):
            if run_id in cells:
                cells.remove(run_id)
        for place in [place for place, cells in self.aside.items() if len(cells) < IN_A_ROW]:
            self.failing[place] = self.aside.pop(place)


@dataclass
class Attempts:
    """How often a cell was tried within one `ablations run`."""

    lost: Counter[str] = field(default_factory=Counter)
    alone: set[str] = field(default_factory=set)

    def after_loss(self, run_id: str) -> bool:
        """Whether a cell that lost its process is tried again."""
        self.lost[run_id] += 1
        return self.lost[run_id] < ATTEMPTS

    def went_on(self, run_id: str) -> None:
        """A cell has finished an epoch: what it lost before is made up for."""
        self.lost.pop(run_id, None)

    def after_oom(self, run_id: str) -> bool:
        """Whether a cell without enough memory is tried again: once, alone on its device."""
        again = run_id not in self.alone
        self.alone.add(run_id)
        return again
