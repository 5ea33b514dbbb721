"""The plan of a study: probes its variants; estimates hours, disk space and smallest effect."""

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
from ablations.analysis.stats.looks import LookPlan
from ablations.config.schema import RunConfig
from ablations.machine.cores import usable_cores
from ablations.planning.dataset_sample import dataset_size
from ablations.planning.effect import difference_std, minimum_effects
from ablations.planning.looks import expected_hours
from ablations.planning.plan_file import ExpectedRun, read_plan, write_plan
from ablations.planning.probe import probe_sample
from ablations.planning.probe_processes import Job
from ablations.planning.probe_variants import probe_variants
from ablations.planning.variants import HOUR, PlannedVariant, group_variants
from ablations.scheduling.gpus import local_capacity
from ablations.scheduling.runner import Selection, select_by_record
from ablations.store import load
from ablations.store.records import read_all_records
from ablations.store.reuse_check import ReuseCheck, check_records
from ablations.training.devices import uses_gpu

SCHEMA_VERSION = 1


def make_plan(
    runs: Sequence[RunConfig],
    overrides: Mapping[str, Any],
    results: Path,
    workers: int | None = None,
    std: float | None = None,
    reuse: bool = True,
    max_probes: int | None = None,
    looks: LookPlan | None = None,
) -> dict[str, Any]:
    """Probe the runs to train and estimate the study; also writes ``<results>/plan.json``.

    Args:
        runs: All runs of the study, on one recipe.
        overrides: Fields set in all of them.
        results: The folder of all runs; it exists.
        workers: Runs at once; None for as many as ``ablations run`` would start here.
        std: Standard deviation of differences in points; None for that of records.
        reuse: Whether runs that are done stay as they are.
        max_probes: How many variants to probe at most; None for all.
        looks: When rows are looked at, if seeds are added until they are decided.

    Returns:
        The plan as JSON values.

    Raises:
        ConfigError: There is no GPU but one is requested, ``std`` is impossible, the size of a data
            set is not known, an earlier plan cannot be read, or finished runs have another
            precision.
        DataError: Images on this machine are broken, or differ from those of a finished run.
        RecordError: A record cannot be read.
    """
    known = load.select_usable_records(*read_all_records([results]))
    std, std_source = difference_std(runs, known.records, std)
    read_plan(results)  # reports a broken plan before minutes of probes
    for accelerator in {run.system.accelerator for run in runs}:
        uses_gpu(accelerator)
    at_once, gpus = local_capacity([run.system for run in runs], workers)
    selection, reuse_check = _select(runs, results, reuse)
    todo = selection.todo
    variants = group_variants(runs, selection.reused, overrides)
    jobs: dict[int, Job] = {}
    for index, variant in enumerate(variants):
        variant.train, variant.val, images = dataset_size(variant.runs[0])
        if variant.todo:
            jobs[index] = variant.todo[0], probe_sample(variant.todo[0], images)
    probe_variants(variants, jobs, min(at_once, len(todo)), gpus, max_probes)
    for index in controls.assign_controls(variants)[1]:
        variants[index].axis = controls.AXIS
    variants.sort(key=row_position)
    write_plan(results, _expected_runs(variants))
    disk = disk_space(variants, at_once, shutil.disk_usage(results).free)
    return {
        "schema": SCHEMA_VERSION,
        "recipe": runs[0].recipe,
        "devices": sorted({variant.probe.device for variant in variants if variant.probe}),
        "cores": usable_cores(),
        "threads": max(run.system.threads for run in runs),
        "cells": len(runs),
        "todo": len(todo),
        "cells_at_once": at_once,
        "device_hours": sum(variant.device_seconds for variant in variants) / HOUR,
        "wall_hours": wall_seconds(variants, todo, at_once) / HOUR,
        "disk": disk,
        "std": std,
        "std_source": std_source,
        "looks": looks and expected_hours(runs, variants, known.records, looks),
        "minimum_effect": minimum_effects([len(variant.runs) for variant in variants], std),
        "variants": [variant.to_json() for variant in variants],
        "complaints": complaints(variants, disk, known.problems) + reuse_check.warnings(results),
    }


def _select(runs: Sequence[RunConfig], results: Path, reuse: bool) -> tuple[Selection, ReuseCheck]:
    """The runs to train, as ``ablations run`` selects them; stale ones are left out."""
    # Records that cannot be read are reported with the other problems of the folder.
    selection = select_by_record(runs, results) if reuse else Selection(todo=list(runs))
    found = check_records(runs, selection.reused, download=False)
    found.raise_mismatch(results, unread=False)
    selection.retrain(found.failed, runs)
    selection.reused = [record for record in selection.reused if record.run_id not in found.stale]
    return selection, found


def wall_seconds(
    variants: Sequence[PlannedVariant], todo: Sequence[RunConfig], at_once: int
) -> float:
    """Seconds from the first run to the end of the last; a free worker takes the next run.

    Args:
        variants: The variants.
        todo: Their runs to train, in this order.
        at_once: How many train at once.
    """
    seconds = {run.run_id: variant.seconds for variant in variants for run in variant.runs}
    busy_until = [0.0] * at_once
    for run in todo:
        heapq.heapreplace(busy_until, busy_until[0] + seconds[run.run_id])
    return max(busy_until)


def disk_space(variants: Sequence[PlannedVariant], at_once: int, free: int) -> dict[str, int]:
    """Bytes that the runs to train keep, need in addition while they train, and that are free.

    A run that trains has two checkpoints for a moment; the largest ones are assumed to coincide.
    """
    kept = sum(variant.kept_bytes * len(variant.todo) for variant in variants)
    checkpoints = [v.probe.checkpoint_bytes for v in variants if v.probe for _ in v.todo]
    running = 2 * sum(sorted(checkpoints)[-at_once:])
    return {
        "kept_bytes": kept,
        "running_bytes": running,
        "needed_bytes": kept + running,
        "free_bytes": free,
    }


def complaints(
    variants: Sequence[PlannedVariant], disk: Mapping[str, int], problems: Sequence[str]
) -> list[str]:
    """A line for each reason not to launch.

    Args:
        variants: The variants.
        disk: As ``disk_space`` returns it.
        problems: Records that cannot be used.
    """
    lines = [f"not in the plan: {v.label}: {v.failure}" for v in variants if v.failure]
    if disk["needed_bytes"] > disk["free_bytes"]:
        needed, free = decimal(disk["needed_bytes"]), decimal(disk["free_bytes"])
        lines.append(f"the disk is too small: {needed} are needed, {free} are free")
    return lines + [f"left out: {problem}" for problem in problems]


def _expected_runs(variants: Sequence[PlannedVariant]) -> dict[str, ExpectedRun]:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        run.run_id: ExpectedRun(
            variant=f"{variant.axis}: {variant.label}",
            seed=run.seed,
            train_seconds=variant.train_seconds,
            validation_seconds=variant.validation_seconds,
            loading=variant.probe.loading,
            device=variant.probe.device,
            threads=run.system.threads,
            date=date,
        )
        for variant in variants
        if variant.probe
        for run in variant.todo
    }
