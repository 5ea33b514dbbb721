"""Nodes of a Ray cluster that die: which runs count it, and who gets work next; without Ray's time.

Ray is played: what a node does with its tasks, and whether Ray still lists it, is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray import exceptions

from ablations import data
from ablations.config.sweep import Cell
from ablations.scheduling import retry, runner
from ablations.scheduling.ray import cluster
from ablations.scheduling.ray.cluster import RayCluster, Slot
from ablations.scheduling.ray.job import Errand, Sight
from ablations.scheduling.ray.resources import Needs
from ablations.store.records import SCHEMA_VERSION, Record
from ablations.training import code_hash
from tests.ablations.scheduling.test_retry import Silent

DIED = exceptions.NodeDiedError("the node it was running on is dead")
# What Ray says at once of a task for a node that it knows to be dead.
NOWHERE = exceptions.TaskUnschedulableError("the node doesn't exist any more")


@dataclass(eq=False)
class Task:
    """A task on a node; its answer, or what Ray raises for it."""

    node: str
    answer: Any = None


@dataclass
class Ray:
    """A cluster whose nodes die when they are told to.

    Args:
        listed: Nodes that Ray lists as alive, whether they are or not.
        cpus: Of each; a run takes one.
        fate: Run and node -> what comes of the run's task there; None: it goes on.
        dead: The nodes that are.
        refusal: What comes of a task for a dead node; None: nothing yet.
    """

    listed: list[str]
    cpus: float = 2
    fate: Callable[[Any, str], Any] = lambda cell, node: None
    dead: set[str] = field(default_factory=set)
    refusal: Exception | None = NOWHERE
    tasks: list[Task] = field(default_factory=list)
    given: list[tuple[int, str]] = field(default_factory=list)

    def die(self, node: str, listed: bool = False) -> None:
        """A node dies with its tasks; listed: Ray has not missed it yet."""
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

    ray: Ray
    node: str

    def remote(self, what: Any, _: Any) -> Task:
        task = Task(self.node)
        self.ray.tasks.append(task)
        cell = what.cell if isinstance(what, Errand) else None
        if cell:
            self.ray.given.append((cell.seed, self.node))
        if self.node in self.ray.dead:
            task.answer = self.ray.refusal
        elif cell:
            task.answer = self.ray.fate(cell, self.node) or task.answer
        else:
            task.answer = Sight(True, code_hash.current_hashes(), SCHEMA_VERSION)
        return task


class Played(RayCluster):
    """A launcher without a mailbox."""

    def start(self) -> None:
        self._task = self._alone = cluster.loaded()
        self._mailbox = None


@pytest.fixture
def played(monkeypatch, tmp_path) -> Iterator[Callable[[Ray], Played]]:
    """``played(ray)``: a launcher on it, which looks at Ray's nodes only when it has a reason."""
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 1e9)
    monkeypatch.setattr(cluster, "connect", lambda address: None)
    monkeypatch.setattr(cluster, "_on", lambda node: node.id)

    def make(ray: Ray) -> Played:
        monkeypatch.setattr(cluster, "loaded", lambda: ray)
        return Played(tmp_path, 4, lambda gpus: Needs(1, 0, 1e9))

    return make


@pytest.fixture
def play(played, tiny, tmp_path) -> Callable:
    """``play(ray, kills)``: what the runner makes of eight runs.

    A run ends well, unless ``kills(seed, node)``: the node dies as soon as it has the run.
    """

    def run(ray: Ray, kills: Callable[[int, str], bool], listed: bool = False) -> Any:
        def fate(cell: Any, node: str) -> Any:
            if kills(cell.seed, node):
                return ray.die(node, listed)
            pictures = {"fingerprint": data.load_dataset(cell.data).fingerprint}
            record = Record(cell.run_id, "finished", cell.to_json(), data=pictures)
            record.write(tmp_path)
            return cluster.Event("done", cell.run_id, record), None

        ray.fate = fate
        cells = [Cell(tiny(seed=seed), ()) for seed in range(8)]
        return runner.run(cells, tmp_path, lambda _: played(ray), Silent)

    return run


def there(pool: Played, node: str) -> list[Slot]:
    """The room that the runner is offered on a node."""
    return [slot for slot in pool.slots() if slot.node.id == node]


def events(pool: Played) -> list[tuple[str, str]]:
    return [(event.kind, event.body) for event in pool.events(timeout=0)]


@pytest.mark.parametrize("listed", [False, True], ids=["unlisted", "listed"])
@pytest.mark.parametrize("refusal", [NOWHERE, DIED, None], ids=["nowhere", "died", "silent"])
def test_a_dead_node_gets_no_more_runs_and_costs_its_run_one_try(play, listed, refusal):
    """Between two looks at the nodes it had all tries of one run after another."""
    ray = Ray(["a", "b"], cpus=1, refusal=refusal)
    outcome = play(ray, lambda seed, node: (seed, node) == (0, "a"), listed)
    assert (outcome.trained, outcome.whole, outcome.aside, outcome.unfit) == (8, True, {}, {})
    tries = [node for seed, node in ray.given if seed == 0]
    assert tries == ["a", "b"]


def test_a_run_that_kills_each_node_that_it_gets_is_given_up(play):
    ray = Ray(list("abcde"))
    outcome = play(ray, lambda seed, node: seed == 1)
    (failed,) = outcome.failed
    assert failed.failure["kind"] == "killed"
    assert failed.config["seed"] == 1
    assert outcome.trained == 7
    assert len(ray.dead) == retry.ATTEMPTS


def test_a_run_that_is_sent_to_a_dead_node_has_lost_nothing(played, tiny):
    ray = Ray(["a", "b"])
    pool = played(ray)
    pool.start()
    slot, _ = there(pool, "b")
    ray.die("b")
    pool.give(slot, tiny())
    assert events(pool) == [("unstarted", "node vm (b) is gone")]
    assert not there(pool, "b")
    assert len(there(pool, "a")) == 2
    pool.stop()


def test_a_node_that_refuses_a_run_but_is_there_counts(played, tiny):
    """Else a run for which no process is ever started would be tried for ever."""
    ray = Ray(["a"], fate=lambda cell, node: NOWHERE)
    pool = played(ray)
    pool.start()
    pool.give(there(pool, "a")[0], tiny())
    assert events(pool) == [("died", "Ray starts no task on node vm (a)")]
    pool.stop()


def test_a_node_that_has_lost_a_run_gets_the_next_once_it_answers(played, tiny):
    ray = Ray(["a"], refusal=None)
    pool = played(ray)
    pool.start()
    first, second = there(pool, "a")
    pool.give(first, tiny())
    pool.give(second, tiny(seed=1))
    ray.dead.add("a")  # it answers nothing for a while; one of its processes has crashed
    ray.tasks[-1].answer = exceptions.WorkerCrashedError()
    assert events(pool) == [("died", "its process on node vm (a) ended")]
    assert there(pool, "a") == [first]  # which has its run
    asked = ray.tasks[-1]
    asked.answer = DIED  # the question is lost: it is put once more
    assert there(pool, "a") == [first]
    assert ray.tasks[-1] is not asked
    ray.tasks[-1].answer = Sight(True, code_hash.current_hashes(), SCHEMA_VERSION)
    assert there(pool, "a") == [first, second]
    pool.stop()
