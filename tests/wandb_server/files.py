"""Files: their fields, and the addresses for uploads and downloads."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.wandb_server.graphql import Json, RefusedError
from tests.wandb_server.queries import page
from tests.wandb_server.state import Run, Store, now


def find_run(store: Store, name: str) -> Run:
    """A run that must exist."""
    if name not in store.runs:
        raise RefusedError(f"run {name} not found", 404)
    return store.runs[name]


def file_view(store: Store, shelf: str, owner: str, name: str, size: int = 0) -> Json:
    """The fields of a file that exists or is about to be uploaded."""
    url = f"{store.url}/storage/{shelf}/{owner}/{quote(name)}"
    return {
        "__typename": "File",
        "id": f"{shelf}-{owner}-{name}",
        "name": name,
        "url": lambda **_: url,
        "directUrl": url,
        "uploadUrl": url,
        "storagePath": f"{owner}/{name}",
        "sizeBytes": str(size),
        "updatedAt": now(),
    }


def shelf_of(store: Store, path: str) -> tuple[dict[str, bytes], str]:
    """The dict and the key that an address for uploads and downloads stands for."""
    shelf, owner, name = path.removeprefix("/storage/").split("/", 2)
    if shelf == "runs":
        return find_run(store, owner).files, name
    artifact = store.artifacts[owner]
    return (artifact.manifest if shelf == "manifests" else artifact.files), name


def run_files(store: Store, run: Run) -> Json:
    """The fields of a run that concern its files."""

    def chosen(names: list[str] | None = None, pattern: str | None = None, **paging: Any) -> Json:
        assert not pattern, "patterns are not served here"
        found = [name for name in sorted(run.files) if not names or name in names]
        return page(
            found,
            lambda name: file_view(store, "runs", run.id, name, len(run.files[name])),
            **paging,
        )

    return {"files": chosen, "fileCount": len(run.files)}


def create_run_files(store: Store, given: Json) -> Json:
    """The upload addresses of the files of a run."""
    run = find_run(store, given["runName"])
    files = [file_view(store, "runs", run.id, name) for name in given["files"]]
    return {"runID": f"run-{run.id}", "files": files}


MUTATIONS = {"createRunFiles": create_run_files}
