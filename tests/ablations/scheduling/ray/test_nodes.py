"""Nodes of a Ray cluster that die: which runs count it, and which node gets runs next.

Ray is a fake: the tests decide what a node does with its tasks, and whether Ray still lists it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray import exceptions

from ablations import data
from ablations.scheduling.events import NotStarted, Recorded, WorkerDied
from ablations.scheduling.ray import launcher as ray_launcher
from ablations.scheduling.ray import nodes
from ablations.scheduling.ray.launcher import RayLauncher
from ablations.scheduling.ray.nodes import Node, RaySlot
from ablations.scheduling.ray.remote_job import NodeInfo, RemoteJob
from ablations.scheduling.ray.resources import Resources
from ablations.scheduling.runner import run_study
from ablations.scheduling.scheduler import MAX_LOSSES
from ablations.store.records import SCHEMA_VERSION, Record
from ablations.training import code_hash

DIED = exceptions.NodeDiedError("the node it was running on is dead")
# What Ray raises at once for a task on a node that it knows to be dead.
UNSCHEDULABLE = exceptions.TaskUnschedulableError("the node doesn't exist any more")


@dataclass(eq=False)
class Task:
    """A task on a node, with its result or the error that Ray raises for it."""

    node: str
    answer: Any = None


@dataclass
class FakeRay:
    """A cluster whose nodes die on command.

    Args:
        listed: Nodes that Ray lists as alive, whether they are or not.
        cpus: CPUs of each node; a run takes one.
        result_of: Run and node -> the result of the run's task there; None: it goes on.
        dead: The nodes that are dead.
        refusal: The result of a task on a dead node; None: none yet.
    """

    listed: list[str]
    cpus: float = 2
    result_of: Callable[[Any, str], Any] = lambda run, node: None
    dead: set[str] = field(default_factory=set)
    refusal: Exception | None = UNSCHEDULABLE
    tasks: list[Task] = field(default_factory=list)
    submitted: list[tuple[int, str]] = field(default_factory=list)

    def die(self, node: str, listed: bool = False) -> None:
        """Kill a node with its tasks; ``listed``: Ray has not noticed it yet."""
        self.dead.add(node)
        if not listed:
            self.listed.remove(node)
        for task in self.tasks:
            if task.node == node and task.answer is None:
                task.answer = DIED

    def nodes(self) -> list[dict[str, Any]]:
        has = {"CPU": self.cpus, "memory": 8e9}
        return [
            {"NodeID": name, "Alive": True, "NodeManagerHostname": "vm", "Resources": has}
            for name in self.listed
        ]

    def cluster_resources(self) -> dict[str, float]:
        return {}

    def shutdown(self) -> None:
        pass

    def remote(self, scheduling_strategy: Any = None, **_: Any) -> Any:
        return lambda _function: _Remote(self, scheduling_strategy)

    def options(self, scheduling_strategy: Any, **_: Any) -> Any:
        return _Remote(self, scheduling_strategy)

    def wait(self, tasks: list[Task], num_returns: int = 1, timeout: float = 0) -> Any:
        ended = [task for task in tasks if task.answer is not None][:num_returns]
        return ended, [task for task in tasks if task not in ended]

    def get(self, task: Task) -> Any:
        if isinstance(task.answer, Exception):
            raise task.answer
        return task.answer


@dataclass
class _Remote:
    """A function that is bound to a node."""

    ray: FakeRay
    node: str

    def remote(self, what: Any, _: Any) -> Task:
        task = Task(self.node)
        self.ray.tasks.append(task)
        run = what.run if isinstance(what, RemoteJob) else None
        if run:
            self.ray.submitted.append((run.seed, self.node))
        if self.node in self.ray.dead:
            task.answer = self.ray.refusal
        elif run:
            task.answer = self.ray.result_of(run, self.node) or task.answer
        else:
            task.answer = NodeInfo(True, code_hash.current_hashes(), SCHEMA_VERSION)
        return task


class FakeRayLauncher(RayLauncher):
    """A launcher without a mailbox."""

    def _make_mailbox(self, fresh_processes: bool) -> None:
        self._task = self._fresh_task = ray_launcher.import_ray()
        self._mailbox = None


@pytest.fixture
def launcher_on(monkeypatch) -> Callable[[FakeRay], RayLauncher]:
    """``launcher_on(ray)``: a launcher that looks at the nodes of Ray only after a loss."""
    monkeypatch.setattr(nodes, "POLL_SECONDS", 1e9)
    monkeypatch.setattr(ray_launcher, "connect", lambda address: None)
    monkeypatch.setattr(Node, "affinity", lambda node: node.id)
    monkeypatch.setattr(ray_launcher, "run_resources", lambda *_: Resources(0, 1, 1e9))

    def make(ray: FakeRay) -> RayLauncher:
        monkeypatch.setattr(ray_launcher, "import_ray", lambda: ray)
        monkeypatch.setattr(nodes, "import_ray", lambda: ray)
        return FakeRayLauncher(workers=4)

    return make


@pytest.fixture
def run_eight(launcher_on, tiny, tmp_path) -> Callable:
    """``run_eight(ray, kills)``: the outcome of a study of eight runs.

    A run finishes, unless ``kills(seed, node)``: then its node dies.
    """

    def run(ray: FakeRay, kills: Callable[[int, str], bool], listed: bool = False) -> Any:
        def result_of(run: Any, node: str) -> Any:
            if kills(run.seed, node):
                return ray.die(node, listed)
            images = {"fingerprint": data.load_dataset(run.data).fingerprint}
            record = Record(run.run_id, "finished", run.to_json(), data=images)
            record.write(tmp_path)
            return Recorded(run.run_id, record), None

        ray.result_of = result_of
        return run_study([tiny(seed=seed) for seed in range(8)], tmp_path, launcher_on(ray))

    return run


@pytest.fixture
def start(launcher_on, tiny, tmp_path) -> Callable[[FakeRay], RayLauncher]:
    """``start(ray)``: a started launcher."""

    def make(ray: FakeRay) -> RayLauncher:
        launcher = launcher_on(ray)
        launcher.start([tiny(seed=seed) for seed in range(4)], tmp_path, True)
        return launcher

    return make


def slots_on(launcher: RayLauncher, node: str) -> list[RaySlot]:
    """The slots that the scheduler sees on a node."""
    return [slot for slot in launcher.slots() if slot.node.id == node]


def reported_ends(launcher: RayLauncher) -> list[tuple[type, str]]:
    return [(type(event), event.reason) for event in launcher.events(timeout=0)]


@pytest.mark.parametrize("listed", [False, True], ids=["unlisted", "listed"])
@pytest.mark.parametrize(
    "refusal", [UNSCHEDULABLE, DIED, None], ids=["unschedulable", "died", "no answer"]
)
def test_a_dead_node_gets_no_more_runs_and_costs_its_run_one_attempt(run_eight, listed, refusal):
    """Between two polls of the nodes, a dead one used up all attempts of one run after another."""
    ray = FakeRay(["a", "b"], cpus=1, refusal=refusal)
    outcome = run_eight(ray, lambda seed, node: (seed, node) == (0, "a"), listed)
    assert (outcome.trained, outcome.complete) == (8, True)
    assert (outcome.quarantined, outcome.unusable) == ({}, {})
    assert [node for seed, node in ray.submitted if seed == 0] == ["a", "b"]


def test_a_run_whose_nodes_all_die_fails_after_three(run_eight):
    ray = FakeRay(list("abcde"))
    outcome = run_eight(ray, lambda seed, node: seed == 1)
    (failed,) = outcome.failed
    assert failed.failure["kind"] == "killed"
    assert failed.config["seed"] == 1
    assert outcome.trained == 7
    assert len(ray.dead) == MAX_LOSSES


def test_a_run_submitted_to_a_dead_node_has_not_lost_a_process(start, tiny):
    ray = FakeRay(["a", "b"])
    launcher = start(ray)
    slot, _ = slots_on(launcher, "b")
    ray.die("b")
    launcher.submit(slot, tiny())
    assert reported_ends(launcher) == [(NotStarted, "node vm (b) is gone")]
    assert not slots_on(launcher, "b")
    assert len(slots_on(launcher, "a")) == 2
    launcher.stop()


def test_a_live_node_that_refuses_a_run_counts_as_a_loss(start, tiny):
    """Otherwise a run for which no process ever starts would be tried for ever."""
    ray = FakeRay(["a"], result_of=lambda run, node: UNSCHEDULABLE)
    launcher = start(ray)
    launcher.submit(slots_on(launcher, "a")[0], tiny())
    assert reported_ends(launcher) == [(WorkerDied, "Ray starts no task on node vm (a)")]
    launcher.stop()


def test_a_node_that_lost_a_run_gets_the_next_one_after_it_answers(start, tiny):
    ray = FakeRay(["a"], refusal=None)
    launcher = start(ray)
    first, second = slots_on(launcher, "a")
    launcher.submit(first, tiny())
    launcher.submit(second, tiny(seed=1))
    ray.dead.add("a")  # it does not answer for a while; one of its processes has crashed
    ray.tasks[-1].answer = exceptions.WorkerCrashedError()
    assert reported_ends(launcher) == [(WorkerDied, "its process on node vm (a) ended")]
    assert slots_on(launcher, "a") == [first]  # which has its run
    inspection = ray.tasks[-1]
    inspection.answer = DIED  # the inspection is lost, and repeated
    assert slots_on(launcher, "a") == [first]
    assert ray.tasks[-1] is not inspection
    ray.tasks[-1].answer = NodeInfo(True, code_hash.current_hashes(), SCHEMA_VERSION)
    assert slots_on(launcher, "a") == [first, second]
    launcher.stop()
