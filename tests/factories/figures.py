"""Made-up studies for figures, and helpers that read values back from a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ablations import figures
from ablations.analysis.build import build_studies
from ablations.analysis.study import Study
from ablations.config.resolve import resolve
from ablations.store.records import Record

COST = {
    "mini": {"params": 421_882, "macs": 1_344_000, "image_size": 32},
    "imagenet": {"params": 11_915_176, "macs": 1_822_678_528, "image_size": 224},
}


def record(seed=0, top1=80.0, preset=None, recipe="mini", status="finished", **overrides) -> Record:
    """A record of a made-up run."""
    plain = {name.replace("__", "."): value for name, value in overrides.items()}
    config = resolve(recipe, {"seed": seed, **plain}, preset)
    measured = top1 is not None
    return Record(
        run_id=config.run_id,
        status=status,
        config=config.to_json(),
        metrics={"val/top1": {"last": top1, "best": top1}} if measured else {},
        cost=COST[recipe] if measured else {},
        timing={"pictures_per_second": 1000.0 + seed} if measured else {},
        data={"fingerprint": "f" * 16, "classes": config.to_json()["model"]["num_classes"]},
        environment={"precision": "32-true", "device": "cpu", "threads": 1},
        failure={"kind": "oom", "message": "no memory"} if status == "failed" else None,
    )


def made_up(records: list[Record]) -> tuple[Study, dict[str, list[dict[str, float]]]]:
    """A study, and a history of two epochs for each of its runs that has a result."""
    (study,) = build_studies(records)
    lines = {
        run.run_id: [
            {"epoch": 1, "val/top1": run.metric() / 2},
            {"epoch": 2, "val/top1": run.metric()},
        ]
        for run in records
        if run.metric() is not None
    }
    return study, lines


BASE = [record(seed, 80.0 + seed) for seed in range(3)]
OTHER = [record(seed, 79.0 - seed, model__norm="batch") for seed in range(3)]
STUDIES: dict[str, list[Record]] = {
    "one seed": [BASE[0], OTHER[0], record(0, 10.0, preset="no_residual")],
    "no baseline": [*OTHER, record(0, 70.0, model__norm="layer")],
    "only a baseline": BASE,
    "without rows of the paper": [
        *BASE,
        *(record(seed, 81.0 + seed / 2, optim__label_smoothing=0.0) for seed in range(3)),
        *(record(seed, 60.0, model__mlp_ratio=2.0) for seed in range(3)),
    ],
    "failed": [
        *BASE,
        record(0, None, status="failed", model__norm="layer"),
        record(1, 20.0, status="diverged", model__norm="layer"),
        record(0, None, status="failed", model__norm="none"),
    ],
    "all failed": [record(seed, None, status="failed") for seed in range(2)],
    "no spread": [*BASE, *(record(seed, 79.0 + seed, model__norm="batch") for seed in range(3))],
    "other seeds": [*BASE, *(record(7 + seed, 75.0, model__norm="batch") for seed in range(3))],
    "a wide interval": [
        *BASE,
        *(record(0, 80.1 + size / 99, model__pool_size=size) for size in (5, 7, 9)),
        *(record(seed, top1, model__norm="batch") for seed, top1 in enumerate((80.2, 99.0, 70.0))),
        *(
            record(seed, 80.3 + seed, model__activation=name)
            for seed in range(3)
            for name in ("relu", "silu")
        ),
    ],
    "own axes with other costs": [
        *BASE,
        *(
            replace(
                record(seed, 81.0 + number / 9 + seed / 2, **{field: value}),
                cost={
                    **COST["mini"],
                    "macs": 10**6 * (2 + number % 3),
                    "params": 10**5 * (4 + number),
                },
            )
            for seed in range(2)
            for number, (field, value) in enumerate(
                [
                    *(("model__mlp_ratio", ratio) for ratio in (1.0, 2.0, 6.0, 8.0)),
                    *(("optim__label_smoothing", share) for share in (0.0, 0.2, 0.3)),
                    *(("model__drop_path", share) for share in (0.2, 0.3)),
                    *(
                        ("model__token_mixers", ["pool", "attention", "spatial_fc", name])
                        for name in ("random", "attention", "depthwise")
                    ),
                ]
            )
        ),
        record(0, 10.0, preset="no_residual"),
    ],
    "ImageNet-1K": [
        record(0, 77.2, recipe="imagenet"),
        record(0, 80.3, recipe="imagenet", preset="s24"),
        record(0, 81.4, recipe="imagenet", preset="s36"),
    ],
}


def every_figure(
    study: Study, lines: Mapping[str, list[dict[str, float]]], most: int | None = None
) -> dict[str, Figure]:
    """All figures of a study, with the curves of at most ``most`` axes."""
    found = {
        "forest": figures.forest_plot(study),
        "cost": figures.cost_of_study(study),
        "speed": figures.training_speed(study),
    }
    if study.recipe == "imagenet":
        found["accuracy against cost"] = figures.accuracy_against_cost([study])
    for axis in figures.ablation_axes(study)[:most]:
        found[axis] = figures.training_curves(study, lines, axis)
    for figure in found.values():
        figure.draw_without_rendering()
    return found


def lines_of(figure: Figure) -> dict[str, Line2D]:
    """The lines of all panels by their ids; the last of each id."""
    found = (line for axes in figure.axes for line in axes.get_lines())
    return {str(line.get_gid()): line for line in found if line.get_gid()}


def values(line: Line2D, direction: str = "x") -> list[float]:
    return [float(value) for value in np.atleast_1d(line.get_data()[direction == "y"])]
