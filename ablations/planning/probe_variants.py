"""Probes the variants of a study, with a progress bar; estimates those that are not probed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from ablations.console.display import ProgressBar
from ablations.planning.probe import Measurement
from ablations.planning.probe_processes import Job, measure_in_processes
from ablations.planning.variants import PlannedVariant
from ablations.text.phrases import format_duration, pluralize
from ablations.training.cost import model_cost

MAX_SHARE = 0.1  # of the planned time; a warning says that probes will take more


def probe_variants(
    variants: Sequence[PlannedVariant],
    jobs: Mapping[int, Job],
    at_once: int,
    gpus: Sequence[Sequence[str]],
    max_probes: int | None = None,
) -> None:
    """Set ``probe`` or ``failure`` of each variant that has a job.

    Args:
        variants: The variants.
        jobs: What to probe, by the index of the variant.
        at_once: Probes at once.
        gpus: The GPU ids for each of them, as ``local_capacity`` returns them.
        max_probes: How many variants to probe; the others are estimated by their MACs.
    """
    chosen = dict(islice(jobs.items(), max_probes))
    waiting = dict.fromkeys(chosen)
    measured: list[Measurement] = []
    started_at = time.monotonic()

    def elapsed() -> float:
        return time.monotonic() - started_at

    def status() -> str:
        current = ", ".join(variants[index].label for index in islice(waiting, at_once))
        done = f"probed {len(chosen) - len(waiting)} of {pluralize(len(chosen), 'variant')}"
        return f"{done}, now {current}" if current else done

    with ProgressBar(status(), silent=lambda _: f"{format_duration(elapsed())} elapsed") as bar:
        for index, result in measure_in_processes(chosen, min(at_once, len(chosen)), gpus):
            del waiting[index]
            if isinstance(result, str):
                variants[index].failure = result
            else:
                variants[index].probe = result
                measured.append(result)
            bar.update(1 - len(waiting) / len(chosen), status())
            if waiting and measured == [result]:
                rounds = math.ceil(len(chosen) / at_once)
                cost = elapsed() + measured[0].took * (rounds - 1)
                runs = sum(len(variant.todo) for variant in variants)
                planned = variants[index].seconds * runs / at_once
                if cost > MAX_SHARE * planned:
                    bar.say(_warning(cost, len(chosen), planned, runs))
    for index in jobs.keys() - chosen.keys() if measured else ():
        variants[index].probe = _estimate(variants[index], measured)


def _warning(cost: float, count: int, planned: float, runs: int) -> str:
    return (
        f"probing {pluralize(count, 'variant')} takes about {format_duration(cost)}, more than a "
        f"tenth of the {format_duration(planned)} of {pluralize(runs, 'run')}: stop it with "
        "Ctrl-C, and use --probes 1 to estimate the others from one variant by their MACs"
    )


def _estimate(variant: PlannedVariant, measured: Sequence[Measurement]) -> Measurement:
    """Scale the measurement of the variant whose MACs are closest.

    Args:
        variant: A variant without a probe.
        measured: The measurements of others, at least one.
    """
    cost = model_cost(variant.runs[0].model)

    def ratio(name: str, other: Measurement) -> float:
        return cost[name] / max(1, other.cost[name])

    near = min(measured, key=lambda other: abs(math.log(max(1e-9, ratio("macs", other)))))
    work, size = ratio("macs", near), ratio("params", near)
    return replace(
        near,
        cost=cost,
        train_image_seconds=near.train_image_seconds * work,
        val_image_seconds=near.val_image_seconds * work,
        weights_bytes=round(near.weights_bytes * size),
        checkpoint_bytes=round(near.checkpoint_bytes * size),
        probed=False,
    )
