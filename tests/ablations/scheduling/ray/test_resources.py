"""What a run needs of a Ray node, and how many runs fit on one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.config.schema import SystemConfig
from ablations.errors import ConfigError
from ablations.scheduling.ray.resources import Resources, capacity, run_resources

ON_CPU = SystemConfig(accelerator="cpu", threads=2)
AUTO = SystemConfig(loader_workers=4)


def test_a_run_needs_cores_and_memory_for_its_threads_and_loaders():
    assert run_resources([ON_CPU], gpus=True) == Resources(gpus=0, cpus=2, memory=2e9)
    assert run_resources([AUTO], gpus=False) == Resources(gpus=0, cpus=4, memory=6e9)
    assert run_resources([ON_CPU], gpus=False, memory=1e9).memory == 1e9


def test_a_run_needs_a_gpu_for_each_device_or_a_share_of_one():
    four_gpus = SystemConfig(accelerator="gpu", devices=4)
    assert run_resources([four_gpus], gpus=False) == Resources(gpus=4, cpus=4, memory=8e9)
    assert run_resources([AUTO, ON_CPU], gpus=True, per_gpu=2) == Resources(0.5, 4, 6e9)
    assert run_resources([AUTO], gpus=True, per_gpu=6).gpus == 0.1666  # six of them fit
    with pytest.raises(ConfigError, match="--workers-per-gpu 2: .* on CPUs"):
        run_resources([ON_CPU], gpus=True, per_gpu=2)


@given(
    cpus=st.integers(0, 64),
    gpus=st.integers(0, 8),
    per_gpu=st.integers(1, 7),
    threads=st.integers(1, 4),
    gigabytes=st.integers(1, 200),
)
def test_as_many_runs_as_fit_on_a_node(cpus, gpus, per_gpu, threads, gigabytes):
    node = Resources(gpus, cpus, gigabytes * 1e9)
    run = run_resources([SystemConfig(threads=threads)], gpus > 0, per_gpu if gpus else 1)
    count = capacity(node, run)
    needed = run.limited_to(node)
    assert count * needed.cpus <= cpus
    assert count * round(needed.gpus, 4) <= gpus  # as Ray rounds
    assert count * needed.memory <= node.memory
    more = count + 1
    full = more * needed.cpus > cpus or more * needed.memory > node.memory
    assert cpus < 1 or full or more * needed.gpus > gpus
