"""Ray's errors as events of a run."""

from __future__ import annotations

import pytest

from ablations.scheduling.events import Failed, NotStarted, OutOfMemory, Refused, WorkerDied
from ablations.scheduling.ray.connection import end_of_failed_task


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("OutOfMemoryError", OutOfMemory, "node a ran out of memory"),
        ("WorkerCrashedError", WorkerDied, "its process on node a ended"),
        ("NodeDiedError", WorkerDied, "node a is gone"),
        ("TaskUnschedulableError", NotStarted, "node a is gone"),
        ("TaskCancelledError", WorkerDied, "it was cancelled"),
        ("OwnerDiedError", WorkerDied, "node a is gone"),
    ],
)
def test_each_error_of_ray_is_one_kind_of_event(name, kind, message):
    from ray import exceptions

    error = getattr(exceptions, name)
    end = end_of_failed_task(error.__new__(error), "abc", "node a")
    assert type(end) is kind
    assert end.run_id == "abc"
    assert message in end.reason


@pytest.mark.parametrize(
    ("cause", "kind", "message"),
    [
        (OSError(28, "No space left on device"), Refused, "No space left on device"),
        (ModuleNotFoundError("No module named 'timm'"), Failed, "ModuleNotFoundError: No module"),
    ],
)
def test_an_error_on_a_node_is_one_line_with_the_name_of_the_node(cause, kind, message):
    from ray.exceptions import RayTaskError

    error = RayTaskError("job", "Traceback\n many\n lines", cause).as_instanceof_cause()
    end = end_of_failed_task(error, "abc", "node a")
    assert type(end) is kind
    assert end.reason.startswith("on node a: ")
    assert message in end.reason
    assert "\n" not in end.reason


def test_a_full_disk_here_names_the_file():
    full = OSError(28, "No space left on device", "runs/abc/last.ckpt")
    end = end_of_failed_task(full, "abc", "node a")
    assert end == Refused("abc", "runs/abc/last.ckpt: No space left on device")
