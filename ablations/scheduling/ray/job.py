"""A Ray task's life: one cell, in the folder of results where its node sees it, else on its own."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError
from ablations.machine.env_vars import set_environ
from ablations.scheduling.launcher import Event
from ablations.scheduling.ray.file_sync import Courier, Files, unpack, whole
from ablations.scheduling.worker_env import OWN_CLIENT
from ablations.store.records import SCHEMA_VERSION
from ablations.training import code_hash

Letter = tuple[str, bytes]  # the errand that it is of, and what it says, pickled


@dataclass(frozen=True)
class Errand:
    """A cell that is sent to a node.

    Args:
        key: Tells it from other tries of the cell.
        cell: The cell.
        where: The folder that the runner works in, from which relative paths are meant.
        results: The folder of all runs, as the runner names it.
        shared: Whether the node sees that folder.
        reuse: Whether a record that is there already is enough.
        files: Where it does not: what the cell goes on from.
        mixers: The runner's versions of the cell's token mixers, of plugins.
        variables: Environment variables, such as the key of the tracker. They come as an argument
            and not as Ray's runtime environment, which everybody on the cluster can read.
    """

    key: str
    cell: RunConfig
    where: str
    results: str
    shared: bool
    reuse: bool
    files: Files = field(default_factory=dict)
    mixers: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sight:
    """What a node is like.

    Args:
        shared: Whether it sees the folder of results.
        code: Versions of what computes, as ``code.versions``.
        schema: The version of the records that it writes.
    """

    shared: bool
    code: Mapping[str, str]
    schema: int


def look(log: str, word: str) -> Sight:
    """See what this node is like.

    Args:
        log: A file in the runner's folder of results.
        word: What the runner has just written there.
    """
    try:
        shared = word in Path(log).read_text(encoding="utf-8", errors="replace")
    except OSError:
        shared = False
    return Sight(shared, code_hash.current_hashes(), SCHEMA_VERSION)


def carry_out(errand: Errand, post: Callable[[Letter], object]) -> tuple[Event, Files | None]:
    """Train the cell; what came of it, and all its files where the folder of results is elsewhere.

    Args:
        errand: The cell.
        post: Called with what happens on the way.
    """
    from ablations.scheduling.worker import trained

    def tell(event: Event) -> None:
        # The runner's mailbox may be gone; what was trained is not lost with it.
        with contextlib.suppress(Exception):
            post((errand.key, pickle.dumps(event)))

    cell = errand.cell
    with set_environ({**OWN_CLIENT, **errand.variables}), contextlib.ExitStack() as folder:
        if Path(errand.where).is_dir():
            folder.enter_context(contextlib.chdir(errand.where))
        tell(Event("began", cell.run_id))
        try:
            if why := _other_mixers(errand):
                return Event("refused", cell.run_id, why), None
            if errand.shared:
                return trained(cell, Path(errand.results), errand.reuse, tell), None
            with tempfile.TemporaryDirectory(prefix="ablations-") as scratch:
                return _away(errand, Path(scratch), tell)
        except KeyboardInterrupt:
            return Event("died", cell.run_id, "it was ended"), None


def _other_mixers(errand: Errand) -> str | None:
    """Why a cell cannot be trained on this node: it has other code of a plugin's mixer."""
    if not errand.mixers:
        return None
    system = errand.cell.system
    with contextlib.suppress(ConfigError):  # what keeps a plugin from being imported is told later
        plugins.load_plugins(system.plugins)
    why = plugins.changed_mixers(errand.mixers, errand.cell.model.mixers)
    return f"{why}: this node has other code of it than the runner" if why else None


def _away(errand: Errand, scratch: Path, tell: Callable[[Event], None]) -> tuple[Event, Files]:
    from ablations.scheduling.worker import trained

    cell = errand.cell

    def on_the_way(event: Event) -> None:
        if event.kind == "unsent":  # its files come back with the others
            there = Path(errand.results, event.body.relative_to(scratch))
            event = replace(event, body=there)
        tell(event)

    unpack(errand.files, scratch)
    try:
        with Courier(scratch, cell.run_id, lambda files: tell(Event("files", cell.run_id, files))):
            event = trained(cell, scratch, errand.reuse, on_the_way)
    except KeyboardInterrupt:
        event = Event("died", cell.run_id, "it was ended")
    return event, whole(scratch)
