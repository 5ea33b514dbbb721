"""Trains runs as tasks of a Ray cluster.

Ray starts, watches and ends processes. Which run is tried on which node, and whether it is retried,
is decided by the scheduler. On a node that mounts the results folder a task works in that folder
like a local worker. For other nodes the runner holds the lease of the run, and the task sends back
what it writes, checkpoints included.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.errors import BusyError, ConfigError, LeaseError, LeaseLostError
from ablations.machine.files import open_append
from ablations.scheduling import events
from ablations.scheduling.events import Event, RunEnd, RunEvent
from ablations.scheduling.launcher import GRACE_SECONDS, LOG
from ablations.scheduling.ray import file_sync
from ablations.scheduling.ray.connection import (
    connect,
    end_of_failed_task,
    import_ray,
    is_node_gone,
    one_line,
)
from ablations.scheduling.ray.remote_job import (
    NodeInfo,
    RemoteJob,
    inspect_node,
    run_remote_job,
)
from ablations.scheduling.ray.resources import Resources, capacity, run_resources
from ablations.scheduling.worker_env import wandb_variables
from ablations.store import leases, records, run_progress
from ablations.store.leases import Lease
from ablations.training import code_hash

POLL_SECONDS = 2.0  # between two looks at the nodes of the cluster
INSPECT_SECONDS = 120.0  # that the first nodes have to answer


@dataclass(eq=False)
class Node:
    """A node of the cluster.

    Args:
        id: Its id in Ray.
        location: Its name for people.
        resources: What Ray gives to tasks there.
        inspection: The task that inspects it, until it has answered; until then it gets no runs.
        info: Its first answer.
    """

    id: str
    location: str
    resources: Resources
    inspection: Any = None
    info: NodeInfo | None = None


@dataclass(eq=False)
class RaySlot:
    """Room for one run on a node.

    Args:
        node: The node.
        location: Its name.
        device: The same, with the slot's number if a run has GPUs for itself.
        run: The run that occupies it.
        key: The key of its remote job.
        ref: Ray's reference to the result of its task.
        lease: The lease of the run, if the node does not mount the results folder.
        kill_at: When to kill a task that was asked to end.
    """

    node: Node
    location: str
    device: str
    run: RunConfig | None = None
    key: str = ""
    ref: Any = None
    lease: Lease | None = None
    kill_at: float | None = None


class RayLauncher:
    """Trains runs on the nodes of a Ray cluster.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; None for RAY_ADDRESS, else for a
            cluster of this machine alone that ends with the runner.
        workers: Runs at once; None for as many as fit.
        workers_per_gpu: Runs on a GPU; None for one.
        memory: Bytes of memory that a run reserves; None for an estimate.
    """

    on_this_machine = False
    may_grow = True

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        workers_per_gpu: int | None = None,
        memory: float | None = None,
    ) -> None:
        self.address, self.workers = address, workers
        self.per_gpu, self.memory = workers_per_gpu or 1, memory
        self.max_runs = 0
        self._nodes: dict[str, Node] = {}
        self._slots: list[RaySlot] = []
        self._events = deque[Event]()
        self._polled = 0.0
        self._context = contextlib.ExitStack()

    def check(self, runs: Sequence[RunConfig]) -> None:
        """Raise ConfigError if runs on several GPUs shall share them."""
        if self.per_gpu > 1 and any(run.system.devices > 1 for run in runs):
            raise ConfigError(
                f"--workers-per-gpu {self.per_gpu}: runs on a Ray cluster share GPUs only where "
                "each has one, system.devices 1"
            )

    def start(self, runs: Sequence[RunConfig], results: Path, reuse: bool) -> None:
        """Connect, inspect the nodes, and make the mailbox for messages of tasks.

        Raises:
            ConfigError: Ray is not installed, nothing answers, or no node has room for a run.
        """
        self.results, self.reuse = results, reuse
        self.max_runs = min(self.workers or len(runs), len(runs))
        connect(self.address)
        ray = import_ray()
        self._context.callback(ray.shutdown)
        self._log_path = results.resolve() / LOG
        self._token = f"runner {secrets.token_hex(8)}"
        with self._open_log() as log:  # closed, so that NFS shows the line to other nodes
            log.write(f"{self._token} asks Ray nodes whether they see this file\n")
        gpus = bool(ray.cluster_resources().get("GPU"))
        systems = [run.system for run in runs]
        self._per_run = run_resources(systems, gpus, self.per_gpu, self.memory)
        self._inspect_nodes()
        # Ray reports dead workers on standard output, which belongs to our own results.
        log = self._context.enter_context(self._open_log())
        self._context.enter_context(contextlib.redirect_stdout(log))
        self._make_mailbox()

    def _open_log(self) -> TextIO:
        return os.fdopen(open_append(self._log_path), "a", encoding="utf-8")

    def _inspect_nodes(self) -> None:
        """Wait for the answers of the first nodes.

        Raises:
            ConfigError: None of them has room for a run.
        """
        self._poll_nodes()
        inspections = [node.inspection for node in self._nodes.values() if node.inspection]
        import_ray().wait(inspections, num_returns=len(inspections), timeout=INSPECT_SECONDS)
        self._poll_nodes()
        self._read_inspections()
        if self._slots:
            return
        for event in self._events:
            if isinstance(event, events.LocationUnusable):
                raise ConfigError(f"{event.location}: {event.reason}")
        if silent := [node.location for node in self._nodes.values() if node.inspection]:
            raise ConfigError(f"no answer in {INSPECT_SECONDS:g} seconds from {', '.join(silent)}")
        largest = max((node.resources for node in self._nodes.values()), key=Resources.size)
        raise ConfigError(
            f"no node of the Ray cluster has what a run takes, {self._per_run}: the largest has "
            f"{largest}"
        )

    def _make_mailbox(self) -> None:
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = import_ray()
        this_node = ray.get_runtime_context().get_node_id()
        near = NodeAffinitySchedulingStrategy(this_node, soft=True)
        options = {"num_cpus": 0, "scheduling_strategy": near, "max_restarts": -1}
        self._mailbox = Queue(actor_options=options)
        # A process keeps the GPU that it had first, so it must not be used for a second run.
        fresh = 1 if self._per_run.gpus else 0
        self._task = ray.remote(max_retries=0, max_calls=fresh)(_train)
        self._fresh_task = ray.remote(max_retries=0, max_calls=1)(_train)

    def slots(self) -> list[RaySlot]:
        """All slots on the current nodes, spread over them."""
        if time.monotonic() - self._polled > POLL_SECONDS:
            self._poll_nodes()
        self._read_inspections()
        return [slot for slot in self._slots if slot.run or not slot.node.inspection]

    def _poll_nodes(self) -> None:
        """Add new nodes, and forget those that have gone."""
        ray = import_ray()
        self._polled = time.monotonic()
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        for node_id in self._nodes.keys() - alive.keys():
            gone = self._nodes.pop(node_id)
            # A slot with a run stays until Ray reports the end of its task.
            self._slots = [slot for slot in self._slots if slot.node is not gone or slot.run]
        for node_id in alive.keys() - self._nodes.keys():
            location = f"node {alive[node_id]['NodeManagerHostname']} ({node_id[:6]})"
            resources = Resources.of_node(alive[node_id]["Resources"])
            self._nodes[node_id] = Node(node_id, location, resources)
            self._inspect(self._nodes[node_id])

    def _inspect(self, node: Node) -> None:
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": _on(node)}
        task = import_ray().remote(**options)(inspect_node)
        node.inspection = task.remote(str(self._log_path), self._token)

    def _read_inspections(self) -> None:
        """Give slots to the nodes that have answered and can train runs."""
        for node in self._nodes.values():
            if not node.inspection or not import_ray().wait([node.inspection], timeout=0)[0]:
                continue
            inspection, node.inspection = node.inspection, None
            try:
                info: NodeInfo = import_ray().get(inspection)
            except Exception as error:  # whatever keeps a task from running there
                if node.info or is_node_gone(error):
                    self._inspect(node)  # until it answers, or Ray no longer lists it
                else:
                    reason = f"no task can run there: {one_line(error)}"
                    self._events.append(events.LocationUnusable(node.location, reason))
                continue
            if node.info:
                continue  # inspected again after it lost a run; it has its slots
            if incompatible := _incompatible(info):
                self._events.append(events.LocationUnusable(node.location, incompatible))
            else:
                node.info = info
                self._add_slots(node)

    def _add_slots(self, node: Node) -> None:
        for number in range(capacity(node.resources, self._per_run)):
            own_gpus = f"{node.location}, GPUs of slot {number}"
            device = own_gpus if self._per_run.gpus >= 1 else node.location
            self._slots.append(RaySlot(node, node.location, device))
        # Round by round, so that few runs spread over all nodes.
        turns = Counter[str]()

        def turn(slot: RaySlot) -> int:
            turns[slot.node.id] += 1
            return turns[slot.node.id]

        self._slots.sort(key=turn)

    def submit(self, slot: RaySlot, run: RunConfig, alone: bool = False) -> None:
        """Start a run; ``alone``: in a new process."""
        assert slot.node.info is not None
        slot.run, slot.key, slot.kill_at = run, secrets.token_hex(8), None
        if slot not in self._slots:  # its node has gone since the scheduler saw it
            self._slots.append(slot)
        shared = slot.node.info.shared
        files: file_sync.Files = {}
        if not shared:
            try:
                slot.lease = leases.acquire_lease(self.results, run.run_id)
                files = file_sync.resume_files(self.results, run.run_id)
            except BusyError as busy:
                self._events.append(events.Busy(run.run_id, str(busy), location=slot.location))
                return
            except (OSError, LeaseError) as error:
                self._events.append(events.Refused(run.run_id, str(error), location=slot.location))
                return
        job = RemoteJob(
            key=slot.key,
            run=run,
            folder=os.getcwd(),
            results=str(self.results.resolve()),
            shared=shared,
            reuse=self.reuse,
            files=files,
            mixers=plugins.mixer_versions(run.model.mixers),
            variables=wandb_variables(shared),
        )
        task = self._fresh_task if alone else self._task
        resources = self._per_run.limited_to(slot.node.resources)
        options = {"name": f"run {run.run_id}", "scheduling_strategy": _on(slot.node)}
        try:
            slot.ref = task.options(**options, **resources.options()).remote(job, self._mailbox)
        except Exception as error:  # for example, Ray's memory has no room for its files
            reason = f"it cannot be sent to {slot.location}: {one_line(error)}"
            self._events.append(events.Refused(run.run_id, reason, location=slot.location))

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for at most ``timeout`` seconds."""
        ray, now = import_ray(), time.monotonic()
        tasks = self._tasks()
        for slot in tasks.values():
            if slot.kill_at is not None and now > slot.kill_at:
                ray.cancel(slot.ref, force=True)
        ended = []
        if tasks:
            ended, _ = ray.wait(list(tasks), num_returns=1, timeout=timeout)
        else:
            time.sleep(timeout)
        yield from self._read_mailbox()  # first what ended runs have sent before
        for ref in ended:
            end = self._result(tasks[ref])
            if isinstance(end, events.WorkerDied | events.NotStarted):
                end = self._after_loss(tasks[ref].node, end)
            self._events.append(end)
        while self._events:
            event = self._events.popleft()
            if isinstance(event, RunEnd):
                for slot in list(self._slots):
                    if slot.run and slot.run.run_id == event.run_id:
                        self._release(slot)
            yield event

    def _after_loss(self, node: Node, end: RunEnd) -> RunEnd:
        """Give no more runs to a node that lost one until it has answered again.

        Ray fails tasks for a dead node at once, so a run would use up all its attempts between two
        polls. And Ray lists a killed node as alive until it has missed some health checks.
        """
        self._poll_nodes()
        if node.id not in self._nodes:
            return end
        if not node.inspection:
            self._inspect(node)
        if isinstance(end, events.NotStarted):  # the node is alive, so the attempt counts
            reason = f"Ray starts no task on {node.location}"
            return events.WorkerDied(end.run_id, reason, location=node.location)
        return end

    def _tasks(self) -> dict[Any, RaySlot]:
        return {slot.ref: slot for slot in self._slots if slot.ref is not None}

    def _release(self, slot: RaySlot) -> None:
        """Free a slot, or remove it if its node is gone."""
        if slot.lease:
            if slot.run and not slot.lease.lost:
                run_progress.remove_progress(self.results / slot.run.run_id)
            slot.lease.release()
        slot.run = slot.ref = slot.lease = slot.kill_at = None
        if slot.node.id not in self._nodes:
            self._slots.remove(slot)

    def _read_mailbox(self) -> Iterator[RunEvent]:
        """The messages of running tasks; files are written and not reported."""
        slots = {slot.key: slot for slot in self._tasks().values()}
        try:
            messages = self._mailbox.get_nowait_batch(self._mailbox.qsize())
        except Exception:  # the mailbox restarts; how runs end is reported by their tasks
            return
        for key, pickled in messages:
            event: RunEvent = pickle.loads(pickled)
            if (slot := slots.get(key)) is None:
                continue  # from an attempt that has ended
            if isinstance(event, events.FilesChanged):
                self._write(slot, event.files)
                continue
            if isinstance(event, events.BatchDone) and slot.lease:
                run_progress.write_progress(self.results / event.run_id, event.progress)
            yield replace(event, location=slot.location)

    def _write(self, slot: RaySlot, files: file_sync.Files) -> None:
        assert slot.lease is not None
        # A lost lease or a full disk is reported when the run ends.
        with contextlib.suppress(OSError, LeaseLostError):
            slot.lease.check(now=True)
            file_sync.write_files(files, self.results)

    def _result(self, slot: RaySlot) -> RunEnd:
        """How the run of a task ended; its files are written."""
        assert slot.run is not None
        run_id = slot.run.run_id
        end: RunEnd
        try:
            end, files = import_ray().get(slot.ref)
            if slot.lease and files is not None:
                slot.lease.check(now=True)
                file_sync.replace_files(files, self.results, run_id)
        except LeaseLostError as lost:
            end = events.Busy(run_id, str(lost))
        except Exception as error:
            end = end_of_failed_task(error, run_id, slot.location)
        return replace(end, location=slot.location)

    def cancel(self, run_id: str) -> None:
        """Ask the run's task to end, and kill it later if it does not."""
        for slot in self._tasks().values():
            if slot.run and slot.run.run_id == run_id and slot.kill_at is None:
                import_ray().cancel(slot.ref)
                slot.kill_at = time.monotonic() + GRACE_SECONDS

    def stop(self) -> None:
        """End all tasks; checkpoints keep what was trained."""
        if tasks := self._tasks():
            ray = import_ray()
            with contextlib.suppress(Exception):  # the cluster may be gone
                for ref in tasks:
                    ray.cancel(ref)
                ended, running = ray.wait(
                    list(tasks), num_returns=len(tasks), timeout=GRACE_SECONDS
                )
                for ref in running:
                    ray.cancel(ref, force=True)
                for ref in ended:
                    self._result(tasks[ref])
        for slot in list(self._slots):
            self._release(slot)
        self._context.close()


def _train(job: RemoteJob, mailbox: Any) -> tuple[RunEnd, file_sync.Files | None]:
    return run_remote_job(job, mailbox.put_nowait)


def _incompatible(info: NodeInfo) -> str | None:
    """Why a node cannot train runs for this runner; None if it can."""
    different = "it has other code of this package than this machine"
    if changed := code_hash.changed_roles(info.code):
        return f"{different} ({', '.join(changed)})"
    if info.schema != records.SCHEMA_VERSION:
        return f"{different} (records of version {info.schema})"
    return None


def _on(node: Node) -> Any:
    """Ray's strategy to schedule a task on this node only."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node.id, soft=False)
