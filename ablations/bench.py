"""Speed against a peer in the same process: interleaved, medians with their spread.

A number that is measured alone says more of the machine than of the program. Here what is asked
about and its peer take turns, so that what slows the machine for a while slows both.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ablations.config import RunConfig


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
    seconds: dict[str, list[float]] = {subject[0]: [], peer[0]: []}
    for number in range(rounds + 1):
        for name, call in (subject, peer) if number % 2 else (peer, subject):
            begun = time.perf_counter()
            call()
            if number:  # the first one also loads what both need
                seconds[name].append(time.perf_counter() - begun)
        if number:
            last = ", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items())
            told(f"round {number}/{rounds}: {last}")
    return Comparison((subject[0], peer[0]), (seconds[subject[0]], seconds[peer[0]]), limit)


def tracker(config: RunConfig, rounds: int, told: Callable[[str], None]) -> Comparison:
    """A run mirrored to W&B against the same run without: at most 2% of its wall time.

    Args:
        config: The run; trained anew each time, in a folder that is thrown away.
        rounds: How often.
        told: Called with a line a round.
    """
    from ablations.train import train

    def trained(name: str) -> Callable[[], object]:
        cell = replace(config, system=replace(config.system, tracker=name))

        def call() -> None:
            with tempfile.TemporaryDirectory() as scratch:
                record = train(cell, Path(scratch))
            if not record.done:
                raise RuntimeError(f"the run failed: {record.failure}")

        return call

    return compare(("wandb", trained("wandb")), ("none", trained("none")), rounds, 1.02, told)


def summary(title: str, comparison: Comparison) -> str:
    """What was found, in lines for a reader."""
    lines = [title]
    for name, seconds in zip(comparison.names, comparison.seconds, strict=True):
        lines.append(
            f"  {name:8} median {statistics.median(seconds):.2f} s "
            f"({min(seconds):.2f} to {max(seconds):.2f}, n={len(seconds)})"
        )
    ratios = comparison.ratios
    verdict = "within" if comparison.ratio <= comparison.limit else "ABOVE"
    lines.append(
        f"  {comparison.names[0]} / {comparison.names[1]}: median {comparison.ratio:.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}), {verdict} the limit of {comparison.limit:g}"
    )
    return "\n".join(lines)


BENCHES: Mapping[str, Callable[[RunConfig, int, Callable[[str], None]], Comparison]] = {
    "tracker": tracker,
}


def machine() -> str:
    """What the numbers were measured on."""
    import platform

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {platform.machine()}, Python {platform.python_version()}"
