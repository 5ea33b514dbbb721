"""The user, the entity and the projects."""

from __future__ import annotations

from tests.wandb_server.graphql import Json, RefusedError
from tests.wandb_server.state import Store


def viewer(store: Store) -> Json:
    """The user of the API key."""
    return {
        "id": "VXNlcjox",
        "name": store.entity,
        "username": store.entity,
        "email": f"{store.entity}@example.org",
        "entity": store.entity,
        "teams": {"edges": [{"node": {"name": store.entity}}]},
    }


def entity_view(store: Store, name: str) -> Json | None:
    """The one entity, or null."""
    if name != store.entity:
        return None
    return {"id": "RW50aXR5OjE=", "name": name, "organization": None}


def known_project(store: Store, given: Json, key: str = "projectName") -> str:
    """The project that a mutation names; it is created if it is new. The entity must exist."""
    entity = given.get("entityName") or store.entity
    if entity != store.entity:
        raise RefusedError(f"entity {entity} not found", 404)
    name = given.get(key) or "uncategorized"
    if name not in store.projects:
        store.projects.append(name)
    return name


def project_id(store: Store, name: str) -> str:
    """The project's number."""
    return str(store.projects.index(name) + 1)


def project_info(store: Store, name: str) -> Json:
    """The fields of a project."""
    return {
        "id": f"project-{name}",
        "internalId": project_id(store, name),
        "name": name,
        "entity": entity_view(store, store.entity),
    }
