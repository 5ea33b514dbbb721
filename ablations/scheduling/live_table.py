"""The table of running runs, fitted to the width of the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from ablations.console.grid import TextTable
from ablations.scheduling.active_run import ActiveRun
from ablations.text.phrases import format_duration

READABLE = 40  # characters of a name; other columns are dropped to make room for them
MIN_NAME = 8  # characters of a name on the narrowest terminal


def running_table(running: Sequence[tuple[str, str, ActiveRun]], width: int) -> TextTable:
    """One line for each run.

    Args:
        running: Full name, short name and progress of each run.
        width: Columns of the terminal.
    """
    runs = [run for *_, run in running]
    columns = {
        "on": [run.location for run in runs],
        "epoch": [run.epoch_text for run in runs],
        "top-1 (%)": [
            f"{run.last_epoch['val/top1']:.2f}" if run.last_epoch else "–" for run in runs
        ],
        "images/s": [
            "–" if run.images_per_second is None else f"{run.images_per_second:,.0f}"
            for run in runs
        ],
        "elapsed": [format_duration(run.elapsed) for run in runs],
        "left": [format_duration(run.seconds_left) for run in runs],
    }

    def name_width() -> int:
        """What is left for names; two spaces follow each column."""
        widths = [max(map(cell_len, [header, *cells])) for header, cells in columns.items()]
        return width - sum(widths) - 2 * len(widths) - 2

    longest = max((cell_len(name) for name, *_ in running), default=0)
    for header in ("elapsed", "on", "top-1 (%)", "images/s", "left"):
        if name_width() < min(longest, READABLE):
            del columns[header]
    table = TextTable("running")
    for header in columns:
        table.add_column(header, justify="left" if header == "on" else "right", no_wrap=True)
    most = max(MIN_NAME, name_width())
    for row, (name, short, _) in enumerate(running):
        text = shorten_middle(name if longest <= most else short, most)
        table.add_row(text, *(cells[row] for cells in columns.values()))
    return table


def drop_common_parts(names: Sequence[str]) -> list[str]:
    """Names of a study's runs, with ``…`` in place of the parts that all of them share.

    Args:
        names: Their names, parts separated by commas.
    """
    parts = [name.split(", ") for name in names]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    short = []
    for name, own in zip(names, parts, strict=True):
        groups = itertools.groupby(own, common.__contains__)
        kept = ["…" if shared else ", ".join(group) for shared, group in groups]
        short.append(name if kept == ["…"] else ", ".join(kept))
    return short


def shorten_middle(name: str, width: int) -> str:
    """Cut the middle of a name that is too long: its end tells seeds apart.

    Args:
        name: The name.
        width: Columns of a terminal, 2 or more.
    """
    if cell_len(name) <= width:
        return name
    tail = name[-(width // 2) :]
    while cell_len(tail) > width // 2:
        tail = tail[1:]
    return f"{set_cell_size(name, width - cell_len(tail) - 1).rstrip()}…{tail}"
