"""Filters in MongoDB's syntax, orders and pages of lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tests.wandb_server.graphql import Json
from tests.wandb_server.state import Run

T = TypeVar("T")

# Names in filters and orders that differ from the attribute.
NAMES = {
    "name": "id",
    "display_name": "name",
    "displayName": "name",
    "jobType": "job_type",
    "created_at": "created",
    "createdAt": "created",
    "summary_metrics": "summary",
    "summaryMetrics": "summary",
}


def look_up(run: Run, path: str) -> Any:
    """A run's field as filters and orders name it: ``state``, ``config.seed``."""
    head, _, rest = path.partition(".")
    found = getattr(run, NAMES.get(head, head))
    if not rest or rest in found:  # a key may have dots of its own
        return found[rest] if rest else found
    for part in rest.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _same(have: Any, want: Any) -> bool:
    """Equality; a list, such as tags, equals each of its items."""
    return bool(have == want) or (isinstance(have, list) and want in have)


TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _same,
    "$ne": lambda have, want: not _same(have, want),
    "$in": lambda have, want: any(_same(have, one) for one in want),
    "$nin": lambda have, want: not any(_same(have, one) for one in want),
    "$gt": lambda have, want: have is not None and have > want,
    "$gte": lambda have, want: have is not None and have >= want,
    "$lt": lambda have, want: have is not None and have < want,
    "$lte": lambda have, want: have is not None and have <= want,
    "$exists": lambda have, want: (have is not None) == want,
    "$regex": lambda have, want: re.search(want, str(have)) is not None,
}


def matches(run: Run, filters: Json) -> bool:
    """Whether a run passes the filters."""
    return all(_passes(run, key, want) for key, want in filters.items())


def _passes(run: Run, key: str, want: Any) -> bool:
    if key == "$and":
        return all(matches(run, one) for one in want)
    if key == "$or":
        return any(matches(run, one) for one in want)
    if key == "$not":
        return not matches(run, want)
    tests = want if isinstance(want, dict) else {"$eq": want}
    have = look_up(run, key)
    return all(TESTS[test](have, value) for test, value in tests.items())


def ordered(runs: list[Run], order: str | None) -> list[Run]:
    """Runs in the order of a field, ``-`` for descending; runs without it come last."""
    descending, path = (order or "").startswith("-"), (order or "created_at").lstrip("+-")
    if path == "created_at":  # its seconds are too coarse; runs come in the order of making
        return runs[::-1] if descending else runs
    have = [run for run in runs if look_up(run, path) is not None]
    without = [run for run in runs if look_up(run, path) is None]
    return sorted(have, key=lambda run: look_up(run, path), reverse=descending) + without


def page(
    items: Sequence[T],
    view: Callable[[T], Json],
    first: int | None = None,
    after: str | None = None,
) -> Json:
    """A Relay connection of views; a cursor is the number of nodes before the next."""
    start = int(after or 0)
    stop = min(len(items), start + (first or 50))
    edges = [{"node": view(items[i]), "cursor": str(i + 1)} for i in range(start, stop)]
    info = {"__typename": "PageInfo", "endCursor": str(stop), "hasNextPage": stop < len(items)}
    return {"edges": edges, "pageInfo": info, "totalCount": len(items)}
