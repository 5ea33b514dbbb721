"""Cells -> a plan: probes of what is to do, from them hours, disk and the effect to expect."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from ablations import reading
from ablations.fit import on_gpu
from ablations.plan import file
from ablations.plan.effect import Spread, effects, spread
from ablations.plan.estimate import HOUR, Line, disk, wall_seconds
from ablations.plan.pictures import source
from ablations.plan.probe import wanted
from ablations.plan.processes import Found, Job, probes, room
from ablations.plan.variants import ordered, variants
from ablations.records import Record
from ablations.sweep import Cell

SCHEMA = 1
Progress = Callable[[Iterable[Found], int], Iterable[Found]]


@dataclass
class Plan:
    """What a study will take.

    Args:
        lines: A variant each, in the order of tables.
        at_once: How many cells train at once.
        wall: Seconds from the first to the last, as it is.
        disk: As ``estimate.disk`` gives it.
        spread: The deviation of differences that is expected.
        problems: Records that could not be used.
    """

    lines: list[Line]
    at_once: int
    wall: float
    disk: dict[str, int]
    spread: Spread
    problems: list[str]

    @property
    def cells(self) -> int:
        """All planned cells."""
        return sum(len(line.variant.cells) for line in self.lines)

    @property
    def todo(self) -> int:
        """Those that are not done."""
        return sum(len(line.variant.todo) for line in self.lines)

    @property
    def device_seconds(self) -> float:
        """Of all that is to do."""
        return sum(line.device_seconds for line in self.lines)

    @property
    def effects(self) -> list[dict[str, Any]]:
        """As ``effect.effects``."""
        return list(effects((len(line.variant.cells) for line in self.lines), self.spread))

    @property
    def devices(self) -> list[str]:
        """The devices of the probes."""
        return sorted({line.probe.device for line in self.lines if line.probe})

    @property
    def threads(self) -> int:
        """CPU threads a cell, at most."""
        return max(line.config.system.threads for line in self.lines)

    @property
    def cores(self) -> int:
        """How many cores this process may use."""
        return len(os.sched_getaffinity(0))

    @property
    def complaints(self) -> list[str]:
        """A line for each reason not to launch."""
        lines = [
            f"not in the plan: {line.variant.name}: {line.failure}"
            for line in self.lines
            if line.failure
        ]
        if self.disk["needed_bytes"] > self.disk["free_bytes"]:
            lines.append(
                f"the disk is too small: {decimal(self.disk['needed_bytes'])} are needed, "
                f"{decimal(self.disk['free_bytes'])} are free"
            )
        return lines + [f"left out: {problem}" for problem in self.problems]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "schema": SCHEMA,
            "recipe": self.lines[0].config.recipe,
            "devices": self.devices,
            "cores": self.cores,
            "threads": self.threads,
            "cells": self.cells,
            "todo": self.todo,
            "cells_at_once": self.at_once,
            "device_hours": self.device_seconds / HOUR,
            "wall_hours": self.wall / HOUR,
            "disk": self.disk,
            "std": self.spread.std,
            "std_source": self.spread.source,
            "minimum_effect": self.effects,
            "variants": [line.to_json() for line in self.lines],
            "complaints": self.complaints,
        }


def plan(
    cells: Sequence[Cell],
    overrides: Mapping[str, Any],
    results: Path,
    workers: int | None,
    std: float | None,
    progress: Progress,
    reuse: bool = True,
) -> Plan:
    """Probe what is to do and estimate all of it; also writes ``<results>/plan.json``.

    Args:
        cells: All cells of the study, on one recipe.
        overrides: Fields set in all of them.
        results: The folder of all runs.
        workers: Cells at once; None for as many as `ablations run` would start here.
        std: Deviation of differences in points; None for that of records.
        progress: Wraps the probes, given how many there are.
        reuse: Whether cells that are done are left as they are.

    Raises:
        ConfigError: A GPU is asked for where there is none, an impossible ``std``, pictures whose
            number is not known, an earlier plan that cannot be read.
        DataError: Pictures that are here and broken.
        RecordError: A record that cannot be read.
    """
    configs = [cell.config for cell in cells]
    known, problems = _known(results)
    expected_spread = spread(configs, known, std)
    file.read(results)  # a broken one is told before minutes of probes
    for accelerator in {config.system.accelerator for config in configs}:
        on_gpu(accelerator)
    here = room([config.system for config in configs], workers)
    found = variants(configs[0].recipe, cells, overrides, results, reuse)
    lines: dict[str, Line] = {}
    jobs: dict[str, Job] = {}
    for name, variant in found.items():
        pictures = source(variant.cells[0])
        lines[name] = Line(variant, pictures.train, pictures.val)
        if variant.todo:
            config = variant.todo[0]
            jobs[name] = config, wanted(config, pictures.pictures)
    busy = min(here.at_once, sum(len(variant.todo) for variant in found.values()))
    probed = probes(jobs, replace(here, at_once=busy)) if jobs else []
    for name, result in progress(probed, len(jobs)):
        if isinstance(result, str):
            lines[name].failure = result
        else:
            lines[name].probe = result
            lines[name].variant.cost = result.cost
    by_variant = {id(line.variant): line for line in lines.values()}
    shown = [by_variant[id(variant)] for variant in ordered(list(found.values()))]
    file.write(results, dict(_expected(shown)))
    return Plan(
        shown,
        here.at_once,
        wall_seconds(shown, configs, here.at_once),
        disk(shown, here.at_once, results),
        expected_spread,
        problems,
    )


def _known(results: Path) -> tuple[list[Record], list[str]]:
    found = reading.read([results])
    empty = f"{results} has no records"
    return found.records, [problem for problem in found.problems if problem != empty]


def _expected(lines: Sequence[Line]) -> Iterator[tuple[str, file.Expected]]:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    for line in lines:
        if line.probe:
            for cell in line.variant.todo:
                yield (
                    cell.run_id,
                    file.Expected(
                        variant=f"{line.variant.row.axis}: {line.variant.name}",
                        seed=cell.seed,
                        train_seconds=line.train_seconds,
                        validation_seconds=line.validation_seconds,
                        loading=line.probe.loading,
                        device=line.probe.device,
                        threads=cell.system.threads,
                        date=date,
                    ),
                )
