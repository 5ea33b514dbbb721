"""The data and the settings of the server: attributes that tests read and set."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import yaml

from tests.wandb_server.graphql import Json


def now() -> str:
    """The time as GraphQL's DateTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All that is known, by id and in the order of making.

    Attributes:
        requests: The name of each request so far; a fault's name in the place of what it hit.
        unknown: Questions that were answered with null because nothing here knows an answer.
        errors: Tracebacks of handlers.
        fault: "500", "rubbish" or "401": the answer to everything from now on.
        delay: Seconds before any answer.
        heartbeat_limit: Seconds of silence after which a run has crashed.
        runs_at_once: How many runs an idle agent gets.
        requeued_args_have_wandb_key: Whether a preempted run comes again with an argument
            ``_wandb``, as W&B's do.
    """

    def __init__(self, entity: str = "lab", project: str = "ablations") -> None:
        self.entity, self.project = entity, project
        self.projects = [project]
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.agents: dict[str, Agent] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.requests: list[str] = []
        self.unknown: set[str] = set()
        self.errors: list[str] = []
        self.fault: str | None = None
        self.delay = 0.0
        self.heartbeat_limit = 300.0
        self.runs_at_once = 1
        self.requeued_args_have_wandb_key = False
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """The base URL, which is stable over outages."""
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Run:
    """One run; ``state`` follows from the requests of its client."""

    id: str
    project: str
    store: Store = field(repr=False)
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)
    raw_config: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    history: list[Json] = field(default_factory=list)
    events: list[Json] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    used_artifacts: list[str] = field(default_factory=list)
    sweep: str | None = None
    args: Json = field(default_factory=dict)
    started: bool = False
    starts: int = 0
    lost: bool = False
    preempting: bool = False
    exit_code: int | None = None
    created: str = field(default_factory=now)
    heard: float = field(default_factory=time.monotonic)

    @property
    def config(self) -> Json:
        """The user's config, without the client's wrapping and its own key."""
        return {
            key: value.get("value") if isinstance(value, dict) else value
            for key, value in self.raw_config.items()
            if key != "_wandb"
        }

    @property
    def own_config(self) -> Json:
        """The client's own part of the config."""
        own: Json = self.raw_config.get("_wandb", {}).get("value", {})
        return own

    @property
    def state(self) -> str:
        """As W&B names it: a non-zero exit after ``mark_preempting`` is no failure."""
        if self.exit_code is not None:
            over = "preempted" if self.preempting else "failed"
            return "finished" if self.exit_code == 0 else over
        if self.lost or time.monotonic() - self.heard > self.store.heartbeat_limit:
            return "preempted" if self.preempting else "crashed"
        if not self.started:
            return "pending"
        return "preempting" if self.preempting else "running"

    def begin(self, started: bool) -> None:
        """It is to run, for the first time or again; ``started`` as soon as it speaks itself."""
        self.started, self.heard = started, time.monotonic()
        self.lost = self.preempting = False
        self.exit_code = None


@dataclass
class Sweep:
    """A sweep; each combination of its parameters is started once, in W&B's order."""

    id: str
    project: str
    text: str = "{}"
    display_name: str | None = None
    state: str = "PENDING"
    combinations: list[Json] = field(default_factory=list)
    handed_out: int = 0
    created: str = field(default_factory=now)

    @property
    def config(self) -> Json:
        """The YAML file as the client sent it."""
        config: Json = yaml.safe_load(self.text)
        return config


@dataclass
class Agent:
    """One ``wandb agent``: its runs that had not ended at its last heartbeat."""

    id: str
    sweep: str
    runs: set[str] = field(default_factory=set)


@dataclass
class Artifact:
    """One version of an artifact; ``files`` by name, as the manifest lists them."""

    id: str
    type: str
    collection: str
    project: str
    digest: str
    run: str | None
    aliases: list[str]
    metadata: str | None = None
    description: str | None = None
    version: int | None = None
    state: str = "PENDING"
    manifest: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    created: str = field(default_factory=now)
