"""Artifacts: versions of collections, created in steps and found by ``name:alias``."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from tests.wandb_server.files import file_view, find_run
from tests.wandb_server.graphql import Json
from tests.wandb_server.owners import known_project, project_info
from tests.wandb_server.queries import page
from tests.wandb_server.state import Artifact, Store

MANIFEST = "wandb_manifest.json"


def versions(store: Store, project: str, collection: str) -> list[Artifact]:
    """The committed versions of a collection, oldest first."""
    return [
        one
        for one in store.artifacts.values()
        if (one.project, one.collection, one.state) == (project, collection, "COMMITTED")
    ]


def find(store: Store, project: str, name: str) -> Artifact | None:
    """The version that ``name:alias`` or ``name:v3`` means."""
    collection, _, alias = name.partition(":")
    for one in versions(store, project, collection):
        if (alias or "latest") in [*one.aliases, f"v{one.version}"]:
            return one
    return None


# --- writing: create, upload the manifest, upload the files, commit -----------------------------


def create_artifact(store: Store, given: Json) -> Json:
    """A new version, or the newest one if it has the same content."""
    collection = given.get("artifactCollectionName") or given["artifactCollectionNames"][0]
    project = known_project(store, given)
    aliases = [one["alias"] for one in given.get("aliases") or []]
    latest = next(reversed(versions(store, project, collection)), None)
    if latest and latest.digest == given["digest"]:
        artifact = latest
        give_aliases(store, artifact, aliases)
    else:
        number = len(store.artifacts) + 1
        artifact = Artifact(
            id=base64.b64encode(f"Artifact:{number}".encode()).decode(),
            type=given["artifactTypeName"],
            collection=collection,
            project=project,
            digest=given["digest"],
            run=given.get("runName"),
            aliases=aliases,
            metadata=given.get("metadata"),
            description=given.get("description"),
        )
        store.artifacts[artifact.id] = artifact
    view = artifact_view(store, artifact)
    view["artifactSequence"] |= {"latestArtifact": latest and artifact_view(store, latest)}
    return {"artifact": view}


def give_aliases(store: Store, artifact: Artifact, aliases: Iterable[str]) -> None:
    """Move aliases to a version: each alias has one version of a collection."""
    new = set(aliases)
    for other in versions(store, artifact.project, artifact.collection):
        other.aliases = [alias for alias in other.aliases if alias not in new]
    artifact.aliases = sorted({*artifact.aliases, *new})


def create_artifact_manifest(store: Store, given: Json) -> Json:
    """The upload address of the manifest of an artifact."""
    owner = given["artifactID"]
    file = file_view(store, "manifests", owner, given["name"])
    return {"artifactManifest": {"id": owner, "file": file}}


def create_artifact_files(store: Store, given: Json) -> Json:
    """The upload addresses of the files of an artifact."""

    def view(spec: Json) -> Json:
        owner = spec["artifactID"]
        file = file_view(store, "artifacts", owner, spec["name"])
        return {**file, "artifact": {"id": owner}}

    specs = given["artifactFiles"]
    return {"files": page(specs, view, first=len(specs))}


def commit_artifact(store: Store, given: Json) -> Json:
    """Mark an artifact as complete."""
    artifact = store.artifacts[given["artifactID"]]
    artifact.version = len(versions(store, artifact.project, artifact.collection))
    artifact.state = "COMMITTED"
    give_aliases(store, artifact, [*artifact.aliases, "latest"])
    return {"artifact": artifact_view(store, artifact)}


def use_artifact(store: Store, given: Json) -> Json:
    """Record that a run reads an artifact."""
    artifact = store.artifacts[given["artifactID"]]
    find_run(store, given["runName"]).used_artifacts.append(artifact.id)
    return {"artifact": artifact_view(store, artifact)}


MUTATIONS = {
    "createArtifact": create_artifact,
    "createArtifactManifest": create_artifact_manifest,
    "createArtifactFiles": create_artifact_files,
    "commitArtifact": commit_artifact,
    "useArtifact": use_artifact,
}


# --- reading ------------------------------------------------------------------------------------


def artifact_view(store: Store, artifact: Artifact) -> Json:
    """An artifact's fields."""
    sequence = {
        "__typename": "ArtifactSequence",
        "name": artifact.collection,
        "project": project_info(store, artifact.project),
    }
    aliases = [
        {"__typename": "ArtifactAlias", "id": name, "alias": name, "artifactCollection": sequence}
        for name in [*artifact.aliases, f"v{artifact.version}"]
    ]
    manifest = file_view(store, "manifests", artifact.id, MANIFEST)
    return {
        "__typename": "Artifact",
        "id": artifact.id,
        "artifactSequence": dict(sequence),
        "versionIndex": artifact.version,
        "artifactType": {"name": artifact.type},
        "description": artifact.description,
        "metadata": artifact.metadata,
        "state": artifact.state,
        "size": sum(map(len, artifact.files.values())),
        "digest": artifact.digest,
        "commitHash": artifact.id,
        "fileCount": len(artifact.files),
        "createdAt": artifact.created,
        "aliases": aliases,
        "currentManifest": {"id": artifact.id, "file": manifest},
    }


def artifact_page(store: Store, artifacts: Iterable[Artifact], **paging: Any) -> Json:
    """A connection of artifacts."""
    return page(list(artifacts), lambda one: artifact_view(store, one), **paging)


def project_artifacts(store: Store, project: str) -> Json:
    """The fields of a project that concern artifacts."""

    def artifact(name: str) -> Json | None:
        found = find(store, project, name)
        return artifact_view(store, found) if found else None

    def membership(name: str) -> Json | None:
        found = find(store, project, name)
        if found is None:
            return None
        view = artifact_view(store, found)

        def file(name: str) -> Json:
            return file_view(store, "artifacts", found.id, name)

        return {
            **view,
            "__typename": "ArtifactCollectionMembership",
            "artifact": view,
            "artifactCollection": view["artifactSequence"],
            "files": lambda **paging: page(list(found.files), file, **paging),
        }

    def collection(name: str) -> Json:
        return {
            "__typename": "ArtifactSequence",
            "artifactMembership": lambda alias_name: membership(f"{name}:{alias_name}"),
        }

    return {
        "artifact": artifact,
        "artifactCollection": collection,
        "artifactCollectionMembership": membership,
    }
