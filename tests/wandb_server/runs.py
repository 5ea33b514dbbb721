"""Runs: create, change, stream and read them."""

from __future__ import annotations

import json
import secrets
import sys
import time
from typing import Any

from tests.wandb_server.artifacts import artifact_page
from tests.wandb_server.files import find_run, run_files
from tests.wandb_server.graphql import Json
from tests.wandb_server.owners import known_project, project_id, project_info, viewer
from tests.wandb_server.state import Run, Store

# Fields that the client may change -> attributes of a Run.
CHANGES = {
    "displayName": "name",
    "groupName": "group",
    "jobType": "job_type",
    "notes": "notes",
    "tags": "tags",
    "sweep": "sweep",
}


def new_run(store: Store, project: str, sweep: str | None, name: str | None = None) -> Run:
    """An empty run; its display name is its number."""
    shown = f"run-{len(store.runs) + 1}"
    run = Run(name or secrets.token_hex(4), project, store, shown, sweep=sweep)
    store.runs[run.id] = run
    return run


def upsert_bucket(store: Store, given: Json) -> Json:
    """Create a run, change it, or restart one that has ended."""
    name = given.get("name")
    if given.get("id"):
        run, inserted = find_run(store, given["id"].removeprefix("run-")), False
    elif name in store.runs:
        run, inserted = store.runs[name], False
    else:
        project = known_project(store, given, "modelName")
        run, inserted = new_run(store, project, given.get("sweep"), name), True
    # Only a start names the machine; what follows, and the Api, change a run as it is.
    if given.get("host") or not run.started:
        run.begin(started=True)
    run.heard = time.monotonic()
    change(run, given)
    # Of resumed rows the client asks beforehand; a count here would be where a run that starts
    # again without ``resume`` goes on, and W&B says that such a run writes over the old one.
    return {"bucket": {**run_view(store, run), "historyLineCount": 0}, "inserted": inserted}


def change(run: Run, given: Json) -> None:
    """Set the given fields; keep the others."""
    for key, name in CHANGES.items():
        if given.get(key) is not None:
            setattr(run, name, given[key])
    if given.get("config") is not None:
        run.raw_config = json.loads(given["config"])
    if given.get("summaryMetrics") is not None:
        run.summary = json.loads(given["summaryMetrics"])


def delete_run(store: Store, given: Json) -> Json:
    """``Run.delete``."""
    store.runs.pop(given["id"].removeprefix("run-"), None)
    return {}


MUTATIONS = {"upsertBucket": upsert_bucket, "deleteRun": delete_run}


# --- the file stream ----------------------------------------------------------------------------


def file_stream(store: Store, name: str, body: Json) -> Json:
    """Rows, summary, logs and the end of a run."""
    store.requests.append("file_stream")
    with store.lock:
        run = find_run(store, name)
        run.heard = time.monotonic()
        for file, chunk in body.get("files", {}).items():
            stream_into(run, file, chunk["offset"], chunk["content"])
        run.preempting |= bool(body.get("preempting"))
        if body.get("complete"):
            run.exit_code = body.get("exitcode", 0)
    return {"exitcode": None, "limits": {}}


def stream_into(run: Run, file: str, offset: int, lines: list[str]) -> None:
    """Store lines of a streamed file at their offset: a restarted run overwrites earlier lines."""
    if file == "wandb-summary.json":
        run.summary = json.loads(lines[-1])
    elif file == "wandb-history.jsonl":
        run.history[offset:] = map(json.loads, lines)
    elif file == "wandb-events.jsonl":
        run.events[offset:] = map(json.loads, lines)
    elif file == "output.log":
        run.logs[offset : offset + len(lines)] = lines


# --- reading ------------------------------------------------------------------------------------


def run_view(store: Store, run: Run) -> Json:
    """A run's fields."""
    own = run.own_config
    made = [one for one in store.artifacts.values() if one.run == run.id]
    used = [store.artifacts[one] for one in run.used_artifacts]
    return {
        "id": f"run-{run.id}",
        "name": run.id,
        "projectId": project_id(store, run.project),
        "project": project_info(store, run.project),
        "user": viewer(store),
        "displayName": run.name,
        "group": run.group,
        "jobType": run.job_type,
        "tags": run.tags,
        "notes": run.notes,
        "description": run.notes,
        "state": run.state,
        "sweepName": run.sweep,
        "createdAt": run.created,
        "config": json.dumps(run.raw_config),
        "wandbConfig": lambda keys: json.dumps({key: own[key] for key in keys if key in own}),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": json.dumps(run.events[-1] if run.events else {}),
        **history_view(run),
        **run_files(store, run),
        "outputArtifacts": lambda **paging: artifact_page(store, made, **paging),
        "inputArtifacts": lambda **paging: artifact_page(store, used, **paging),
    }


def history_view(run: Run) -> Json:
    """The history of a run: as lines, as rows that have all given keys, as counts and tails."""
    rows = run.history

    def between(min_step: int = 0, max_step: int = sys.maxsize, **_: Any) -> list[str]:
        return [json.dumps(row) for row in rows if min_step <= step(row) < max_step]

    keys = {key: {"typeCounts": [{"type": "number"}]} for row in rows for key in row}
    return {
        "history": between,
        "sampledHistory": lambda specs: [sample(rows, json.loads(spec)) for spec in specs],
        "parquetHistory": lambda **_: {
            "parquetUrls": [],
            "liveData": [{"_step": step(row)} for row in rows],
        },
        "historyKeys": {"lastStep": max(map(step, rows), default=-1), "keys": keys, "sets": []},
        "historyTail": json.dumps([json.dumps(row) for row in rows[-1:]]),
        "eventsTail": json.dumps([json.dumps(row) for row in run.events[-1:]]),
        "historyLineCount": len(rows),
        "eventsLineCount": len(run.events),
        "logLineCount": len(run.logs),
    }


def step(row: Json) -> int:
    """The step of a row of the history."""
    number: int = row.get("_step", 0)
    return number


def sample(rows: list[Json], spec: Json) -> list[Json]:
    """The rows that have all given keys, reduced to these keys."""
    keys = spec.get("keys", [])
    low, high = spec.get("minStep", 0), spec.get("maxStep", sys.maxsize)
    have = [row for row in rows if all(key in row for key in keys)]
    return [{key: row[key] for key in keys} for row in have if low <= step(row) <= high]
