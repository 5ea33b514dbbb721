"""What a runner says of the time that is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ablations import progress
from ablations.progress import Progress
from ablations.records import Record


@pytest.fixture
def clock(monkeypatch):
    """``clock.now``: the seconds that the runner reads."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def epoch(number: int, epochs: int = 10) -> dict:
    return {"epoch": number, "epochs": epochs, "val/top1": 80.0, "speed": 1000.0}


def test_the_time_left_is_known_from_the_first_epoch(tiny, clock):
    """Two cells at once, two waiting: of ten epochs of 3 s each, one is done."""
    cells = [tiny(seed=seed) for seed in range(4)]
    shown = Progress(cells, cells, Console(file=io.StringIO()))
    assert shown.left() is None
    for cell in cells[:2]:
        shown.started(cell, "cpu")
    assert shown.left() is None
    clock.now = 3.0
    for cell in cells[:2]:
        shown.epoch(cell.run_id, epoch(1))
    assert shown.left() == pytest.approx((2 * 27 + 2 * 30) / 2)


def test_a_cell_that_goes_on_from_its_checkpoint_tells_what_a_whole_one_takes(tiny, clock):
    cells = [tiny(seed=seed) for seed in range(2)]
    shown = Progress(cells, cells, Console(file=io.StringIO()))
    shown.started(cells[0], "cpu")
    for number in (9, 10):
        clock.now += 3.0
        shown.epoch(cells[0].run_id, epoch(number))
    shown.done(Record(cells[0].run_id, "finished", cells[0].to_json()))
    shown.started(cells[1], "cpu")
    assert shown.left() == pytest.approx(30)
