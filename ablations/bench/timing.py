"""Speed against a peer in the same process: interleaved, medians with their spread.

A number that is measured alone says more of the machine than of the program. Here what is asked
about and its peer take turns, so that what slows the machine for a while slows both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ablations.machine.cores import usable_cores


@dataclass(frozen=True)
class Finding:
    """What a benchmark found.

    Args:
        lines: For a reader.
        kept: Whether every limit is kept.
    """

    lines: list[str]
    kept: bool


@dataclass(frozen=True)
class Comparison:
    """What was measured of a subject and its peer.

    Args:
        names: The subject's and the peer's.
        seconds: Of each, in the order of the rounds.
        limit: The ratio that the subject's seconds should stay under.
    """

    names: tuple[str, str]
    seconds: tuple[list[float], list[float]]
    limit: float

    @property
    def ratios(self) -> list[float]:
        """Subject to peer, round by round."""
        return [one / other for one, other in zip(*self.seconds, strict=True)]

    @property
    def ratio(self) -> float:
        """Their median."""
        return statistics.median(self.ratios)


def compare(
    subject: tuple[str, Callable[[], object]],
    peer: tuple[str, Callable[[], object]],
    rounds: int,
    limit: float,
    told: Callable[[str], None],
) -> Comparison:
    """Time two calls in turns, after one round that does not count.

    Args:
        subject: A name and the call.
        peer: The same of what it is compared with.
        rounds: How often; every second round the peer comes first.
        limit: The ratio that the subject should stay under.
        told: Called with a line a round.
    """
    seconds = in_turns({subject[0]: subject[1], peer[0]: peer[1]}, rounds, told)
    return Comparison((subject[0], peer[0]), (seconds[subject[0]], seconds[peer[0]]), limit)


def in_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, told: Callable[[str], None]
) -> dict[str, list[float]]:
    """Time calls in turns, after one round that does not count: name -> seconds, round by round.

    Args:
        calls: Name -> call.
        rounds: How often; every second round in the other order.
        told: Called with a line a round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name in list(calls) if number % 2 else reversed(list(calls)):
            begun = time.perf_counter()
            calls[name]()
            if number:  # the first one also loads what all need
                seconds[name].append(time.perf_counter() - begun)
        if number:
            last = ", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items())
            told(f"round {number}/{rounds}: {last}")
    return seconds


def summary(title: str, comparison: Comparison) -> Finding:
    """A comparison in lines for a reader."""
    lines = [title]
    for name, seconds in zip(comparison.names, comparison.seconds, strict=True):
        lines.append(f"  {name:12} {spread(seconds)}")
    ratios = comparison.ratios
    kept = comparison.ratio <= comparison.limit
    lines.append(
        f"  {comparison.names[0]} / {comparison.names[1]}: median {comparison.ratio:.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}), {verdict(kept, f'{comparison.limit:g}')}"
    )
    return Finding(lines, kept)


def spread(seconds: Sequence[float]) -> str:
    """Median and range of times."""
    return (
        f"median {statistics.median(seconds):.2f} s "
        f"({min(seconds):.2f} to {max(seconds):.2f}, n={len(seconds)})"
    )


def verdict(kept: bool, limit: str) -> str:
    """Whether a limit is kept, in words."""
    return f"{'within' if kept else 'ABOVE'} the limit of {limit}"


def machine() -> str:
    """What the numbers were measured on."""
    import platform

    cores = usable_cores()
    return f"{cores} cores, {platform.machine()}, Python {platform.python_version()}"
