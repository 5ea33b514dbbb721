"""Plans and comparisons as tables for a terminal, with the notes that are needed to read them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.filesize import decimal

from ablations.console.grid import TextTable
from ablations.text.phrases import format_duration, pluralize

NONE = "–"
BUSY = 0.9  # a probe that has a smaller share of its cores shares them with other programs


def _hours(value: float | None) -> str:
    return NONE if value is None else format_duration(3600 * value)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plan_table(plan: Mapping[str, Any]) -> tuple[TextTable, str]:
    """A row per variant, and the notes below.

    Args:
        plan: As ``make_plan`` returns it.
    """
    variants = plan["variants"]
    largest = max(variant["macs"] or 0 for variant in variants)
    unit, letter = (1e6, "M") if largest < 1e8 else (1e9, "G")
    right = ["seeds", "done", "params (M)", f"MACs ({letter})", "images/s", "a run", "to do"]
    table = TextTable("ablation", "variant", *right, right=right)
    previous = None
    for variant in variants:
        axis, params, macs = variant["ablation"], variant["params"], variant["macs"]
        step = variant["step_seconds"]
        table.add_row(
            axis if axis != previous else "",
            variant["variant"],
            str(len(variant["runs"])),
            str(variant["done"]),
            NONE if params is None else f"{params / 1e6:.3f}",
            NONE if macs is None else f"{macs / unit:.3f}",
            NONE if step is None else _digits(variant["batch"] / step),
            _hours(variant["cell_hours"]),
            _hours(variant["device_hours"]),
        )
        previous = axis
    return table, "\n" + "\n".join(f"- {line}" for line in _notes(plan))


def _notes(plan: Mapping[str, Any]) -> Iterator[str]:
    variants = plan["variants"]
    done, failed = (sum(variant[name] for variant in variants) for name in ("done", "failed"))
    them = "it" if failed == 1 else "them"
    retry = f", {failed} failed (`ablations run --retry-failed` trains {them} again)"
    yield (
        f"{pluralize(plan['cells'], 'run')} of {pluralize(len(variants), 'variant')}: "
        f"{done} done{retry if failed else ''}, {plan['todo']} to do."
    )
    probed = [variant for variant in variants if variant["probe_batch"]]
    if probed:
        unknown = sum(variant["todo"] for variant in variants if variant["failure"])
        without = f" (without {unknown} that cannot be planned)" if unknown else ""
        yield (
            f"To do{without}: {_hours(plan['device_hours'])} of device time. With "
            f"{pluralize(plan['cells_at_once'], 'run')} at once it takes about "
            f"{_hours(plan['wall_hours'])}, plus some seconds to start each run."
        )
        yield from _caveats(plan, probed)
    if looks := plan["looks"]:
        yield _looks_note(looks)
    disk = {name: decimal(size) for name, size in plan["disk"].items()}
    yield (
        f"Disk: {disk['kept_bytes']} stay, {disk['running_bytes']} more while runs train; "
        f"{disk['free_bytes']} are free."
    )
    for effect in plan["minimum_effect"]:
        yield _effect_note(plan, effect)


def _looks_note(looks: Mapping[str, Any]) -> str:
    """The hours with and without looks, and what they assume."""
    counts = ", ".join(map(str, looks["looks"]))
    text = (
        f"Looks at {counts} seeds: {_hours(looks['device_hours'])} of device time, "
        f"{_hours(looks['device_hours_without'])} without looks"
    )
    decided, rows = len(looks["decided"]), pluralize(looks["rows"], "row")
    if decided:
        text += (
            f". The records decide {decided} of {rows}; the others are assumed to need all looks"
        )
    else:
        text += f". No record decides a row, so each of {rows} is assumed to need all looks"
    first = _hours(looks["device_hours_first_look"])
    return f"{text}. If the first look decided all, it would be {first}."


def _caveats(plan: Mapping[str, Any], probed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    devices = " and ".join(plan["devices"])
    if all(device.startswith("cpu") for device in plan["devices"]):
        yield (
            f"Measured on this machine's {devices}, {pluralize(plan['cores'], 'core')}, "
            f"{pluralize(plan['threads'], 'thread')} per run: it does not apply to a GPU."
        )
    else:
        yield f"Measured on {devices}: it does not apply to other devices."
    if not all(variant["loading"] for variant in probed):
        yield (
            "Loading the images is not included: they are not on this machine (--data.root DIR), "
            "so the probes used random ones."
        )
    if any(variant["probe_batch"] * variant["devices"] < variant["batch"] for variant in probed):
        yield (
            "A CPU is too slow for full batches: the probes used smaller ones, and their times are "
            "scaled up."
        )
    if estimated := sum(not variant["probed"] for variant in probed):
        yield (
            f"{pluralize(estimated, 'variant')} not probed (--probes): estimated from the others "
            "by their MACs."
        )
    shares = [variant["cpu_share"] for variant in probed if variant["cpu_share"] is not None]
    if shares and (share := statistics.median(shares)) < BUSY:
        yield (
            f"The machine is busy: the probes had {share:.0%} of their cores. On an idle machine "
            f"it would take about {_hours(share * plan['device_hours'])} of device time."
        )
    if any(variant["devices"] > 1 for variant in probed):
        yield "A run's devices were probed one by one: their communication is not included."


def _effect_note(plan: Mapping[str, Any], effect: Mapping[str, Any]) -> str:
    head = f"Smallest true difference to expect to find with {pluralize(effect['seeds'], 'seed')}"
    if len(plan["minimum_effect"]) > 1:
        head += f" ({pluralize(effect['variants'], 'variant')})"
    if effect["in_std"] is None:
        return f"{head}: none, because one seed has no spread."
    power = "80% power at 5% for all rows together, paired by seed"
    if effect["points"] is None:
        return (
            f"{head}: {effect['in_std']:.1f} standard deviations of a difference ({power}). That "
            f"deviation is {plan['std_source']}."
        )
    return (
        f"{head}: {effect['points']:.2f} points ({power}), if the standard deviation of a "
        f"difference is {plan['std']:.2f} points ({plan['std_source']})."
    )


def check_table(comparisons: Sequence[Mapping[str, Any]]) -> tuple[TextTable, str]:
    """A row per variant, and how many runs are compared.

    Args:
        comparisons: As ``compare_with_records`` returns them.
    """
    right = ["planned", "compared", "expected", "took", "took/expected", "range"]
    table = TextTable("variant", *right, right=right)
    for each in comparisons:
        cells = [NONE, NONE, NONE, ""]
        if each["compared"]:
            cells = [
                format_duration(each["expected_seconds"]),
                format_duration(each["took_seconds"]),
                f"{each['ratio']:.2f}",
                f"{each['ratio_low']:.2f} to {each['ratio_high']:.2f}",
            ]
        table.add_row(each["variant"] or "all", str(each["planned"]), str(each["compared"]), *cells)
    total = comparisons[-1]
    reasons = [f"{count} {reason}" for reason, count in sorted(total["not_compared"].items())]
    line = f"{total['compared']} of {pluralize(total['planned'], 'planned run')} are compared"
    line += f" ({'; '.join(reasons)})." if reasons else "."
    if total["compared"]:
        line += (
            " Times are sums of training and validation; took/expected is that of the median run."
        )
    if total["without_loading"]:
        line += f" For {total['without_loading']} the plan did not include loading the images."
    return table, line
