"""Sweeps: the combinations of a grid in W&B's order, and the state of a sweep."""

from __future__ import annotations

import itertools
import secrets
from typing import Any

import yaml

from tests.wandb_server.graphql import Json, RefusedError
from tests.wandb_server.owners import known_project, project_info
from tests.wandb_server.queries import page
from tests.wandb_server.runs import run_view
from tests.wandb_server.state import Run, Store, Sweep


def grid(parameters: Json) -> list[Json]:
    """All combinations: names sorted at each level, the last one fastest, no value twice."""
    names = sorted(parameters)
    columns = [choices(name, parameters[name]) for name in names]
    return [dict(zip(names, row, strict=True)) for row in itertools.product(*columns)]


def choices(name: str, spec: Json) -> list[Any]:
    """The values that a grid takes from one parameter."""
    if "parameters" in spec:
        return grid(spec["parameters"])
    if "value" in spec:
        return [spec["value"]]
    if "values" in spec:
        return [v for i, v in enumerate(spec["values"]) if v not in spec["values"][:i]]
    bounds = spec.get("min"), spec.get("max")
    if all(isinstance(bound, int) for bound in bounds):
        return list(range(spec["min"], spec["max"] + 1))
    raise RefusedError(
        f"Invalid sweep config: parameter {name} cannot be used with grid search", 400
    )


def find_sweep(store: Store, name: str) -> Sweep:
    """A sweep that must exist."""
    if name not in store.sweeps:
        raise RefusedError(f"could not find sweep {name}", 404)
    return store.sweeps[name]


def upsert_sweep(store: Store, given: Json) -> Json:
    """Create a sweep, or change its config or state."""
    if given.get("id"):
        sweep = find_sweep(store, given["id"].removeprefix("sweep-"))
    else:
        sweep = Sweep(secrets.token_hex(4), known_project(store, given))
    if given.get("config"):
        config = yaml.safe_load(given["config"])
        if config.get("method") != "grid":
            raise RefusedError("Invalid sweep config: only grids are served here", 400)
        sweep.combinations = grid(config["parameters"])[: config.get("run_cap")]
        sweep.text = given["config"]
    sweep.state = given.get("state") or sweep.state
    sweep.display_name = given.get("displayName") or sweep.display_name
    store.sweeps[sweep.id] = sweep
    return {"sweep": sweep_view(store, sweep), "configValidationWarnings": []}


MUTATIONS = {"upsertSweep": upsert_sweep}


def runs_of(store: Store, sweep: Sweep) -> list[Run]:
    """The runs of a sweep, oldest first."""
    return [run for run in store.runs.values() if run.sweep == sweep.id]


def sweep_view(store: Store, sweep: Sweep) -> Json:
    """A sweep's fields."""
    config, runs = sweep.config, runs_of(store, sweep)
    return {
        "__typename": "Sweep",
        "id": f"sweep-{sweep.id}",
        "name": sweep.id,
        "displayName": sweep.display_name,
        "method": config.get("method"),
        "state": sweep.state,
        "description": config.get("description"),
        "config": sweep.text,
        "createdAt": sweep.created,
        "runCount": len(runs),
        "runCountExpected": len(sweep.combinations),
        "project": project_info(store, sweep.project),
        "runs": lambda **paging: page(runs, lambda run: run_view(store, run), **paging),
    }
