"""Leases with real processes and files: at most one holder per run, also after kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ablations.errors import BusyError, LeaseError, LeaseLostError
from ablations.machine import files
from ablations.store import leases
from ablations.store.leases import Holder, heartbeat, holder
from ablations.store.leases.lease_file import remove_lease_file
from ablations.store.leases.takeover import claim_lease
from tests.factories.leases import RUN_ID, dead_holder, write_lease


def test_a_run_has_one_holder_and_leaves_no_files(tmp_path):
    with leases.hold_lease(tmp_path, RUN_ID):
        assert leases.active_leases(tmp_path)[RUN_ID].pid == os.getpid()
        with (
            pytest.raises(
                BusyError, match=rf"run {RUN_ID} is being trained by process {os.getpid()} on"
            ),
            leases.hold_lease(tmp_path, RUN_ID),
        ):
            pass
        with leases.hold_lease(tmp_path, "another"):
            assert len(leases.active_leases(tmp_path)) == 2
    assert not leases.active_leases(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_relative_folder_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    leases.check_leases_work(Path("runs"))
    with leases.hold_lease(Path("runs"), RUN_ID), pytest.raises(BusyError):
        leases.acquire_lease(tmp_path / "runs", RUN_ID)


def test_a_lease_is_released_on_an_exception(tmp_path):
    with pytest.raises(ZeroDivisionError), leases.hold_lease(tmp_path, RUN_ID):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_the_lease_of_a_dead_process_is_taken_over_at_once(tmp_path):
    dead = write_lease(tmp_path, dead_holder())
    (dead.parent / f".{RUN_ID}.left.draft").write_text("{")
    assert not leases.active_leases(tmp_path)
    assert len(leases.expired_leases(tmp_path)) == 2
    with leases.hold_lease(tmp_path, RUN_ID):
        assert [path.name for path in dead.parent.iterdir()] == [f"{RUN_ID}.2.json"]


def test_a_later_process_with_the_same_id_is_not_the_holder(tmp_path):
    write_lease(tmp_path, Holder(RUN_ID, birth="1"))
    with leases.hold_lease(tmp_path, RUN_ID):
        pass


@pytest.mark.parametrize("age", [0, leases.EXPIRY_SECONDS - 20])
def test_another_machine_keeps_its_lease_while_the_heartbeat_is_recent(tmp_path, age):
    """Process ids of another machine mean nothing here."""
    far = Holder(RUN_ID, host="far", machine="another boot", birth="1")
    write_lease(tmp_path, far, age=age)
    assert leases.active_leases(tmp_path)[RUN_ID].host == "far"
    with pytest.raises(BusyError, match="on far since"):
        leases.acquire_lease(tmp_path, RUN_ID)
    assert not leases.expired_leases(tmp_path)


def test_the_lease_of_a_silent_machine_is_taken_over(tmp_path):
    far = Holder(RUN_ID, host="far", machine="another boot")
    write_lease(tmp_path, far, number=7, age=leases.EXPIRY_SECONDS + 20)
    with leases.hold_lease(tmp_path, RUN_ID) as lease:
        assert lease.path.name == f"{RUN_ID}.8.json"
        assert list(leases.active_leases(tmp_path)) == [RUN_ID]


def test_the_heartbeat_touches_the_lease(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "HEARTBEAT_SECONDS", 0.05)
    with leases.hold_lease(tmp_path, RUN_ID) as lease:
        os.utime(lease.path, (0, 0))
        deadline = time.monotonic() + 20
        while lease.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lease.path.stat().st_mtime > 0


def test_a_suspended_holder_detects_a_takeover(tmp_path):
    lease = leases.acquire_lease(tmp_path, RUN_ID)
    lease.check(now=True)
    lease.path.rename(lease.path.with_name(f"{RUN_ID}.2.json"))
    with pytest.raises(LeaseLostError, match="another one took its run over"):
        lease.check(now=True)
    lease.release()
    assert RUN_ID in leases.active_leases(tmp_path)  # the lease of the new holder stays


def test_only_one_of_two_processes_takes_over(tmp_path, monkeypatch):
    """Another process creates a lease after the first check: this process withdraws."""
    link = os.link

    def late(draft: Path, path: Path) -> None:
        far = Holder(RUN_ID, host="far", machine="another boot")
        write_lease(tmp_path, far, number=9)
        link(draft, path)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(BusyError, match="on far"):
        leases.acquire_lease(tmp_path, RUN_ID)
    names = [path.name for path in (tmp_path / leases.LEASE_FOLDER).iterdir()]
    assert names == [f"{RUN_ID}.9.json"]


def test_a_folder_without_hard_links_is_refused(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")  # as vfat and some network mounts do

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(LeaseError, match="takes no leases .hard links fail there: Operation not"):
        leases.check_leases_work(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_by_another_version_is_refused(tmp_path):
    leases.check_leases_work(tmp_path)
    write_lease(tmp_path, replace(Holder(RUN_ID), schema=2))
    with pytest.raises(LeaseError, match="writes records of version 2; this program writes 1"):
        leases.check_leases_work(tmp_path)


# Leases of other users, and invalid leases


def test_another_users_lease_is_readable_as_the_folders_umask_allows(tmp_path):
    before = os.umask(0o002)
    try:
        lease = leases.acquire_lease(tmp_path, RUN_ID)
    finally:
        os.umask(before)
    assert stat.S_IMODE(lease.path.stat().st_mode) == 0o664
    lease.release()


def unreadable(monkeypatch, path: Path) -> None:
    """Simulate missing permission: root can read everything."""
    read = files.read_regular

    def refuse(asked):
        if Path(asked) == path:
            raise PermissionError(13, "Permission denied", str(path))
        return read(asked)

    monkeypatch.setattr(files, "read_regular", refuse)


def test_an_unreadable_lease_is_alive_while_it_is_touched(tmp_path, monkeypatch):
    path = write_lease(tmp_path, dead_holder())
    unreadable(monkeypatch, path)
    assert leases.active_leases(tmp_path)[RUN_ID].problem == f"lease {path}: permission denied"
    with pytest.raises(
        BusyError, match=f"run {RUN_ID} is being trained .lease .*permission denied"
    ):
        leases.acquire_lease(tmp_path, RUN_ID)
    os.utime(path, (time.time() - leases.EXPIRY_SECONDS - 20,) * 2)
    assert leases.expired_leases(tmp_path) == [path]
    with leases.hold_lease(tmp_path, RUN_ID):
        pass


@pytest.mark.parametrize("hidden", ["kill", "proc"])
def test_a_process_that_the_system_hides_is_alive_while_its_lease_is_touched(
    tmp_path, monkeypatch, hidden
):
    """With hidepid=2 another user's process has no /proc, and no signal reaches it."""

    def refuse(pid: int, signal: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = write_lease(tmp_path, replace(dead_holder(), pid=1, birth="1"))
    monkeypatch.setattr(os, "kill", refuse)
    if hidden == "proc":
        monkeypatch.setattr(holder, "process_start", lambda pid: None)
        assert RUN_ID in leases.active_leases(tmp_path)
        os.utime(path, (time.time() - leases.EXPIRY_SECONDS - 20,) * 2)
    assert not leases.active_leases(
        tmp_path
    )  # another process has that id, or the heartbeat is old


INVALID = {
    "pid": ["x", None, [1], 1.5, 10**30, 0, -1, True],
    "run_id": [["x"], "ffffffffffff", None],
    "birth": [1, ["x"]],
    "machine": [None, {}],
    "schema": ["1", None],
}


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda tree, k=k, v=v: json.dumps({**tree, k: v}) for k in INVALID for v in INVALID[k]),
        *(lambda tree, k=k: json.dumps({n: v for n, v in tree.items() if n != k}) for k in INVALID),
        lambda tree: "[]",
        lambda tree: "",
        lambda tree: "[" * 10_000 + "]" * 10_000,
        lambda tree: json.dumps(tree)[:-5],
        lambda tree: json.dumps(tree) + "\0",
    ],
)
def test_an_invalid_lease_is_active_until_it_expires(tmp_path, damage):
    path = write_lease(tmp_path, Holder(RUN_ID))
    path.write_text(damage(json.loads(path.read_text())))
    holder = leases.active_leases(tmp_path)[RUN_ID]
    assert str(holder).startswith(f"lease {path}: ")
    assert "\n" not in str(holder)
    with pytest.raises(BusyError):
        leases.acquire_lease(tmp_path, RUN_ID)
    os.utime(path, (time.time() - leases.EXPIRY_SECONDS - 20,) * 2)
    assert leases.expired_leases(tmp_path) == [path]
    with leases.hold_lease(tmp_path, RUN_ID):
        pass


def test_other_files_among_the_leases_are_left_alone(tmp_path):
    folder = tmp_path / leases.LEASE_FOLDER
    (folder / f"{RUN_ID}.7.json").mkdir(parents=True)
    for name in (".x.json", "x.json", f"{RUN_ID}.x.json", f"{RUN_ID}.².json", ".nfs0001"):
        (folder / name).write_text("{}")
    assert list(leases.active_leases(tmp_path)) == [RUN_ID]  # a new folder counts as a lease
    with leases.hold_lease(tmp_path, "another") as lease:
        assert lease.path.name == "another.1.json"
    assert not leases.expired_leases(tmp_path)
    assert len(list(folder.iterdir())) == 6


def test_a_link_instead_of_the_lease_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / leases.LEASE_FOLDER).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LeaseError, match=r"takes no leases \(.leases is a symbolic link"):
        leases.check_leases_work(tmp_path)
    assert not list((tmp_path / "elsewhere").iterdir())
    with pytest.raises(LeaseError, match="is a symbolic link"):
        leases.active_leases(tmp_path)


def test_a_heartbeat_from_the_future_counts_from_now_on(tmp_path):
    """The clock of the file system was set back, and the holder is gone."""
    far = Holder(RUN_ID, host="far", machine="another boot")
    path = write_lease(tmp_path, far, age=-1e6)
    with pytest.raises(BusyError):
        leases.acquire_lease(tmp_path, RUN_ID)
    assert abs(path.stat().st_mtime - time.time()) < leases.EXPIRY_SECONDS
    assert RUN_ID in leases.active_leases(tmp_path)
    os.utime(path, (time.time() - leases.EXPIRY_SECONDS - 20,) * 2)
    with leases.hold_lease(tmp_path, RUN_ID):
        pass


def test_a_removed_lease_is_claimed_again_unless_another_process_had_the_run(tmp_path):
    lease = leases.acquire_lease(tmp_path, RUN_ID)
    shutil.rmtree(tmp_path / leases.LEASE_FOLDER)
    lease.check(now=True)
    assert leases.active_leases(tmp_path)[RUN_ID].pid == os.getpid()
    with pytest.raises(BusyError):
        leases.acquire_lease(tmp_path, RUN_ID)
    # Another process has trained the run meanwhile.
    lease.path.unlink()
    (tmp_path / RUN_ID).mkdir()
    (tmp_path / RUN_ID / "record.json").write_text("{}")
    with pytest.raises(LeaseLostError, match="another one took its run over"):
        lease.check(now=True)
    lease.release()
    assert not (tmp_path / leases.LEASE_FOLDER).exists()


def test_leases_are_claimed_while_others_remove_the_empty_folder(tmp_path):
    """Releasing the last lease removes the folder while another process claims one."""

    def take_and_release(number: int) -> None:
        for _ in range(150):
            path = claim_lease(tmp_path, f"run-{number}")
            remove_lease_file(path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take_and_release, range(8)))
    assert not list(tmp_path.iterdir())


# Acquire the lease again and again; two holders at once would meet in the file.
HAMMER = f"""
import os, random, sys, time
from pathlib import Path
from ablations.errors import BusyError
from ablations.store import leases
results, generator = Path(sys.argv[1]), random.Random(sys.argv[2])
while True:
    try:
        with leases.hold_lease(results, "{RUN_ID}"):
            before = (results / "inside").read_text()
            if before and leases.process_start(int(before)):  # else it was killed inside
                (results / "two holders").write_text(before)
            (results / "inside").write_text(str(os.getpid()))
            time.sleep(generator.random() * 0.004)
            with (results / "count").open("a") as file:
                file.write(sys.argv[2] + " ")
            (results / "inside").write_text("")
    except BusyError:
        time.sleep(generator.random() * 0.002)
"""


def test_never_two_holders_while_processes_are_killed_at_random(tmp_path):
    (tmp_path / "inside").touch()
    (tmp_path / "count").touch()
    generator, workers = random.Random(0), []

    def taken() -> list[str]:
        return (tmp_path / "count").read_text().split()

    try:
        for number in range(24):
            command = [sys.executable, "-c", HAMMER, str(tmp_path), str(number)]
            workers.append(subprocess.Popen(command))
            if number < 4:
                continue
            before, deadline = len(taken()), time.monotonic() + 60
            while len(taken()) < before + 20 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(taken()) >= before + 20
            victim = workers.pop(generator.randrange(len(workers)))
            victim.kill()
            victim.wait()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert not (tmp_path / "two holders").exists()
    assert len(set(taken())) > 5
    with leases.hold_lease(tmp_path, RUN_ID):
        pass
    assert not (tmp_path / leases.LEASE_FOLDER).exists()


def test_a_killed_process_frees_its_run(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from ablations.store import leases\n"
        f"lease = leases.acquire_lease(Path(sys.argv[1]), '{RUN_ID}')\nprint('taken', flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "taken\n"
    with pytest.raises(BusyError, match=f"process {process.pid} "):
        leases.acquire_lease(tmp_path, RUN_ID)
    process.kill()
    process.communicate()
    with leases.hold_lease(tmp_path, RUN_ID):
        pass
