"""This process and a Ray cluster: how they meet, and what Ray's errors mean."""

from __future__ import annotations

import os
import socket
from typing import Any

from ablations.errors import ConfigError
from ablations.machine.child_process import ONE_THREAD
from ablations.machine.env_vars import set_environ
from ablations.scheduling.local import default_workers
from ablations.scheduling.worker_env import OWN_CLIENT
from ablations.store import records

CONNECT_SECONDS = 10.0


def loaded() -> Any:
    """Ray, whose import takes more than a second."""
    import ray

    return ray


def connect(address: str | None) -> None:
    """Connect this process to a cluster, or start one of this machine alone.

    Raises:
        ConfigError: Ray is not installed, or nobody answers.
    """
    try:
        ray = loaded()
    except ImportError as error:
        raise ConfigError(
            "--launcher ray needs Ray: install this package with its extra, "
            "metaformer-ablations[cluster]"
        ) from error
    said = "--ray-address" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options |= {"num_cpus": default_workers(), "include_dashboard": False}
    elif address != "auto":
        _reach(said, address)
    try:
        with set_environ({**ONE_THREAD, **OWN_CLIENT}):
            ray.init(address=address, **options)
    except Exception as error:  # whatever it finds wrong with address, version or token
        raise ConfigError(f"{said} {address}: {plain(error)}") from error


def _reach(said: str, address: str) -> None:
    """Raise ConfigError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    why = "that is no HOST:PORT"
    if host and port.isdigit() and 0 < int(port) < 65536:
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
            return
        except OSError as error:
            why = f"nobody answers there ({error.strerror or error})"
    raise ConfigError(
        f"{said} {address}: {why}; give the address that `ray start --head` printed, or auto"
    )


def loss(error: Exception, run_id: str, place: str) -> tuple[str, str, str]:
    """Kind of event, run id and cause, where a task has given nothing back."""
    from ray import exceptions

    if isinstance(error, exceptions.OutOfMemoryError):
        return "oom", run_id, f"Ray has ended its process, for {place} was short of memory"
    if isinstance(error, exceptions.RayTaskError):
        full = getattr(error.cause, "errno", None) in records.NO_SPACE_ERRORS
        return "refused" if full else "failed", run_id, f"on {place}: {plain(error)}"
    if isinstance(error, OSError):
        name = os.strerror(error.errno) if error.errno else str(error)
        return "refused", run_id, f"{error.filename or 'the folder of results'}: {name}"
    if isinstance(error, exceptions.TaskCancelledError):
        return "died", run_id, "it was ended"
    if isinstance(error, exceptions.WorkerCrashedError):
        return "died", run_id, f"its process on {place} ended"
    if isinstance(error, exceptions.TaskUnschedulableError):
        return "unstarted", run_id, f"{place} is gone"
    return "died", run_id, f"{place} is gone"


def gone(error: Exception) -> bool:
    """Whether an error of Ray's says that a node is dead, or not there yet."""
    from ray import exceptions

    return isinstance(error, exceptions.NodeDiedError | exceptions.TaskUnschedulableError)


def plain(error: Exception) -> str:
    """An error of Ray's in a line: the cause on the node, where there is one."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
