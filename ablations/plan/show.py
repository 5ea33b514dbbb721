"""Plans and checks as tables for a terminal, with what must be known to read them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table

from ablations.plan.check import Checked
from ablations.plan.effect import EXAMPLE

if TYPE_CHECKING:  # it has torch
    from ablations.plan.estimate import Line
    from ablations.plan.study import Plan

NONE = "–"
BUSY = 0.9  # of its cores; a probe that has less shares them with others


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them, to three digits: ``8.25 s``, ``41.2 min``, ``310 h``."""
    for limit, size, unit in ((100, 1, "s"), (6000, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    hours = seconds / 3600
    return f"{hours:,.0f} h" if hours >= 100 else f"{hours:.3g} h"


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def plan(found: Plan) -> tuple[Table, str]:
    """A row a variant, and the lines below it."""
    macs = [line.variant.cost.get("macs", 0) for line in found.lines]
    unit, letter = (1e6, "M") if max(macs) < 1e8 else (1e9, "G")
    right = ["seeds", "done", "params (M)", f"MACs ({letter})", "step (ms)", "pictures/s"]
    table = _table(["ablation", "variant"], [*right, "a cell", "to do"])
    before = None
    for line in found.lines:
        variant, probe = line.variant, line.probe
        counts = [variant.cost.get(name) for name in ("params", "macs")]
        speed = [NONE] * 4
        if probe:
            milliseconds = 1e3 * line.step_seconds
            a_second = line.config.data.batch_size / line.step_seconds
            speed = [f"{milliseconds:,.3g}" if milliseconds < 1e3 else f"{milliseconds:,.0f}"]
            speed += [f"{a_second:,.3g}" if a_second < 1e3 else f"{a_second:,.0f}"]
            speed += [duration(line.seconds), duration(line.device_seconds)]
        table.add_row(
            variant.row.axis if variant.row.axis != before else "",
            variant.name,
            str(len(variant.cells)),
            str(len(variant.done)),
            *(
                NONE if count is None else f"{count / by:.3f}"
                for count, by in zip(counts, (1e6, unit), strict=True)
            ),
            *speed,
        )
        before = variant.row.axis
    return table, "\n" + "\n".join(f"- {line}" for line in _below(found))


def _below(found: Plan) -> Iterator[str]:
    probed = [line for line in found.lines if line.probe]
    yield (
        f"{found.cells} cells of {len(found.lines)} variants: {found.cells - found.todo} done, "
        f"{found.todo} to do."
    )
    failed = sum(len(line.variant.todo) for line in found.lines if line.failure)
    if probed:
        without = f" (without {failed} cells that cannot be planned)" if failed else ""
        yield (
            f"To do: {duration(found.device_seconds)} of device time{without}; about "
            f"{duration(found.wall)} here with {found.at_once} cells at once. That is an estimate: "
            "cells share the machine, and starting each takes some seconds more."
        )
        yield _device(found)
        yield from _caveats(probed, found.device_seconds)
    kept, running, free = (
        decimal(found.disk[f"{name}_bytes"]) for name in ("kept", "running", "free")
    )
    yield (
        f"Disk: {kept} stay, {running} more while cells train (a checkpoint each and the next "
        f"one); {free} are free."
    )
    yield from _effect(found)


def _device(found: Plan) -> str:
    if all(device.startswith("cpu") for device in found.devices):
        threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
        return (
            f"These hours are of this machine's {' and '.join(found.devices)}, {found.cores} "
            f"cores, {threads} a cell; a GPU takes other ones."
        )
    return f"These hours are of {' and '.join(found.devices)}; another device takes other ones."


def _caveats(probed: Sequence[Line], seconds: float) -> Iterator[str]:
    if any(line.probe and not line.probe.loading for line in probed):
        yield (
            "Loading the pictures is not in the hours: they are not on this machine (--data.root "
            "DIR), and the probes had made-up ones."
        )
    cut = [
        line.probe.batch
        for line in probed
        if line.probe
        and line.probe.batch < line.config.data.batch_size // line.config.system.processes
    ]
    if cut:
        sizes = f"{min(cut)} to {max(cut)}" if min(cut) < max(cut) else f"{cut[0]}"
        yield (
            f"The whole batches are too large to be tried here: {len(cut)} probes had {sizes} "
            "pictures a step, and are scaled by pictures."
        )
    shares = [line.probe.share for line in probed if line.probe and _on_cpu(line)]
    if shares and (share := statistics.median(shares)) < BUSY and not _loaders(probed):
        yield (
            f"The machine is busy: the probes had {share:.0%} of their cores. Left to itself it "
            f"would take about {duration(share * seconds)} of device time."
        )
    if any(line.config.system.processes > 1 for line in probed):
        yield "A cell's devices were probed one by one: what they tell each other is not in it."


def _on_cpu(line: Line) -> bool:
    return line.probe is not None and line.probe.device.startswith("cpu")


def _loaders(probed: Sequence[Line]) -> bool:
    """Whether a probe had loader processes to wait for."""
    return any(
        line.probe and line.probe.loading and line.config.system.loader_workers for line in probed
    )


def _effect(found: Plan) -> Iterator[str]:
    for each in found.effects:
        seeds = "1 seed" if each["seeds"] == 1 else f"{each['seeds']} seeds"
        head = f"Smallest effect to expect with {seeds}"
        head += "" if len(found.effects) == 1 else f" ({each['variants']} variants)"
        if each["in_std"] is None:
            yield f"{head}: none; one seed has no spread to hold a difference against."
            continue
        power = "found with 80% power at 5%, paired by seed, before any correction"
        if each["points"] is not None:
            yield (
                f"{head}: {each['points']:.2f} points, {power}; a difference's standard deviation "
                f"is taken as {found.spread.std:.2f} ({found.spread.source})."
            )
        else:
            yield (
                f"{head}: {each['in_std']:.1f} times the standard deviation of a difference, "
                f"{power} (were that {EXAMPLE} points, {EXAMPLE * each['in_std']:.2f} points). It "
                f"is {found.spread.source}."
            )


def check(found: Sequence[Checked]) -> tuple[Table, str]:
    """A row a variant, and the line of all of them."""
    table = _table(
        ["variant"], ["planned", "compared", "expected", "took", "took/expected", "range"]
    )
    for each in found:
        numbers = each.to_json()
        ratio, spread = NONE, ""
        if each.pairs:
            ratio = f"{numbers['ratio']:.2f}"
            spread = f"{numbers['ratio_low']:.2f} to {numbers['ratio_high']:.2f}"
        table.add_row(
            each.name or "all",
            str(each.planned),
            str(len(each.pairs)),
            duration(each.expected) if each.pairs else NONE,
            duration(each.took) if each.pairs else NONE,
            ratio,
            spread,
        )
    return table, _check_line(found[-1])


def _check_line(whole: Checked) -> str:
    apart = "; ".join(f"{count} {why}" for why, count in sorted(Counter(whole.apart).items()))
    told = f"{len(whole.pairs)} of {whole.planned} planned cells are compared"
    told += f" ({apart})" if apart else ""
    if not whole.pairs:
        return f"{told}."
    numbers = whole.to_json()
    return (
        f"{told}: they took {duration(whole.took)} of {duration(whole.expected)}, "
        f"{whole.took / whole.expected:.2f} times; the median cell {numbers['ratio']:.2f} times. "
        "Seconds are of training and validation, summed over cells."
    )
