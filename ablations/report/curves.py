"""Histories of runs as small curves, with gaps for epochs without a finite value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from ablations.errors import RecordError
from ablations.page import svg
from ablations.store import history_csv, records
from ablations.store.load import LoadResult

History = list[dict[str, float]]

WIDTH, HEIGHT = 260, 96  # pixels
LEFT, RIGHT, TOP, FLOOR = 44, 8, 10, HEIGHT - 18  # room for the numbers
MAX_POINTS = 120  # longer histories are thinned out, and keep their last epoch


def read_histories(found: LoadResult) -> tuple[dict[str, History], list[str]]:
    """The histories beside records on disk, by run id, and a message for each unreadable one."""
    histories, problems = {}, []
    for run_id, place in found.origins.items():
        path = Path(place)
        if path.name != records.RECORD_FILE:
            continue  # a run of W&B
        try:
            histories[run_id] = history_csv.read_history(path.parent / records.HISTORY_FILE)
        except (RecordError, OSError) as error:
            problems.append(str(error))
    return histories, problems


def curve_svg(history: Sequence[Mapping[str, float]], metric: str) -> Markup:
    """A metric over the epochs as SVG; empty if fewer than two epochs have it."""
    points = [(row["epoch"], row.get(metric, math.nan)) for row in history if "epoch" in row]
    known = [(epoch, value) for epoch, value in points if math.isfinite(value)]
    if len(known) < 2:
        return Markup()
    stride = math.ceil(len(points) / MAX_POINTS)
    points = [*points[:-1:stride], points[-1]]
    (first, start), (last, end) = known[0], known[-1]
    low, high = (pick(value for _, value in known) for pick in (min, max))
    title = f"{metric}, epoch {first:g} to {last:g}: from {start:.4g} to {end:.4g}"
    canvas = svg.canvas("curve", WIDTH, HEIGHT, title)

    def point(epoch: float, value: float) -> str:
        across = (epoch - first) / max(last - first, 1)
        up = (value - low) / (high - low) if high > low else 0.5
        x = LEFT + across * (WIDTH - LEFT - RIGHT)
        return f"{x:.1f} {FLOOR - up * (FLOOR - TOP):.1f}"

    frame = f"M{LEFT} {TOP}V{FLOOR}H{WIDTH - RIGHT}"
    svg.add(canvas, "path", "frame", d=frame, fill="none", stroke="#999")
    path, pen = "", "M"
    for epoch, value in points:
        finite = math.isfinite(value)
        path += f"{pen}{point(epoch, value)}" if finite else ""
        pen = "L" if finite else "M"
    svg.add(canvas, "path", "line", d=path, fill="none", stroke="#0072b2", stroke_width=1.5)
    svg.write_text(canvas, f"{high:.4g}", LEFT - 4, TOP + 4, "end")
    if high > low:
        svg.write_text(canvas, f"{low:.4g}", LEFT - 4, FLOOR + 3, "end")
    svg.write_text(canvas, f"epoch {first:g}", LEFT, HEIGHT - 4, "start")
    svg.write_text(canvas, f"{last:g}", WIDTH - RIGHT, HEIGHT - 4, "end")
    return svg.markup(canvas)
