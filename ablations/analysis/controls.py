"""Controls: variants that separate the effects of a row that changes more than one thing.

A row's difference from the baseline has several causes if the row changes more than its axis, or if
its model is larger. A control is the baseline with all of these changes except the row's own: with
the row's other changes, at its size, or both. Controls are found by what variants change, never by
name, so the rows of a user's own sweep have them too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ablations.config.diff import SHAPE_FIELDS, Changes, primary_field
from ablations.paper import matching
from ablations.paper.published import PaperRow

KINDS = RECIPE, SIZE, BOTH = "recipe", "size", "recipe and size"
AXIS = "Controls"
# The largest distance of a size control's MACs from its row's, as a fraction of the row's.
TOLERANCE = 0.03
# Fields that belong to a row's own field and are no further change: a control has the baseline's
# mixer without the extras of an attention mixer, and depths and widths together are one size.
BELONGS_TO = {
    "model.token_mixers": ["model.position_embedding", "model.head_dim"],
    **dict.fromkeys(SHAPE_FIELDS, SHAPE_FIELDS),
}


@dataclass(frozen=True)
class Control:
    """A control of a row.

    Args:
        kind: One of ``KINDS``: with the row's other changes, at its size, or both.
        index: Its index among the variants.
    """

    kind: str
    index: int


class Variant(Protocol):
    """A row of a table or of a plan; ``cost`` may lack ``macs``."""

    @property
    def axis(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def changed(self) -> Changes: ...
    @property
    def cost(self) -> Mapping[str, Any]: ...
    @property
    def paper(self) -> PaperRow | None: ...


def macs_difference(macs: int | None, row: int | None) -> float:
    """Distance of MACs from a row's, as a fraction of the row's; infinite if either is unknown."""
    return abs(macs - row) / row if macs and row else math.inf


def macs_match(macs: int | None, row: int | None) -> bool:
    """Whether MACs are within 3% of a row's."""
    return macs_difference(macs, row) <= TOLERANCE


class ControlFinder:
    """Finds controls among the variants of a study by what they change.

    Args:
        variants: The variants, the baseline among them.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        self.variants = variants
        self._by_changes: dict[str, int] = {}
        self._by_other_changes: dict[str, list[int]] = {}
        for index, variant in enumerate(variants):
            self._by_changes.setdefault(_key(variant.changed), index)
            key = _key(_without_shape(variant.changed))
            self._by_other_changes.setdefault(key, []).append(index)

    def find(self, row: Variant) -> list[Control]:
        """The controls of a row: at most one of each of ``KINDS``, in their order.

        A size control is needed only where the baseline, or the control with the row's other
        changes, is not yet within 3% of the row's MACs. Of several sizes the closest counts. A row
        that is itself a size of the model has no size control.
        """
        own = primary_field(row.changed)
        if own is None:
            return []
        rest = _other_changes(own, row.changed)
        recipe = self._by_changes.get(_key(rest)) if rest else None
        found = [] if recipe is None else [Control(RECIPE, recipe)]
        unsized = [(SIZE, Changes(), self._by_changes.get(_key({})))]
        if apart := _without_shape(rest):
            unsized.append((BOTH, apart, recipe))

        def distance(index: int) -> float:
            return macs_difference(self.variants[index].cost.get("macs"), row.cost.get("macs"))

        for kind, wanted, start in unsized:
            if own in SHAPE_FIELDS or (start is not None and distance(start) <= TOLERANCE):
                continue
            fitting = [
                index
                for index in self._by_other_changes.get(_key(wanted), [])
                if self.variants[index].changed not in (wanted, rest)
                and distance(index) <= TOLERANCE
            ]
            if fitting:
                found.append(Control(kind, min(fitting, key=distance)))
        return found

    def occurs_alone(self, row: Variant) -> bool:
        """Whether a row's own change is a variant without its other changes."""
        rest = _other_changes(primary_field(row.changed) or "", row.changed)
        return _key({n: c for n, c in row.changed.items() if n not in rest}) in self._by_changes


def assign_controls(variants: Sequence[Variant]) -> tuple[dict[int, list[Control]], set[int]]:
    """The controls of the variants of a study.

    A variant that is only a control has no controls itself, and its section is ``AXIS``. A row of
    the paper, or one that changes one field of the model (other than depths and widths), is an
    ablation and keeps its section. So does a row of a grid, whose other change is a row of its own
    too.

    Returns:
        The controls of each variant that has any, and the variants that are only controls, both by
        index.
    """
    finder = ControlFinder(variants)

    def size(index: int) -> tuple[int, int]:
        changed = variants[index].changed
        return len(_without_shape(changed)), len(changed)

    assigned: dict[int, list[Control]] = {}
    used: set[int] = set()
    only_controls: set[int] = set()
    # Apart from depths and widths a control changes less than its row, so rows come first.
    for index in sorted(range(len(variants)), key=size, reverse=True):
        variant = variants[index]
        if index in used and not _is_ablation(variant):
            continue
        if controls := finder.find(variant):
            assigned[index] = controls
            used |= {control.index for control in controls}
            in_grid = finder.occurs_alone(variant)
            only_controls |= {each.index for each in controls if each.kind != RECIPE or not in_grid}
    only_controls = {index for index in only_controls if not _is_ablation(variants[index])}
    return dict(sorted(assigned.items())), only_controls


def _is_ablation(variant: Variant) -> bool:
    name = primary_field(variant.changed) or ""
    one = len(variant.changed) == 1 and name not in SHAPE_FIELDS and name.startswith("model.")
    return one or bool(variant.paper or matching.find_paper_row(variant.changed))


def _other_changes(own: str, changed: Changes) -> Changes:
    """What a row changes besides its own field and the fields that belong to it."""
    owned = (own, *BELONGS_TO.get(own, []))
    return {name: change for name, change in changed.items() if name not in owned}


def _key(changed: Changes) -> str:
    return repr(sorted(changed.items()))


def _without_shape(changed: Changes) -> Changes:
    return {name: change for name, change in changed.items() if name not in SHAPE_FIELDS}
