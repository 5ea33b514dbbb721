"""A Ray cluster: a cell is a task with its needs, on a node that the runner can set aside.

Ray starts, watches and ends processes; which cell is tried where, and whether again, the runner
decides by its own rules, so a node that dies gives its cells to the others. Where a node sees the
folder of results, the task works in it as any worker does. Where it does not, the runner has the
cell's lease, and the task sends back what it writes, checkpoints included.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablations.config import plugins
from ablations.config.schema import RunConfig
from ablations.errors import BusyError, ConfigError, LeaseError, LeaseLostError
from ablations.machine.files import open_append
from ablations.scheduling.launcher import GRACE_SECONDS, LOG, ON_THE_WAY, Event
from ablations.scheduling.ray import file_sync
from ablations.scheduling.ray.connection import connect, gone, loaded, loss, plain
from ablations.scheduling.ray.job import Errand, Sight, carry_out, look
from ablations.scheduling.ray.resources import Needs, room
from ablations.scheduling.worker_env import tracking
from ablations.store import leases, records, run_progress
from ablations.store.leases import Lease
from ablations.training import code_hash

LOOK_SECONDS = 2.0  # between two looks at which nodes there are
ANSWER_SECONDS = 120.0  # that a node has to say what it is like when the runner starts


@dataclass(eq=False)
class Node:
    """A machine of the cluster.

    Args:
        id: Ray's.
        place: Its name, for people.
        resources: What Ray gives to tasks there.
        asked: The task that looks at it, until it has answered; meanwhile it gets no cells.
        sight: What it is like.
    """

    id: str
    place: str
    resources: dict[str, float]
    asked: Any = None
    sight: Sight | None = None


@dataclass(eq=False)
class Slot:
    """Room for one cell on a node, and the cell that it has.

    Args:
        node: The node.
        place: Its name.
        device: The same, and more where a cell has GPUs for itself.
        key: Of the errand.
        ref: Ray's reference to what its task gives back.
        lease: The cell's, where the node does not see the folder of results.
        kill_at: When the task is killed, if asking has not ended it.
    """

    node: Node
    place: str
    device: str
    cell: RunConfig | None = None
    key: str = ""
    ref: Any = None
    lease: Lease | None = None
    kill_at: float | None = None


class RayCluster:
    """Tasks of a Ray cluster.

    Args:
        results: The folder of all runs.
        count: How many cells at once, at most.
        needs: What a cell takes of a node, given whether the cluster has GPUs.
        reuse: Whether records that are there already are enough.
        address: Of a cluster: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; None for that in
            RAY_ADDRESS, else a cluster of this machine alone that ends with the runner.

    Raises:
        ConfigError: Ray is not installed, nobody answers, or no node has what a cell takes.
    """

    def __init__(
        self,
        results: Path,
        count: int,
        needs: Callable[[bool], Needs],
        reuse: bool = True,
        address: str | None = None,
    ) -> None:
        self.results, self.count, self.reuse = results, count, reuse
        self._nodes: dict[str, Node] = {}
        self._slots: list[Slot] = []
        self._told = deque[Event]()
        self._looked = 0.0
        self._context = contextlib.ExitStack()
        connect(address)
        self._context.callback(loaded().shutdown)
        self._log = results.resolve() / LOG
        self._word = f"runner {secrets.token_hex(8)}"
        try:
            with open(open_append(self._log), "a", encoding="utf-8") as file:
                file.write(f"{self._word} asks nodes of Ray whether they see this file\n")
            self.needs = needs(bool(loaded().cluster_resources().get("GPU")))
            self._meet()
        except BaseException:
            self._context.close()
            raise

    def _meet(self) -> None:
        """Wait until the nodes that there are have said what they are like.

        Raises:
            ConfigError: None of them can have a cell.
        """
        ray = loaded()
        self._look_around()
        asked = [node.asked for node in self._nodes.values() if node.asked]
        ray.wait(asked, num_returns=len(asked), timeout=ANSWER_SECONDS)
        self._look_around()
        self._hear_answers()
        if self._slots:
            return
        if self._told:
            raise ConfigError(f"{self._told[0].place}: {self._told[0].body}")
        if silent := [node.place for node in self._nodes.values() if node.asked]:
            raise ConfigError(f"no answer in {ANSWER_SECONDS:g} seconds from {', '.join(silent)}")
        raise ConfigError(
            f"no node of the Ray cluster has what a run takes, {self.needs}: the largest has "
            + str(max((Needs.of(n.resources) for n in self._nodes.values()), key=Needs.size))
        )

    def start(self) -> None:
        """Make the mailbox for what tasks tell on their way."""
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = loaded()
        # Ray's word on workers that died goes to standard output, where others read our results.
        file = os.fdopen(open_append(self._log), "a", encoding="utf-8")
        log = self._context.enter_context(file)
        self._context.enter_context(contextlib.redirect_stdout(log))
        here = ray.get_runtime_context().get_node_id()
        near = NodeAffinitySchedulingStrategy(here, soft=True)
        options = {"num_cpus": 0, "scheduling_strategy": near, "max_restarts": -1}
        self._mailbox = Queue(actor_options=options)
        fresh = bool(self.needs.gpus)  # a process keeps the GPU that it had first
        self._task = ray.remote(max_retries=0, max_calls=1 if fresh else 0)(_work)
        self._alone = ray.remote(max_retries=0, max_calls=1)(_work)

    def slots(self) -> list[Slot]:
        """All room on the nodes that are there now, spread over them."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._look_around()
        self._hear_answers()
        return [slot for slot in self._slots if slot.cell or not slot.node.asked]

    def may_grow(self) -> bool:
        """Yes: a node may come, or come back."""
        return True

    def _look_around(self) -> None:
        """Greet nodes that have come, and forget those that have gone."""
        ray = loaded()
        self._looked = time.monotonic()
        there = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        for node_id in self._nodes.keys() - there.keys():
            left = self._nodes.pop(node_id)
            # Those with a cell stay until its task has ended, as Ray will say.
            self._slots = [s for s in self._slots if s.node is not left or s.cell]
        for node_id, found in there.items():
            if node_id not in self._nodes:
                place = f"node {found['NodeManagerHostname']} ({node_id[:6]})"
                self._nodes[node_id] = Node(node_id, place, found["Resources"])
                self._nodes[node_id].asked = self._ask(self._nodes[node_id])

    def _hear_answers(self) -> None:
        for node in list(self._nodes.values()):
            if node.asked and loaded().wait([node.asked], timeout=0)[0]:
                self._hear_of(node)

    def _ask(self, node: Node) -> Any:
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": _on(node)}
        return loaded().remote(**options)(look).remote(str(self._log), self._word)

    def _hear_of(self, node: Node) -> None:
        """A node has answered: there is room on it, or it is told why not."""
        asked, node.asked = node.asked, None
        try:
            sight: Sight = loaded().get(asked)
        except Exception as error:  # whatever keeps a task from being run there
            if node.sight or gone(error):
                node.asked = self._ask(node)  # until it answers, or Ray lists it no more
                return
            self._told.append(
                Event("unfit", "", f"no task can be run there: {plain(error)}", node.place)
            )
            return
        if node.sight:
            return  # it was asked once more after a loss, and has its slots
        changed = code_hash.changed_roles(sight.code)
        if changed or sight.schema != records.SCHEMA_VERSION:
            why = "it has other code of this package than this machine"
            why += (
                f" ({', '.join(changed)})" if changed else f" (records of version {sight.schema})"
            )
            self._told.append(Event("unfit", "", why, node.place))
            return
        node.sight = sight
        for number in range(room(Needs.of(node.resources), self.needs)):
            own = f"{node.place}, GPUs of slot {number}" if self.needs.gpus >= 1 else node.place
            self._slots.append(Slot(node, node.place, own))
        # Round by round, so that fewer cells than there is room for spread over all nodes.
        turns = dict[str, int]()

        def turn(slot: Slot) -> int:
            turns[slot.node.id] = turns.get(slot.node.id, 0) + 1
            return turns[slot.node.id]

        self._slots.sort(key=turn)

    def give(self, slot: Slot, cell: RunConfig, alone: bool = False) -> None:
        """Start a cell; alone: in a fresh process."""
        assert slot.node.sight is not None
        slot.cell, slot.key, slot.kill_at = cell, secrets.token_hex(8), None
        if slot not in self._slots:  # its node has gone since the runner saw it
            self._slots.append(slot)
        shared = slot.node.sight.shared
        files: file_sync.Files = {}
        if not shared:
            try:
                slot.lease = leases.acquire_lease(self.results, cell.run_id)
                files = file_sync.needed(self.results, cell.run_id)
            except BusyError as busy:
                self._told.append(Event("busy", cell.run_id, str(busy), slot.place))
                return
            except (OSError, LeaseError) as error:
                self._told.append(Event("refused", cell.run_id, str(error), slot.place))
                return
        errand = Errand(
            key=slot.key,
            cell=cell,
            where=os.getcwd(),
            results=str(self.results.resolve()),
            shared=shared,
            reuse=self.reuse,
            files=files,
            mixers=plugins.mixer_versions(cell.model.mixers),
            variables=tracking(shared),
        )
        task = self._alone if alone else self._task
        here = self.needs.within(Needs.of(slot.node.resources))
        options = {"name": f"cell {cell.run_id}", "scheduling_strategy": _on(slot.node)}
        try:
            slot.ref = task.options(**options, **here.options()).remote(errand, self._mailbox)
        except Exception as error:  # no room for its files in Ray's memory, say
            told = f"it cannot be sent to {slot.place}: {plain(error)}"
            self._told.append(Event("refused", cell.run_id, told, slot.place))

    def events(self, timeout: float) -> Iterator[Event]:
        """What has happened, after waiting for at most ``timeout`` seconds."""
        ray, now = loaded(), time.monotonic()
        busy = {slot.ref: slot for slot in self._slots if slot.ref is not None}
        for slot in busy.values():
            if slot.kill_at is not None and now > slot.kill_at:
                ray.cancel(slot.ref, force=True)
        ended = []
        if busy:
            ended, _ = ray.wait(list(busy), num_returns=1, timeout=timeout)
        else:
            time.sleep(timeout)
        yield from self._letters()  # first what an ended cell has told on its way
        for ref in ended:
            event = self._ended(busy[ref])
            if event.kind in ("died", "unstarted"):
                event = self._after_loss(busy[ref].node, event)
            self._told.append(event)
        while self._told:
            event = self._told.popleft()
            for slot in self._slots:
                if event.kind not in ON_THE_WAY and slot.cell and slot.cell.run_id == event.run_id:
                    self._leave(slot)
            yield event

    def _after_loss(self, node: Node, event: Event) -> Event:
        """Give no more cells to a node that has lost one, until it has answered once more.

        Ray fails what is sent to a dead node at once: between two looks at which nodes there are,
        a cell would lose all its tries there. And Ray lists a node that was killed as alive until
        it has missed some health checks.
        """
        self._look_around()
        if node.id in self._nodes:
            node.asked = node.asked or self._ask(node)
            if event.kind == "unstarted":  # the node's death is no excuse: the try counts
                body = f"Ray starts no task on {node.place}"
                event = replace(event, kind="died", body=body)
        return event

    def _leave(self, slot: Slot) -> None:
        """A slot is free again, or goes where its node has gone."""
        if slot.lease:
            if slot.cell and not slot.lease.lost:
                run_progress.remove_progress(self.results / slot.cell.run_id)
            slot.lease.release()
        slot.cell = slot.ref = slot.lease = slot.kill_at = None
        if slot.node.id not in self._nodes:
            self._slots.remove(slot)

    def _letters(self) -> Iterator[Event]:
        """What running tasks have told; files among it are kept."""
        slots = {slot.key: slot for slot in self._slots if slot.ref is not None}
        try:
            letters = self._mailbox.get_nowait_batch(self._mailbox.qsize())
        except Exception:  # it is being started anew; what the last one held is told at the end
            return
        for key, text in letters:
            event: Event = pickle.loads(text)
            if key not in slots:
                continue  # of a try that has ended
            if event.kind == "files":
                self._keep(slots[key], event.body)
            else:
                if event.kind == "batch" and slots[key].lease:
                    run_progress.write_progress(self.results / event.run_id, event.body)
                yield replace(event, place=slots[key].place)

    def _keep(self, slot: Slot, files: file_sync.Files) -> None:
        assert slot.lease is not None
        # Who has lost its lease, or has no disk left, hears of it at the end.
        with contextlib.suppress(OSError, LeaseLostError):
            slot.lease.check(now=True)
            file_sync.unpack(files, self.results)

    def _ended(self, slot: Slot) -> Event:
        """What came of a task."""
        assert slot.cell is not None
        run_id = slot.cell.run_id
        try:
            event: Event
            event, files = loaded().get(slot.ref)
            if slot.lease and files is not None:
                slot.lease.check(now=True)
                file_sync.take_back(files, self.results, run_id)
        except LeaseLostError as lost:
            event = Event("busy", run_id, str(lost))
        except Exception as error:
            event = Event(*loss(error, run_id, slot.place))
        return replace(event, place=slot.place)

    def end(self, run_id: str) -> None:
        """Ask a cell's task to end, and kill it where it does not."""
        for slot in self._slots:
            asked = slot.kill_at is not None
            if slot.cell and slot.cell.run_id == run_id and slot.ref is not None and not asked:
                loaded().cancel(slot.ref)
                slot.kill_at = time.monotonic() + GRACE_SECONDS

    def stop(self) -> None:
        """End all tasks; what they trained so far lies in their checkpoints."""
        ray = loaded()
        busy = {slot.ref: slot for slot in self._slots if slot.ref is not None}
        with contextlib.suppress(Exception):  # a cluster that is gone has no tasks
            for ref in busy:
                ray.cancel(ref)
            ended = []
            if busy:
                ended, running = ray.wait(list(busy), num_returns=len(busy), timeout=GRACE_SECONDS)
                for ref in running:
                    ray.cancel(ref, force=True)
            for ref in ended:
                self._ended(busy[ref])
        for slot in list(self._slots):
            self._leave(slot)
        self._context.close()


def _work(errand: Errand, mailbox: Any) -> tuple[Event, file_sync.Files | None]:
    return carry_out(errand, mailbox.put_nowait)


def _on(node: Node) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node.id, soft=False)
