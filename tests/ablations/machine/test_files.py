"""Files: written whole, with the modes of a shared folder, never through a link."""

from __future__ import annotations

import os
import stat

import pytest

from ablations.machine import files


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_file_has_the_mode_that_the_umask_leaves_and_the_group_of_its_folder(
    tmp_path, umask, mode
):
    group = os.getgid() if os.getuid() else 4242  # root may make up one
    os.chown(tmp_path, -1, group)
    tmp_path.chmod(0o2775)
    path = tmp_path / "record.json"
    path.touch()
    path.chmod(0o640)  # replaced
    before = os.umask(umask)
    try:
        with files.atomic_write(path) as file:
            file.write(b"whole")
        os.close(files.open_append(tmp_path / "log.txt"))
    finally:
        os.umask(before)
    for name in ("record.json", "log.txt"):
        found = (tmp_path / name).stat()
        assert stat.S_IMODE(found.st_mode) == mode
        assert found.st_gid == group
    assert path.read_bytes() == b"whole"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("old")

    def fail():
        with files.atomic_write(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_and_its_folder_are_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(stat.S_IFMT(os.fstat(number).st_mode))
    )
    with files.atomic_write(tmp_path / "x") as file:
        file.write(b"1")
        assert not synced
    assert synced == [stat.S_IFREG, stat.S_IFDIR]


def test_a_link_is_replaced_and_not_followed(tmp_path):
    victim, link = tmp_path / "victim", tmp_path / "history.csv"
    victim.write_text("kept")
    link.symlink_to(victim)
    with files.atomic_write(link) as file:
        file.write(b"new")
    assert not link.is_symlink()
    assert (victim.read_text(), link.read_text()) == ("kept", "new")


def test_an_error_names_the_file_of_the_caller(tmp_path):
    path = tmp_path / "none" / "x.json"
    with pytest.raises(FileNotFoundError) as caught, files.atomic_write(path):
        pass
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_a_log_is_a_regular_file_or_refused(tmp_path, make):
    make(tmp_path / "log.txt")
    with pytest.raises(OSError, match=r"log\.txt"):
        files.open_append(tmp_path / "log.txt")


def test_a_log_grows(tmp_path):
    for text in (b"one ", b"two"):
        with open(files.open_append(tmp_path / "log.txt"), "wb") as file:
            file.write(text)
    assert (tmp_path / "log.txt").read_bytes() == b"one two"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_only_regular_files_are_read(tmp_path, make):
    make(tmp_path / "record.json")
    with pytest.raises(OSError, match="is not a file"):
        files.read_regular(tmp_path / "record.json")


def test_a_huge_file_is_not_read(tmp_path):
    (tmp_path / "x").touch()
    os.truncate(tmp_path / "x", files.MAX_BYTES + 1)
    with pytest.raises(OSError, match="is larger than 64 MiB"):
        files.read_regular(tmp_path / "x")
    os.truncate(tmp_path / "x", 5)
    assert files.read_regular(tmp_path / "x") == bytes(5)
