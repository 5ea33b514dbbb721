"""The fields of Query and Mutation, and the answer to a request."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.wandb_server import agents, artifacts, files, runs, sweeps
from tests.wandb_server.graphql import Document, Json
from tests.wandb_server.owners import entity_view, project_info, viewer
from tests.wandb_server.queries import matches, ordered, page
from tests.wandb_server.state import Store

# Features that the server announces; without a feature the client uses an older protocol.
FEATURES = ("LARGE_FILENAMES",)

# Fields with the same value in all objects.
CONSTANTS: Json = {
    "bestLoss": None,
    "clientMutationId": None,
    "commit": None,
    "controller": None,
    "earlyStopJobRunning": False,
    "flags": "{}",
    "heartbeatAt": None,
    "historyStep": None,
    "md5": None,
    "mimetype": None,
    "readOnly": False,
    "scheduler": None,
    "tags": [],
    "ttlDurationSeconds": -2,
    "ttlIsInherited": True,
    "updatedAt": None,
    "uploadHeaders": [],
    "uploadMultipartUrls": None,
}

MUTATIONS: dict[str, Callable[[Store, Json], Json]] = {
    **files.MUTATIONS,
    **artifacts.MUTATIONS,
    **runs.MUTATIONS,
    **sweeps.MUTATIONS,
    **agents.MUTATIONS,
}


def answer(store: Store, body: Json) -> Json:
    """The answer to one request."""
    document = Document(body["query"], body.get("variables") or {}, CONSTANTS)
    store.requests.append(document.name)
    with store.lock:
        data = document.answer(mutations(store) if document.kind == "mutation" else queries(store))
    store.unknown |= document.unknown
    return data


def mutations(store: Store) -> Json:
    """The fields of Mutation, each with the one argument ``input``."""

    def taking_input(mutation: Callable[[Store, Json], Json]) -> Callable[..., Json]:
        return lambda **arguments: mutation(store, arguments["input"])

    return {name: taking_input(mutation) for name, mutation in MUTATIONS.items()}


def queries(store: Store) -> Json:
    """The fields of Query."""

    def artifact(**arguments: str) -> Json | None:
        found = store.artifacts.get(arguments["id"])
        return artifacts.artifact_view(store, found) if found else None

    return {
        "viewer": viewer(store),
        "serverInfo": {"features": [{"name": name, "isEnabled": True} for name in FEATURES]},
        "entity": partial(entity_view, store),
        "project": partial(project, store),
        "model": partial(project, store),  # its name of old
        "artifact": artifact,
    }


def project(store: Store, name: str, entity_name: str | None = None) -> Json | None:
    """A project with its runs, sweeps and artifacts, or null."""
    if name not in store.projects or (entity_name or store.entity) != store.entity:
        return None

    def select(filters: str | None = None, order: str | None = None, **paging: Any) -> Json:
        wanted = json.loads(filters or "{}")
        found = [run for run in store.runs.values() if run.project == name]
        found = ordered([run for run in found if matches(run, wanted)], order)
        return page(found, lambda run: runs.run_view(store, run), **paging)

    def run(**arguments: str) -> Json | None:
        found = store.runs.get(arguments["name"])
        return runs.run_view(store, found) if found and found.project == name else None

    def sweep(sweep_name: str) -> Json | None:
        found = store.sweeps.get(sweep_name)
        return sweeps.sweep_view(store, found) if found and found.project == name else None

    return {
        **project_info(store, name),
        "runCount": lambda **wanted: select(**wanted)["totalCount"],
        "runs": select,
        "run": run,
        "bucket": run,
        "sweep": sweep,
        **artifacts.project_artifacts(store, name),
    }
