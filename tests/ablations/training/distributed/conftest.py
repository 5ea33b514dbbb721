"""Fixtures of distributed runs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from ablations.config.resolve import resolve
from ablations.training.train import train
from tests.factories.configs import TINY
from tests.factories.distributed import LONGER, TWO, Started


@pytest.fixture
def start(tmp_path) -> Iterator[object]:
    """``start("-m", "ablations", ...)``; processes that the test leaves are killed."""
    commands = []

    def starts(*words: str, **variables: str) -> Started:
        mark = tmp_path / f"mark-{len(commands)}"
        commands.append(Started(mark, *map(str, words), **variables))
        return commands[-1]

    yield starts
    for each in commands:
        for pid in each.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        each.process.communicate()


@pytest.fixture(scope="session")
def two(tmp_path_factory):
    """One tiny run on two processes, and its folder."""
    results = tmp_path_factory.mktemp("two")
    config = resolve("mini", {**TINY, **TWO})
    return config, results, train(config, results)


@pytest.fixture(scope="session")
def six(tmp_path_factory):
    """An uninterrupted run of six epochs on two processes."""
    results = tmp_path_factory.mktemp("six")
    record = train(resolve("mini", {**TINY, **TWO, **LONGER}), results)
    return results, record
