"""Cells -> a plan: probes of what is to do, from them hours, disk and the effect to expect."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from ablations.analysis import controls
from ablations.analysis.rows import row_position
from ablations.config.schema import RunConfig
from ablations.config.sweep import SweepRun
from ablations.machine.cores import usable_cores
from ablations.planning import check
from ablations.planning.effect import effects, spread
from ablations.planning.pictures import source
from ablations.planning.probe import wanted
from ablations.planning.probing import probe
from ablations.planning.processes import Job
from ablations.planning.variants import HOUR, Variant, variants
from ablations.scheduling.gpus import local_capacity
from ablations.scheduling.runner import Selection, select_by_record
from ablations.store import load
from ablations.store.reuse_check import check_records
from ablations.training.loop import uses_gpu

SCHEMA = 1


def plan(
    cells: Sequence[SweepRun],
    overrides: Mapping[str, Any],
    results: Path,
    workers: int | None,
    std: float | None,
    reuse: bool,
    most: int | None = None,
) -> dict[str, Any]:
    """Probe what is to do and estimate all of it, as JSON values; writes ``<results>/plan.json``.

    Args:
        cells: All cells of the study, on one recipe.
        overrides: Fields set in all of them.
        results: The folder of all runs; it exists.
        workers: Cells at once; None for as many as `ablations run` would start here.
        std: Deviation of differences in points; None for that of records.
        reuse: Whether cells that are done are left as they are.
        most: Variants that are probed at most; None for all.

    Raises:
        ConfigError: A GPU is asked for where there is none, an impossible ``std``, pictures whose
            number is not known, an earlier plan that cannot be read, done runs of another
            precision.
        DataError: Images that are here and broken, or others than those of a done run.
        RecordError: A record that cannot be read.
    """
    configs = [cell.config for cell in cells]
    placed, broken, _ = load.read_records_by_folder([results])
    known = load.select_usable_records(placed, broken)
    std, std_source = spread(configs, known.records, std)
    check.read(results)  # a broken one is told before minutes of probes
    for accelerator in {config.system.accelerator for config in configs}:
        uses_gpu(accelerator)
    at_once, gpus = local_capacity([config.system for config in configs], workers)
    selection = select_by_record(configs, results) if reuse else Selection(todo=configs)
    there, todo = selection.reused, selection.todo
    compared = check_records(configs, there, download=False)
    compared.refuse(results, unread=False)
    left = compared.stale.keys() | compared.failed
    there = [record for record in there if record.run_id not in left]
    again = {config.run_id for config in todo} | compared.failed
    todo = [config for config in configs if config.run_id in again]
    found = variants(configs, there, overrides)
    jobs: dict[int, Job] = {}
    for index, variant in enumerate(found):
        here = source(variant.cells[0])
        variant.train, variant.val = here.train, here.val
        if variant.todo:
            config = variant.todo[0]
            jobs[index] = config, wanted(config, here.pictures)
    probe(found, jobs, min(at_once, len(todo)), gpus, most)
    for index in controls.assign_controls(found)[1]:
        found[index].axis = controls.AXIS
    found.sort(key=row_position)
    check.write(results, _expected(found))
    room_on_disk = disk(found, at_once, shutil.disk_usage(results).free)
    return {
        "schema": SCHEMA,
        "recipe": configs[0].recipe,
        "devices": sorted({each.probe.device for each in found if each.probe}),
        "cores": usable_cores(),
        "threads": max(config.system.threads for config in configs),
        "cells": len(configs),
        "todo": len(todo),
        "cells_at_once": at_once,
        "device_hours": sum(each.device_seconds for each in found) / HOUR,
        "wall_hours": wall_seconds(found, todo, at_once) / HOUR,
        "disk": room_on_disk,
        "std": std,
        "std_source": std_source,
        "minimum_effect": effects([len(each.cells) for each in found], std),
        "variants": [each.to_json() for each in found],
        "complaints": complaints(found, room_on_disk, known.problems) + compared.told(results),
    }


def wall_seconds(found: Sequence[Variant], todo: Sequence[RunConfig], at_once: int) -> float:
    """From the first cell to the end of the last, each given to whoever is free next.

    Args:
        found: The variants.
        todo: Their cells that are to be trained, in this order.
        at_once: How many train at once.
    """
    seconds = {cell.run_id: each.seconds for each in found for cell in each.cells}
    free = [0.0] * at_once
    for cell in todo:
        heapq.heappush(free, heapq.heappop(free) + seconds[cell.run_id])
    return max(free)


def disk(found: Sequence[Variant], at_once: int, free: int) -> dict[str, int]:
    """Bytes that the cells to do leave, that they have besides while they train, and that are free.

    Besides, each has a checkpoint and the next one, were the largest of them those that train.
    """
    kept = sum(each.kept_bytes * len(each.todo) for each in found)
    probes = [each.probe for each in found if each.probe for _ in each.todo]
    running = 2 * sum(sorted(probe.checkpoint_bytes for probe in probes)[-at_once:])
    needed = kept + running
    return {
        "kept_bytes": kept,
        "running_bytes": running,
        "needed_bytes": needed,
        "free_bytes": free,
    }


def complaints(
    found: Sequence[Variant], sizes: Mapping[str, int], problems: Sequence[str]
) -> list[str]:
    """A line for each reason not to launch.

    Args:
        found: The variants.
        sizes: As ``disk`` gives them.
        problems: Records that cannot be used.
    """
    lines = [f"not in the plan: {each.name}: {each.failure}" for each in found if each.failure]
    if sizes["needed_bytes"] > sizes["free_bytes"]:
        needed, free = decimal(sizes["needed_bytes"]), decimal(sizes["free_bytes"])
        lines.append(f"the disk is too small: {needed} are needed, {free} are free")
    return lines + [f"left out: {problem}" for problem in problems]


def _expected(found: Sequence[Variant]) -> dict[str, check.Expected]:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        cell.run_id: check.Expected(
            variant=f"{variant.axis}: {variant.name}",
            seed=cell.seed,
            train_seconds=variant.train_seconds,
            validation_seconds=variant.validation_seconds,
            loading=variant.probe.loading,
            device=variant.probe.device,
            threads=cell.system.threads,
            date=date,
        )
        for variant in found
        if variant.probe
        for cell in variant.todo
    }
