"""Probes of a study's variants: how far they are, and what they cost beside what they plan."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from ablations.console.display import ProgressBar
from ablations.planning.probe import Measured
from ablations.planning.processes import Job, probes
from ablations.planning.variants import Variant
from ablations.text.phrases import format_duration, pluralize
from ablations.training.cost import model_cost

SHARE = 0.1  # of the time that is planned; probes that take more say so before they go on


def probe(
    found: Sequence[Variant],
    jobs: Mapping[int, Job],
    at_once: int,
    gpus: Sequence[Sequence[str]],
    most: int | None = None,
) -> None:
    """Give each variant with a job its probe, or why it failed.

    Args:
        found: The variants.
        jobs: What is probed of them, by their numbers.
        at_once: Probes at once.
        gpus: As ``processes.probes`` takes them.
        most: How many variants are probed; the others follow from these by their MACs.
    """
    chosen = dict(islice(jobs.items(), most))
    waiting, begun, told = dict.fromkeys(chosen), time.monotonic(), False

    def elapsed() -> float:
        return time.monotonic() - begun

    def where() -> str:
        now = ", ".join(found[index].name for index in islice(waiting, at_once))
        done = f"probed {len(chosen) - len(waiting)} of {pluralize(len(chosen), 'variant')}"
        return f"{done}, now {now}" if now else done

    with ProgressBar(where(), silent=lambda _: f"{format_duration(elapsed())} elapsed") as bar:
        for index, result in probes(chosen, min(at_once, len(chosen)), gpus):
            del waiting[index]
            if isinstance(result, str):
                found[index].failure = result
            else:
                found[index].probe = result
            bar.update(1 - len(waiting) / len(chosen), where())
            if not told and found[index].probe and waiting:
                told = True
                if warning := too_dear(found, elapsed(), len(chosen), at_once):
                    bar.say(warning)
    known = [found[index] for index in chosen if found[index].probe]
    for index in jobs.keys() - chosen.keys():
        if known:
            found[index].probe = assumed(found[index], known)


def too_dear(found: Sequence[Variant], first: float, count: int, at_once: int) -> str | None:
    """A line where the probes will take more than a tenth of what they plan.

    Args:
        found: The variants, one or more of them probed.
        first: Seconds that the first probe took, its process's start included.
        count: How many are probed.
        at_once: How many at once, as the runs will be.
    """
    probed = [each for each in found if each.probe]
    known = [each.seconds for each in probed]
    took = sum(each.probe.took for each in probed if each.probe) / len(probed)
    runs = sum(len(each.todo) for each in found)
    cost = first + took * (math.ceil(count / at_once) - 1)
    planned = sum(known) / len(known) * runs / at_once
    if cost <= SHARE * planned:
        return None
    return (
        f"probing {pluralize(count, 'variant')} takes about {format_duration(cost)}, more than a "
        f"tenth of the {format_duration(planned)} of {pluralize(runs, 'run')}: Ctrl-C ends it, and "
        "--probes 1 takes the others from one variant by their MACs"
    )


def assumed(variant: Variant, known: Sequence[Variant]) -> Measured:
    """What is to be expected of a variant without a probe: what the most alike took for its MACs.

    Args:
        variant: The variant.
        known: Variants that were probed, one or more.
    """
    cost = model_cost(variant.cells[0].model)

    def ratio(name: str, other: Measured) -> float:
        return cost[name] / max(1, other.cost[name])

    measured = [each.probe for each in known if each.probe]
    near = min(measured, key=lambda other: abs(math.log(max(1e-9, ratio("macs", other)))))
    work, size = ratio("macs", near), ratio("params", near)
    return replace(
        near,
        cost=cost,
        picture_seconds=near.picture_seconds * work,
        val_picture_seconds=near.val_picture_seconds * work,
        weights_bytes=round(near.weights_bytes * size),
        checkpoint_bytes=round(near.checkpoint_bytes * size),
        probed=False,
    )
