"""The nodes of a Ray cluster: which of them are alive and can train runs, and their slots."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.config.schema import RunConfig
from ablations.errors import ConfigError
from ablations.scheduling.events import LocationUnusable
from ablations.scheduling.ray.connection import import_ray, is_node_gone, one_line
from ablations.scheduling.ray.remote_job import NodeInfo, inspect_node
from ablations.scheduling.ray.resources import Resources, capacity
from ablations.store import records
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

    def affinity(self) -> Any:
        """Ray's strategy to schedule a task on this node only."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(self.id, soft=False)


@dataclass(eq=False)
class RaySlot:
    """Room for one run on a node.

    Args:
        node: The node.
        number: Its number on the node, from 0.
        location: The name of the node.
        device: The same, with the slot's number if a run has GPUs for itself.
        run: The run that occupies it.
        key: The key of its remote job.
        ref: Ray's reference to the result of its task.
        lease: The lease of the run, if the node does not mount the results folder.
    """

    node: Node
    number: int
    location: str
    device: str
    run: RunConfig | None = None
    key: str = ""
    ref: Any = None
    lease: Lease | None = None


class Nodes:
    """The nodes that are alive, inspected one by one as they appear.

    Args:
        log: A file in the results folder; nodes that can read it mount the folder.
        token: What the runner has written there.

    Attributes:
        slots: All slots; those of a node that is gone stay while Ray still has their task.
        unusable: Nodes that cannot train runs and have not been reported yet.
    """

    def __init__(self, log: Path, token: str) -> None:
        self._log, self._token = log, token
        self.slots: list[RaySlot] = []
        self.unusable: list[LocationUnusable] = []
        self._nodes: dict[str, Node] = {}
        self._polled = 0.0

    def wait(self, per_run: Resources) -> None:
        """Wait for the answers of the first nodes.

        Args:
            per_run: What a run needs.

        Raises:
            ConfigError: None of them has room for a run.
        """
        self.per_run = per_run
        self.poll()
        inspections = [node.inspection for node in self._nodes.values() if node.inspection]
        import_ray().wait(inspections, num_returns=len(inspections), timeout=INSPECT_SECONDS)
        self.poll()
        self._read_inspections()
        if self.slots:
            return
        if self.unusable:
            raise ConfigError(f"{self.unusable[0].location}: {self.unusable[0].reason}")
        if silent := [node.location for node in self._nodes.values() if node.inspection]:
            raise ConfigError(f"no answer in {INSPECT_SECONDS:g} seconds from {', '.join(silent)}")
        largest = max(node.resources for node in self._nodes.values())
        raise ConfigError(
            f"no node of the Ray cluster has what a run takes, {self.per_run}: the largest has "
            f"{largest}"
        )

    def usable_slots(self) -> list[RaySlot]:
        """Slots that have a run, or whose node has answered."""
        if time.monotonic() - self._polled > POLL_SECONDS:
            self.poll()
        self._read_inspections()
        return [slot for slot in self.slots if slot.run or not slot.node.inspection]

    def poll(self) -> None:
        """Add new nodes, and forget those that are gone."""
        self._polled = time.monotonic()
        alive = {node["NodeID"]: node for node in import_ray().nodes() if node["Alive"]}
        for node_id in self._nodes.keys() - alive.keys():
            gone = self._nodes.pop(node_id)
            self.slots = [slot for slot in self.slots if slot.node is not gone or slot.run]
        for node_id, node in alive.items():
            if node_id not in self._nodes:
                location = f"node {node['NodeManagerHostname']} ({node_id[:6]})"
                resources = Resources.of_node(node["Resources"])
                self._nodes[node_id] = Node(node_id, location, resources)
                self._inspect(self._nodes[node_id])

    def is_alive(self, node: Node) -> bool:
        """Whether Ray listed the node at the last poll."""
        return node.id in self._nodes

    def inspect_again(self, node: Node) -> bool:
        """Give no more runs to a node until it has answered again; whether it is alive.

        Ray fails tasks for a dead node at once, so a run would use up all its attempts between two
        polls. And Ray lists a killed node as alive until it has missed some health checks.
        """
        self.poll()
        if self.is_alive(node) and not node.inspection:
            self._inspect(node)
        return self.is_alive(node)

    def _inspect(self, node: Node) -> None:
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": node.affinity()}
        task = import_ray().remote(**options)(inspect_node)
        node.inspection = task.remote(str(self._log), self._token)

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
                    self.unusable.append(LocationUnusable(node.location, reason))
                continue
            if node.info:
                continue  # inspected again after it lost a run; it has its slots
            if incompatible := _incompatible(info):
                self.unusable.append(LocationUnusable(node.location, incompatible))
            else:
                node.info = info
                self._add_slots(node)

    def _add_slots(self, node: Node) -> None:
        for number in range(capacity(node.resources, self.per_run)):
            own_gpus = f"{node.location}, GPUs of slot {number}"
            device = own_gpus if self.per_run.gpus >= 1 else node.location
            self.slots.append(RaySlot(node, number, node.location, device))
        # The first slot of each node first, so that few runs spread over all nodes.
        self.slots.sort(key=lambda slot: slot.number)


def _incompatible(info: NodeInfo) -> str | None:
    """Why a node cannot train runs for this runner; None if it can."""
    different = "it has other code of this package than this machine"
    if changed := code_hash.changed_roles(info.code):
        return f"{different} ({', '.join(changed)})"
    if info.schema != records.SCHEMA_VERSION:
        return f"{different} (records of version {info.schema})"
    return None
