"""The live table, log lines and JSON lines of a study, and the time left."""

from __future__ import annotations

import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from ablations.scheduling import progress
from ablations.scheduling.json_lines import JsonLines
from ablations.scheduling.live_table import drop_common_parts, shorten_middle
from ablations.scheduling.progress import Progress
from ablations.store.records import Record
from ablations.store.run_progress import RunProgress
from ablations.text.escape import terminal


@pytest.fixture
def clock(monkeypatch):
    """``clock.now``: the time that the runner reads, in seconds."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def epoch(number: int, epochs: int = 10) -> dict:
    return {"epoch": number, "epochs": epochs, "val/top1": 80.0, "speed": 1000.0}


def test_the_time_left_is_known_after_the_first_epoch(tiny, clock):
    """Two runs at once, two waiting; one of ten epochs of 3 s is done."""
    runs = [tiny(seed=seed) for seed in range(4)]
    shown = Progress(runs, runs, Console(file=io.StringIO()))
    assert shown.seconds_left() is None
    for run in runs[:2]:
        shown.started(run, "cpu")
    assert shown.seconds_left() is None
    clock.now = 3.0
    for run in runs[:2]:
        shown.epoch(run.run_id, epoch(1))
    assert shown.seconds_left() == pytest.approx((2 * 27 + 2 * 30) / 2)


def test_the_time_of_a_resumed_run_is_scaled_to_a_full_run(tiny, clock):
    runs = [tiny(seed=seed) for seed in range(2)]
    shown = Progress(runs, runs, Console(file=io.StringIO()))
    shown.started(runs[0], "cpu")
    for number in (9, 10):
        clock.now += 3.0
        shown.epoch(runs[0].run_id, epoch(number))
    shown.done(Record(runs[0].run_id, "finished", runs[0].to_json()))
    shown.started(runs[1], "cpu")
    assert shown.seconds_left() == pytest.approx(30)


def progress_at(epoch: int, fraction: float, epochs: int = 3, **more) -> RunProgress:
    return RunProgress(epoch, epochs, "training", round(100 * fraction), 100, fraction, **more)


def test_the_time_left_is_known_within_the_first_epoch(tiny, clock):
    """30% of one of three epochs takes 3 s, so a full run takes 30 s."""
    runs = [tiny(seed=seed) for seed in range(2)]
    shown = Progress(runs, runs, Console(file=io.StringIO()))
    shown.started(runs[0], "cpu")
    clock.now = 50.0  # the time to load images does not count
    shown.batch(runs[0].run_id, progress_at(2, 0.4))
    assert shown.seconds_left() is None
    clock.now = 53.0
    shown.batch(runs[0].run_id, progress_at(2, 0.7))
    assert shown.seconds_left() == pytest.approx(30 * (1 - 1.7 / 3) + 30)


LONG_NAMES = ["token_mixers=[pool,pool,attention,attention]", "lr=[/red] \x1b[31m0.1"]


def rendered_lines(shown: Progress, width: int, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    shown.console = console
    console.print(shown._table())
    text = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    return text.splitlines()


@pytest.fixture
def running_study(tiny, clock):
    """``running_study(count)``: the progress of so many runs with long names, in epoch 2."""

    def make(count: int) -> Progress:
        runs = [tiny(seed=seed) for seed in range(count)]
        shown = Progress(runs, runs, Console(file=io.StringIO()))
        for number, run in enumerate(runs):
            shown.names[run.run_id] = terminal(f"{LONG_NAMES[number % 2]}, seed {number}, 3 epochs")
            shown.started(run, "node trainer-0123 (abcdef)" if number % 2 else "cpu")
        shown.short_names = dict(
            zip(shown.names, drop_common_parts([*shown.names.values()]), strict=True)
        )
        for step in (0.40, 0.45):
            clock.now += 3.0
            for run in runs:
                shown.batch(run.run_id, progress_at(2, step, images_per_second=1024.0))
        return shown

    return make


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("count", [1, 18, 200])
def test_the_live_table_is_readable_on_any_screen(running_study, width, count):
    lines = rendered_lines(running_study(count), width)
    assert len(lines) < 24
    assert max(map(len, lines)) <= width
    assert not any("\x1b" in line for line in lines)
    rows = [line for line in lines if "2/3 45%" in line]
    for number, row in enumerate(rows[:9] if count > 1 else []):
        assert re.match(rf".*\b{number}(, |\b).*2/3", row), row  # its seed
    text = " ".join(lines)
    assert f"0/{count} run" in text
    if len(rows) < count:
        assert f"and {count - len(rows)} more running" in text
    if width >= 80:
        assert "1,024" in rows[0]
        assert "left" in lines[0]
    if width >= 200 and count > 1:
        assert "token_mixers=[pool,pool,attention,attention], seed 0, 3 epochs" in rows[0]
        assert r"lr=[/red]" in rows[1]


def test_a_silent_run_shows_for_how_long(running_study, clock):
    shown = running_study(1)
    clock.now += 180
    assert "2/3 45% (3 min ago)" in rendered_lines(shown, 120)[1]
    shown.quarantined("gpu 0", "3 runs failed there one after another")
    shown.with_others.add("elsewhere")
    text = " ".join(rendered_lines(shown, 80))
    assert "1 with other runners, 1 device quarantined" in text


def test_log_lines_become_rarer(tiny, clock):
    """The first after half a minute; a day of two runs gives less than 300."""
    runs = [tiny(seed=seed) for seed in range(6)]
    shown = Progress(runs, runs, Console(file=io.StringIO(), width=60))
    shown.short_names = {run.run_id: f"baseline, seed {run.seed}" for run in runs}
    for run in runs[:5]:
        shown.started(run, "cpu")
    lines = []
    for second in [*range(120), *range(120, 24 * 3600, 10)]:
        clock.now = float(second)
        for number, run in enumerate(runs[:2]):
            shown.running[run.run_id].batch_done(progress_at(1 + number, second / 86_400))
        shown.tick()
        if second in (29, 59, 119):
            lines.append(len(shown.console.file.getvalue().splitlines()))
    assert lines == [0, 1, 3]
    found = shown.console.file.getvalue().splitlines()
    assert 150 < len(found) < 300
    assert found[-1].startswith("0/6 runs ended, 1 waiting, 24 h elapsed, ")
    assert found[-1].endswith(
        "; baseline, seed 0: 1/3 99%; baseline, seed 1: 2/3 99%; "
        "baseline, seed 2: starting (24 h); 2 more running"
    )


def test_a_live_table_needs_a_terminal_that_can_draw(tiny, monkeypatch):
    runs = [tiny()]
    for term, drawn in (("xterm", True), ("dumb", False)):
        monkeypatch.setenv("TERM", term)
        console = Console(file=io.StringIO(), force_terminal=True, width=80)
        with Progress(runs, runs, console) as shown:
            assert (shown.live is not None) == drawn


def test_json_lines_have_the_progress_within_an_epoch(capsys):
    shown = JsonLines([], [])
    shown.batch("abc", progress_at(2, 0.45, images_per_second=1024.0, seconds_left=9.5))
    shown.tick()
    (line,) = capsys.readouterr().out.splitlines()
    text = json.loads(line)
    assert text.pop("time") > 0
    assert text == {
        "event": "batch",
        "run_id": "abc",
        "epoch": 2,
        "epochs": 3,
        "phase": "training",
        "batch": 45,
        "batches": 100,
        "fraction": 0.45,
        "images_per_second": 1024.0,
        "seconds_left": 9.5,
    }


@given(st.text(min_size=1, max_size=60), st.integers(8, 60))
def test_a_name_is_shortened_to_the_given_width(name, width):
    text = shorten_middle(name, width)
    assert cell_len(text) <= width
    assert text == name or "…" in text


def test_parts_that_all_names_share_are_dropped():
    assert drop_common_parts(["Depths 1, seed 0", "Depths 1, BatchNorm, seed 0"]) == [
        "Depths 1, seed 0",  # nothing would be left of it
        "…, BatchNorm, …",
    ]
    assert drop_common_parts(["A, seed 0, 2 epochs", "A, seed 1, 2 epochs"]) == [
        "…, seed 0, …",
        "…, seed 1, …",
    ]
    assert drop_common_parts(["A, seed 0"]) == ["A, seed 0"]
