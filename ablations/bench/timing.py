"""Time calls against each other: in turns, with medians and their spread.

A time measured alone says more about the machine than about the program. Here the subject and its
peer take turns, so that whatever slows the machine for a while slows both.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablations.machine.cores import usable_cores

Report = Callable[[str], None]  # receives one line of progress at a time


@dataclass(frozen=True)
class BenchResult:
    """The outcome of a benchmark.

    Args:
        lines: The measurements, for a reader.
        passed: Whether every limit is kept.
    """

    lines: list[str]
    passed: bool


def compare(
    title: str, seconds: Mapping[str, Sequence[float]], limits: Mapping[str, float]
) -> BenchResult:
    """Compare the times of a subject with those of its peers, round by round.

    Args:
        title: The first line of the result.
        seconds: Name -> times in the order of the rounds: the subject, then its peers.
        limits: Peer -> the highest accepted median of the ratios of the subject's time to its.
    """
    lines = [title, *(f"  {name:12} {format_spread(times)}" for name, times in seconds.items())]
    subject, kept = next(iter(seconds)), True
    for peer, limit in limits.items():
        ratios = [a / b for a, b in zip(seconds[subject], seconds[peer], strict=True)]
        ratio = statistics.median(ratios)
        kept &= ratio <= limit
        lines.append(
            f"  {subject} / {peer}: median {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), "
            f"{format_limit(ratio <= limit, f'{limit:g}')}"
        )
    return BenchResult(lines, kept)


def time_in_turns(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    report: Report,
    at_most: Mapping[str, int] | None = None,
) -> dict[str, list[float]]:
    """Time calls in turns, after one warm-up round that does not count.

    Args:
        calls: Name -> call.
        rounds: How many rounds; every second one in reverse order.
        report: Called with one line per round.
        at_most: Name -> the number of rounds of a call that takes long.

    Returns:
        Name -> seconds, round by round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        due = [name for name in calls if number <= (at_most or {}).get(name, rounds)]
        for name in due if number % 2 else reversed(due):
            started = time.perf_counter()
            calls[name]()
            if number:  # the warm-up round also loads the modules that all of them need
                seconds[name].append(time.perf_counter() - started)
        if number:
            times = ", ".join(f"{name} {seconds[name][-1]:.2f} s" for name in due)
            report(f"round {number}/{rounds}: {times}")
    return seconds


def in_scratch_folder(call: Callable[[Path], object]) -> Callable[[], None]:
    """A call without arguments that gives ``call`` a new folder each time, deleted afterwards."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            call(Path(folder))

    return run


def run_python(*arguments: str) -> None:
    """Run a Python process.

    Raises:
        RuntimeError: It failed; the message ends with what it wrote to stderr.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError(f"a process failed with exit code {done.returncode}: {done.stderr}")


def format_spread(seconds: Sequence[float]) -> str:
    """The median and the range of times."""
    return (
        f"median {statistics.median(seconds):.2f} s "
        f"({min(seconds):.2f} to {max(seconds):.2f}, n={len(seconds)})"
    )


def format_limit(passed: bool, limit: str) -> str:
    """Whether a limit is kept, in words."""
    return f"{'within' if passed else 'ABOVE'} the limit of {limit}"


def describe_machine() -> str:
    """The machine that the times were measured on."""
    return f"{usable_cores()} cores, {platform.machine()}, Python {platform.python_version()}"
