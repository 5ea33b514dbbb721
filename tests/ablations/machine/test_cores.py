"""Usable cores: affinity, and the quotas of control groups of both versions."""

from __future__ import annotations

import os

import pytest

from ablations.machine import cores
from ablations.scheduling.gpus import default_workers

V2 = "35 30 0:30 {root} {mount} ro,nosuid - cgroup2 cgroup rw\n"
V1 = "34 30 0:29 {root} {mount} ro,nosuid master:9 - cgroup cgroup rw,{controllers}\n"


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A /proc/self whose control groups lie in the test's folder, on a machine of 64 cores."""
    monkeypatch.setattr(cores, "PROC", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))

    def make(own, mounts, files):
        (tmp_path / "cgroup").write_text(own)
        (tmp_path / "mountinfo").write_text("29 1 8:1 / / rw - ext4 /dev/sda rw\n" + mounts)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    make.tmp = tmp_path
    return make


@pytest.mark.parametrize(
    ("limit", "usable"),
    [
        ("max 100000", 64),
        ("150000 100000", 1),
        ("200000 100000", 2),
        ("299999 100000", 2),
        ("50000 100000", 1),  # at least one worker
        ("1000 1000000", 1),
        ("12800000 100000", 64),  # more than there are
        ("", 64),
        ("nonsense", 64),
        ("0 0", 64),
    ],
)
def test_a_quota_of_control_groups_version_2(proc, limit, usable):
    proc("0::/\n", V2.format(root="/", mount=proc.tmp / "fs"), {"fs/cpu.max": limit})
    assert cores.usable_cores() == usable
    assert default_workers() == usable
    assert default_workers(4) == max(1, usable // 4)


def test_the_narrowest_of_nested_groups_counts(proc):
    files = {
        "fs/pod/cpu.max": "300000 100000",
        "fs/pod/box/cpu.max": "max 100000",
        "fs/pod/box/job/cpu.max": "800000 100000",
    }
    proc("0::/pod/box/job\n", V2.format(root="/", mount=proc.tmp / "fs"), files)
    assert cores.usable_cores() == 3


@pytest.mark.parametrize(("quota", "usable"), [("-1", 64), ("250000", 2), ("50000", 1)])
@pytest.mark.parametrize(
    ("own", "root", "group"),
    [
        ("/", "/", ""),
        ("/docker/0123", "/docker/0123", ""),  # the host's path, of which the end is mounted
        ("/docker/0123", "/", "docker/0123/"),
        ("/docker/0123", "/", ""),  # the host's path, which the container does not see
        ("/../../other", "/", ""),
    ],
)
def test_a_quota_of_control_groups_version_1(proc, quota, usable, own, root, group):
    mount = proc.tmp / "with blank"
    mounts = V1.format(root=root, mount=str(mount).replace(" ", r"\040"), controllers="cpu,cpuacct")
    files = {
        f"with blank/{group}cpu.cfs_quota_us": quota,
        f"with blank/{group}cpu.cfs_period_us": "100000",
    }
    proc(f"5:cpu,cpuacct:{own}\n4:memory:/elsewhere\n0::/\n", mounts, files)
    assert cores.usable_cores() == usable


def test_affinity_counts_without_control_groups(proc, monkeypatch):
    assert cores.usable_cores() == 64
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert cores.usable_cores() == 1


@pytest.mark.parametrize("name", ["memory.events", "memory.oom_control"])
def test_oom_kills_are_those_of_the_innermost_group(proc, name):
    files = {f"fs/job/{name}": "oom 9\noom_kill 4", f"fs/{name}": "oom_kill 70"}
    proc("0::/job\n", V2.format(root="/", mount=proc.tmp / "fs"), files)
    assert cores.count_oom_kills() == 4


def test_without_control_groups_no_oom_kills_are_counted(proc):
    assert cores.count_oom_kills() == 0
