"""Which variants of a study are controls of which row: they take a row apart that changes more.

A row's difference from the baseline has several causes where the row changes more than its axis, or
where its model is larger. A control is the baseline with all of them but the row's own change: with
the row's other changes, at its size, or both. Controls are found from what variants change, never
from names: the rows of a user's own sweep have theirs too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablations.config.diff import SHAPE_FIELDS, Changes, primary_field

KINDS = RECIPE, SIZE, BOTH = "recipe", "size", "recipe and size"
AXIS = "Controls"
# How far a size control's MACs may lie from its row's, as a share of the row's.
TOLERANCE = 0.03
# What goes with a row's own field and is no other change of it: a control has the baseline's mixer
# and none of what an attention mixer brings with it, and depths and widths are one size.
WITH_OWN = {
    "model.token_mixers": ["model.position_embedding", "model.head_dim"],
    **dict.fromkeys(SHAPE_FIELDS, SHAPE_FIELDS),
}


@dataclass(frozen=True)
class ControlCandidate:
    """A variant of a study.

    Args:
        changed: Its changes against the study's baseline; the baseline has none.
        macs: Of its model on one picture; None where they are not known.
        in_paper: Whether it is a row of the paper, which it stays also where it is a control.
    """

    changed: Changes
    macs: int | None
    in_paper: bool = False


@dataclass(frozen=True)
class Control:
    """A control of a row.

    Args:
        kind: One of ``KINDS``: with the row's other changes, at its size, or both.
        index: Its place among the candidates.
    """

    kind: str
    index: int


def macs_difference(macs: int | None, row: int | None) -> float:
    """How far MACs lie from a row's, as a share of the row's; infinite where either is unknown."""
    return abs(macs - row) / row if macs and row else math.inf


def macs_match(macs: int | None, row: int | None) -> bool:
    """Whether MACs are within 3% of a row's."""
    return macs_difference(macs, row) <= TOLERANCE


class ControlFinder:
    """The variants of a study, to be found by what they change.

    Args:
        every: The variants, the baseline among them.
    """

    def __init__(self, every: Sequence[ControlCandidate]) -> None:
        self.every = every
        self.same: dict[str, int] = {}
        self.apart: dict[str, list[int]] = {}
        for index, variant in enumerate(every):
            self.same.setdefault(_key(variant.changed), index)
            key = _key(_apart_from_shape(variant.changed))
            self.apart.setdefault(key, []).append(index)

    def find(self, row: ControlCandidate) -> list[Control]:
        """The controls of a row, at most one of each of ``KINDS`` and in their order.

        A size is matched only where it has to be: the baseline, or the control with the row's other
        changes, that is within 3% of the row's MACs already is the one to compare with. Of several
        sizes the closest is taken. A row that is itself a size of the model has no size control.
        """
        own = primary_field(row.changed)
        if own is None:
            return []
        rest = _besides(own, row.changed)
        recipe = self.same.get(_key(rest)) if rest else None
        found = [] if recipe is None else [Control(RECIPE, recipe)]
        unsized = [(SIZE, Changes(), self.same.get(_key({})))]
        if apart := _apart_from_shape(rest):
            unsized.append((BOTH, apart, recipe))
        for kind, wanted, start in unsized:
            if own in SHAPE_FIELDS or (
                start is not None and macs_match(self.every[start].macs, row.macs)
            ):
                continue
            fitting = [
                index
                for index in self.apart.get(_key(wanted), [])
                if self.every[index].changed not in (wanted, rest)
                and macs_match(self.every[index].macs, row.macs)
            ]
            if fitting:
                closest = min(fitting, key=lambda i: macs_difference(self.every[i].macs, row.macs))
                found.append(Control(kind, closest))
        return found

    def assign(self) -> dict[int, list[Control]]:
        """The controls of each row that has any, by the index of the row.

        What is only there as a control is no row and has none.
        """

        def size(index: int) -> tuple[int, int]:
            changed = self.every[index].changed
            return len(_apart_from_shape(changed)), len(changed)

        found: dict[int, list[Control]] = {}
        used: set[int] = set()
        # A control changes less than its row, depths and widths apart: rows come before controls.
        for index in sorted(range(len(self.every)), key=size, reverse=True):
            variant = self.every[index]
            if index in used and not _ablates(variant):
                continue
            if controls := self.find(variant):
                found[index] = controls
                used |= {control.index for control in controls}
        return dict(sorted(found.items()))

    def only_controls(self, assigned: Mapping[int, Sequence[Control]]) -> set[int]:
        """The variants, by index, that are there to be controls: their section is ``AXIS``.

        A row of the paper, or one field of the model (depths and widths apart), is an ablation of
        its own and keeps its place; so is one of a grid, where the other change is there alone too.

        Args:
            assigned: What ``assign`` gives.
        """
        used = {
            control.index
            for index, controls in assigned.items()
            for control in controls
            if not (control.kind == RECIPE and self._alone(self.every[index]))
        }
        return {index for index in used if not _ablates(self.every[index])}

    def _alone(self, row: ControlCandidate) -> bool:
        """Whether a row's own change is a variant without its other changes."""
        own = primary_field(row.changed) or ""
        rest = _besides(own, row.changed)
        return _key({n: c for n, c in row.changed.items() if n not in rest}) in self.same


def _ablates(variant: ControlCandidate) -> bool:
    name = primary_field(variant.changed) or ""
    one = len(variant.changed) == 1 and name not in SHAPE_FIELDS and name.startswith("model.")
    return variant.in_paper or one


def _besides(own: str, changed: Changes) -> Changes:
    """What a row changes besides its own field and what goes with that."""
    owned = (own, *WITH_OWN.get(own, []))
    return {name: change for name, change in changed.items() if name not in owned}


def _key(changed: Changes) -> str:
    return repr(sorted(changed.items()))


def _apart_from_shape(changed: Changes) -> Changes:
    return {name: change for name, change in changed.items() if name not in SHAPE_FIELDS}
