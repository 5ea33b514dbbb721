"""The JSON of plans and checks -> tables for a terminal, with what must be known to read them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.filesize import decimal

from ablations.console.grid import TextTable
from ablations.text.phrases import format_duration, pluralize

NONE = "–"
BUSY = 0.9  # of its cores; a probe that has less shares them with others


def hours(value: float | None) -> str:
    """Hours as ``words.duration``; a dash for none."""
    return NONE if value is None else format_duration(3600 * value)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(left: Sequence[str], right: Sequence[str]) -> TextTable:
    table = TextTable()
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def plan(found: Mapping[str, Any]) -> tuple[TextTable, str]:
    """A row a variant, and the lines below it.

    Args:
        found: As ``study.plan`` gives it.
    """
    macs = [each["macs"] or 0 for each in found["variants"]]
    unit, letter = (1e6, "M") if max(macs) < 1e8 else (1e9, "G")
    right = ["seeds", "done", "params (M)", f"MACs ({letter})", "images/s", "a run", "to do"]
    table = _table(["ablation", "variant"], right)
    before = None
    for each in found["variants"]:
        step, (params, macs) = each["step_seconds"], (each["params"], each["macs"])
        table.add_row(
            each["ablation"] if each["ablation"] != before else "",
            each["variant"],
            str(len(each["runs"])),
            str(each["done"]),
            NONE if params is None else f"{params / 1e6:.3f}",
            NONE if macs is None else f"{macs / unit:.3f}",
            NONE if step is None else _digits(each["batch"] / step),
            hours(each["cell_hours"]),
            hours(each["device_hours"]),
        )
        before = each["ablation"]
    return table, "\n" + "\n".join(f"- {line}" for line in _below(found))


def _below(found: Mapping[str, Any]) -> Iterator[str]:
    variants = found["variants"]
    done, failed = (sum(each[name] for each in variants) for name in ("done", "failed"))
    it = "it" if failed == 1 else "them"
    told = f", {failed} failed (`ablations run --retry-failed` trains {it} again)" if failed else ""
    yield (
        f"{pluralize(found['cells'], 'run')} of {pluralize(len(variants), 'variant')}: "
        f"{done} done{told}, {found['todo']} to do."
    )
    probed = [each for each in variants if each["probe_batch"]]
    if probed:
        unknown = sum(each["todo"] for each in variants if each["failure"])
        without = f" (without {unknown} that cannot be planned)" if unknown else ""
        yield (
            f"To do{without}: {hours(found['device_hours'])} of device time; with "
            f"{pluralize(found['cells_at_once'], 'run')} at once about "
            f"{hours(found['wall_hours'])}, and some seconds more to start each."
        )
        yield from _caveats(found, probed)
    disk = {name: decimal(size) for name, size in found["disk"].items()}
    yield (
        f"Disk: {disk['kept_bytes']} stay, {disk['running_bytes']} more while runs train; "
        f"{disk['free_bytes']} are free."
    )
    for each in found["minimum_effect"]:
        yield _effect(found, each)


def _caveats(found: Mapping[str, Any], probed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    devices = " and ".join(found["devices"])
    if all(device.startswith("cpu") for device in found["devices"]):
        yield (
            f"Measured on this machine's {devices}, {pluralize(found['cores'], 'core')}, "
            f"{pluralize(found['threads'], 'thread')} a run: it says nothing of a GPU."
        )
    else:
        yield f"Measured on {devices}: it says nothing of another device."
    if not all(each["loading"] for each in probed):
        yield (
            "Loading the images is not in it: they are not on this machine (--data.root DIR), "
            "and the probes had made-up ones."
        )
    if any(each["probe_batch"] * each["devices"] < each["batch"] for each in probed):
        yield (
            "A CPU is too slow to try whole batches: the probes had fewer images a step, and "
            "their seconds are scaled up."
        )
    if estimated := sum(not each["probed"] for each in probed):
        yield (
            f"{pluralize(estimated, 'variant')} not probed (--probes): estimated from the others "
            "by their MACs."
        )
    shares = [each["cpu_share"] for each in probed if each["cpu_share"] is not None]
    if shares and (share := statistics.median(shares)) < BUSY:
        yield (
            f"The machine is busy: the probes had {share:.0%} of their cores. Left to itself it "
            f"would take about {hours(share * found['device_hours'])} of device time."
        )
    if any(each["devices"] > 1 for each in probed):
        yield "A run's devices were probed one by one: what they tell each other is not in it."


def _effect(found: Mapping[str, Any], each: Mapping[str, Any]) -> str:
    head = f"Smallest true difference to expect to find with {pluralize(each['seeds'], 'seed')}"
    if len(found["minimum_effect"]) > 1:
        head += f" ({pluralize(each['variants'], 'variant')})"
    if each["in_std"] is None:
        return f"{head}: none; one seed has no spread to hold a difference against."
    power = "80% power at 5%, paired by seed, not corrected for the number of rows"
    if each["points"] is None:
        return (
            f"{head}: {each['in_std']:.1f} standard deviations of a difference ({power}); that "
            f"deviation is {found['std_source']}."
        )
    return (
        f"{head}: {each['points']:.2f} points ({power}), if a difference's standard deviation is "
        f"{found['std']:.2f} points ({found['std_source']})."
    )


def check(found: Sequence[Mapping[str, Any]]) -> tuple[TextTable, str]:
    """A row a variant, and how many cells it speaks of.

    Args:
        found: As ``plan.check.check`` gives it.
    """
    right = ["planned", "compared", "expected", "took", "took/expected", "range"]
    table = _table(["variant"], right)
    for each in found:
        told = [NONE, NONE, NONE, ""]
        if each["compared"]:
            told = [
                format_duration(each["expected_seconds"]),
                format_duration(each["took_seconds"]),
            ]
            told += [f"{each['ratio']:.2f}"]
            told += [f"{each['ratio_low']:.2f} to {each['ratio_high']:.2f}"]
        name, counts = each["variant"] or "all", (each["planned"], each["compared"])
        table.add_row(name, *map(str, counts), *told)
    whole = found[-1]
    apart = "; ".join(f"{count} {why}" for why, count in sorted(whole["not_compared"].items()))
    line = f"{whole['compared']} of {pluralize(whole['planned'], 'planned run')} are compared"
    line += f" ({apart})." if apart else "."
    if whole["compared"]:
        line += " Times are of training and validation, summed; took/expected is the median run's."
    if whole["without_loading"]:
        line += f" Of {whole['without_loading']} the plan left out loading the images."
    return table, line
