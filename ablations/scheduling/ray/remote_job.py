"""What runs on a Ray node: one training run, or the inspection of the node itself."""

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
from ablations.scheduling import events
from ablations.scheduling.events import RunEnd, RunEvent
from ablations.scheduling.ray.file_sync import Files, FileSync, all_files, write_files
from ablations.scheduling.worker_env import NO_WANDB_IDENTITY
from ablations.store.records import SCHEMA_VERSION
from ablations.training import code_hash

Message = tuple[str, bytes]  # the key of a remote job, and a pickled event


@dataclass(frozen=True)
class RemoteJob:
    """An attempt to train a run on a node.

    Args:
        key: Tells this attempt from others of the run.
        run: The run.
        folder: The runner's working directory, to which relative paths refer.
        results: The folder of all runs, as the runner names it.
        shared: Whether the node mounts that folder.
        reuse: Whether a record that is already there is enough.
        files: If it does not: what the run resumes from.
        mixers: The runner's versions of the run's plugin mixers.
        variables: Environment variables, such as the W&B API key. They are an argument, because
            everybody on the cluster can read Ray's runtime environments.
    """

    key: str
    run: RunConfig
    folder: str
    results: str
    shared: bool
    reuse: bool
    files: Files = field(default_factory=dict)
    mixers: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeInfo:
    """What the runner has to know about a node.

    Args:
        shared: Whether it mounts the results folder.
        code: Its versions of the code that computes, as ``code_hash.current_hashes``.
        schema: The version of the records that it writes.
    """

    shared: bool
    code: Mapping[str, str]
    schema: int


def inspect_node(log: str, token: str) -> NodeInfo:
    """Inspect the node that this runs on.

    Args:
        log: A file in the runner's results folder.
        token: What the runner has just written there.
    """
    try:
        shared = token in Path(log).read_text(encoding="utf-8", errors="replace")
    except OSError:
        shared = False
    return NodeInfo(shared, code_hash.current_hashes(), SCHEMA_VERSION)


def run_remote_job(
    job: RemoteJob, post: Callable[[Message], object]
) -> tuple[RunEnd, Files | None]:
    """Train the run of a job.

    Args:
        job: The job.
        post: Called with messages while the run trains.

    Returns:
        How the run ended; and all its files, if the node does not mount the results folder.
    """
    from ablations.scheduling.local_worker import train_run

    def send(event: RunEvent) -> None:
        # If the runner's mailbox is gone, training still goes on.
        with contextlib.suppress(Exception):
            post((job.key, pickle.dumps(event)))

    run = job.run
    with set_environ({**NO_WANDB_IDENTITY, **job.variables}), contextlib.ExitStack() as stack:
        if Path(job.folder).is_dir():
            stack.enter_context(contextlib.chdir(job.folder))
        send(events.Started(run.run_id))
        try:
            if reason := _changed_mixers(job):
                return events.Refused(run.run_id, reason), None
            if job.shared:
                return train_run(run, Path(job.results), job.reuse, send), None
            with tempfile.TemporaryDirectory(prefix="ablations-") as scratch:
                return _train_unshared(job, Path(scratch), send)
        except KeyboardInterrupt:
            return events.WorkerDied(run.run_id, "it was cancelled"), None


def _changed_mixers(job: RemoteJob) -> str | None:
    """Why this node has other plugin code than the runner; None if it has the same."""
    if not job.mixers:
        return None
    with contextlib.suppress(ConfigError):  # training reports a plugin that cannot be imported
        plugins.load_plugins(job.run.system.plugins)
    reason = plugins.changed_mixers(job.mixers, job.run.model.mixers)
    return f"{reason}: this node has other code of it than the runner" if reason else None


def _train_unshared(
    job: RemoteJob, scratch: Path, send: Callable[[RunEvent], None]
) -> tuple[RunEnd, Files]:
    """Train in a temporary results folder, and send the run's files to the runner."""
    from ablations.scheduling.local_worker import train_run

    run_id = job.run.run_id

    def send_with_path(event: RunEvent) -> None:
        if isinstance(event, events.Unsynced):  # the folder will be among the runner's files
            event = replace(event, folder=Path(job.results, event.folder.relative_to(scratch)))
        send(event)

    write_files(job.files, scratch)
    end: RunEnd
    try:
        with FileSync(scratch, run_id, lambda files: send(events.FilesChanged(run_id, files))):
            end = train_run(job.run, scratch, job.reuse, send_with_path)
    except KeyboardInterrupt:
        end = events.WorkerDied(run_id, "it was cancelled")
    return end, all_files(scratch)
