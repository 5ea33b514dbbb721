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
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from ablations.scheduling.ray.connection import connect, end_of_failed_task, import_ray, one_line
from ablations.scheduling.ray.nodes import Nodes, RaySlot
from ablations.scheduling.ray.remote_job import RemoteJob, run_remote_job
from ablations.scheduling.ray.resources import run_resources
from ablations.scheduling.worker_env import wandb_variables
from ablations.store import leases, run_progress


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
        self._ends: list[tuple[RaySlot, RunEnd]] = []  # that are not reported yet
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
        log_path, token = results.resolve() / LOG, f"runner {secrets.token_hex(8)}"
        self._nodes = Nodes(log_path, token)
        connect(self.address)
        ray = import_ray()
        self._context.callback(ray.shutdown)
        with _open_append(log_path) as log:  # closed, so that NFS shows the line to other nodes
            log.write(f"{token} asks Ray nodes whether they see this file\n")
        gpus = bool(ray.cluster_resources().get("GPU"))
        systems = [run.system for run in runs]
        per_run = run_resources(systems, gpus, self.per_gpu, self.memory)
        self._nodes.wait(per_run)
        # Ray reports dead workers on standard output, which belongs to our own results.
        log = self._context.enter_context(_open_append(log_path))
        self._context.enter_context(contextlib.redirect_stdout(log))
        # A process keeps the GPU that it had first, so it must not be used for a second run.
        self._make_mailbox(fresh_processes=bool(per_run.gpus))

    def _make_mailbox(self, fresh_processes: bool) -> None:
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = import_ray()
        this_node = ray.get_runtime_context().get_node_id()
        near = NodeAffinitySchedulingStrategy(this_node, soft=True)
        options = {"num_cpus": 0, "scheduling_strategy": near, "max_restarts": -1}
        self._mailbox = Queue(actor_options=options)
        self._fresh_task = ray.remote(max_retries=0, max_calls=1)(_train)
        shared_task = ray.remote(max_retries=0, max_calls=0)(_train)
        self._task = self._fresh_task if fresh_processes else shared_task

    def slots(self) -> list[RaySlot]:
        """All slots on the current nodes, spread over them."""
        return self._nodes.usable_slots()

    def submit(self, slot: RaySlot, run: RunConfig, alone: bool = False) -> None:
        """Start a run; ``alone``: in a new process."""
        assert slot.node.info is not None
        slot.run, slot.key = run, secrets.token_hex(8)
        if slot not in self._nodes.slots:  # its node has gone since the scheduler saw it
            self._nodes.slots.append(slot)
        shared = slot.node.info.shared
        files: file_sync.Files = {}
        if not shared:
            try:
                slot.lease = leases.acquire_lease(self.results, run.run_id)
                files = file_sync.resume_files(self.results, run.run_id)
            except (BusyError, OSError, LeaseError) as error:
                kind = events.Busy if isinstance(error, BusyError) else events.Refused
                self._ends.append((slot, kind(run.run_id, str(error))))
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
        resources = self._nodes.per_run.limited_to(slot.node.resources)
        options = {"name": f"run {run.run_id}", "scheduling_strategy": slot.node.affinity()}
        try:
            slot.ref = task.options(**options, **resources.options()).remote(job, self._mailbox)
        except Exception as error:  # for example, Ray's memory has no room for its files
            reason = f"it cannot be sent to {slot.location}: {one_line(error)}"
            self._ends.append((slot, events.Refused(run.run_id, reason)))

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for at most ``timeout`` seconds."""
        tasks, ended = self._tasks(), []
        if tasks:
            ended, _ = import_ray().wait(list(tasks), num_returns=1, timeout=timeout)
        else:
            time.sleep(timeout)
        yield from self._read_mailbox()  # first what ended runs have sent before
        for ref in ended:
            slot, end = tasks[ref], self._result(tasks[ref])
            lost = isinstance(end, events.WorkerDied | events.NotStarted)
            if lost and self._nodes.inspect_again(slot.node) and isinstance(end, events.NotStarted):
                reason = f"Ray starts no task on {slot.location}"  # it is alive: this counts
                end = events.WorkerDied(end.run_id, reason)
            self._ends.append((slot, end))
        while self._ends:
            slot, end = self._ends.pop(0)
            self._release(slot)
            yield replace(end, location=slot.location)
        yield from self._nodes.unusable
        self._nodes.unusable.clear()

    def _tasks(self) -> dict[Any, RaySlot]:
        return {slot.ref: slot for slot in self._nodes.slots if slot.ref is not None}

    def _release(self, slot: RaySlot) -> None:
        """Free a slot, or remove it if its node is gone."""
        if slot.lease:
            if slot.run and not slot.lease.lost:
                run_progress.remove_progress(self.results / slot.run.run_id)
            slot.lease.release()
        slot.run = slot.ref = slot.lease = None
        if not self._nodes.is_alive(slot.node):
            self._nodes.slots.remove(slot)

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
            return end
        except LeaseLostError as lost:
            return events.Busy(run_id, str(lost))
        except Exception as error:
            return end_of_failed_task(error, run_id, slot.location)

    def cancel(self, run_id: str, kill: bool = False) -> None:
        """Ask the run's task to end, or ``kill`` its process."""
        for ref, slot in self._tasks().items():
            if slot.run and slot.run.run_id == run_id:
                import_ray().cancel(ref, force=kill)

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
        for slot in list(self._nodes.slots):
            self._release(slot)
        self._context.close()


def _train(job: RemoteJob, mailbox: Any) -> tuple[RunEnd, file_sync.Files | None]:
    return run_remote_job(job, mailbox.put_nowait)


def _open_append(path: Path) -> TextIO:
    return os.fdopen(open_append(path), "a", encoding="utf-8")
