"""Connects to a Ray cluster, and translates Ray's errors."""

from __future__ import annotations

import os
import socket
from typing import Any

from ablations.errors import ConfigError
from ablations.machine.child_process import ONE_THREAD
from ablations.machine.env_vars import set_environ
from ablations.scheduling.events import Failed, NotStarted, OutOfMemory, Refused, RunEnd, WorkerDied
from ablations.scheduling.gpus import default_workers
from ablations.scheduling.worker_env import NO_WANDB_IDENTITY
from ablations.store import storage

CONNECT_SECONDS = 10.0


def import_ray() -> Any:
    """The package ``ray``; importing it takes more than a second."""
    import ray

    return ray


def connect(address: str | None) -> None:
    """Connect this process to a cluster, or start one on this machine alone.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; None for RAY_ADDRESS, else for a
            cluster of this machine that ends with this process.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    try:
        ray = import_ray()
    except ImportError as error:
        raise ConfigError(
            "--launcher ray needs Ray: install this package with its extra, "
            "metaformer-ablations[cluster]"
        ) from error
    source = "--ray-address" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {"num_cpus": default_workers(), "include_dashboard": False}
    elif address != "auto":
        _check_reachable(source, address)
    try:
        with set_environ({**ONE_THREAD, **NO_WANDB_IDENTITY}):
            ray.init(address=address, **options)
    except Exception as error:  # a wrong address, version or token
        raise ConfigError(f"{source} {address}: {one_line(error)}") from error


def _check_reachable(source: str, address: str) -> None:
    """Raise ConfigError if nothing listens at an address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    reason = "that is no HOST:PORT"
    if host and port.isdigit() and 0 < int(port) < 65536:
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            return
        except OSError as error:
            reason = f"nothing answers there ({error.strerror or error})"
    raise ConfigError(
        f"{source} {address}: {reason}; give the address that `ray start --head` printed, or auto"
    )


def end_of_failed_task(error: Exception, run_id: str, location: str) -> RunEnd:
    """What happened to a run whose task raised an error instead of returning an event.

    Args:
        error: The error that Ray, or writing the run's files, raised.
        run_id: The run.
        location: The node.
    """
    from ray import exceptions

    match error:
        case exceptions.OutOfMemoryError():
            reason = f"Ray killed its process because {location} ran out of memory"
            return OutOfMemory(run_id, reason)
        case exceptions.RayTaskError():
            full_disk = getattr(error.cause, "errno", None) in storage.NO_SPACE_ERRORS
            kind = Refused if full_disk else Failed
            return kind(run_id, f"on {location}: {one_line(error)}")
        case OSError():
            reason = os.strerror(error.errno) if error.errno else str(error)
            return Refused(run_id, f"{error.filename or 'the results folder'}: {reason}")
        case exceptions.TaskCancelledError():
            return WorkerDied(run_id, "it was cancelled")
        case exceptions.WorkerCrashedError():
            return WorkerDied(run_id, f"its process on {location} ended")
        case exceptions.TaskUnschedulableError():
            return NotStarted(run_id, f"{location} is gone")
    return WorkerDied(run_id, f"{location} is gone")


def is_node_gone(error: Exception) -> bool:
    """Whether an error of Ray means that a node is dead, or not yet known."""
    from ray import exceptions

    return isinstance(error, exceptions.NodeDiedError | exceptions.TaskUnschedulableError)


def one_line(error: Exception) -> str:
    """An error of Ray in one line: its cause on the node if it has one."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
