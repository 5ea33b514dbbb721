"""Progress: bars on terminals, lines in logs."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console, Group

from ablations.console import display
from ablations.console.display import ProgressBar


def drawn(width: int, words: str, done: float = 0.5) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    bar = ProgressBar(words, console=console)
    bar.update(done, words)
    console.print(Group(bar._render()))
    return re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue()).rstrip("\n")


@pytest.mark.parametrize("width", [1, 20, 40, 80, 120])
def test_a_bar_is_one_line_at_any_width(width):
    words = "epoch 2/3 45%, [/red]1,024 images/s, 3.3 min left"
    line = drawn(width, words)
    assert "\n" not in line
    assert len(line.rstrip()) <= width
    if width == 20:
        assert line.startswith("epoch 2/3 45%, ")
    if width >= 80:
        assert line.startswith("━" * 10)
        assert line.rstrip().endswith(words)


def test_a_log_gets_lines_instead_of_a_bar(monkeypatch):
    """Also without updates: the work may hang, or a batch may take long."""
    monkeypatch.setattr(display, "POLL_SECONDS", 0.001)
    lines: list[str] = []
    console = Console(file=io.StringIO())
    with ProgressBar("starting", lines.append, lambda _: "no update", console) as bar:
        bar.update(0.1, "one")
        assert lines == []
        bar.say("two")
        bar.update(0.2, "three")
        bar.lines.next = time.monotonic()
        while len(lines) < 2:
            time.sleep(0.001)
    assert lines == ["two", "three, no update"]
    assert console.file.getvalue() == ""


def test_a_bar_is_removed_at_its_end_and_on_ctrl_c():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    bar = ProgressBar("starting", console=console)

    def work() -> None:
        with bar:
            assert bar.live
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert console.file.getvalue().endswith("\x1b[2K")  # the line is cleared
    assert "\x1b[?25h" in console.file.getvalue()  # the cursor is back
