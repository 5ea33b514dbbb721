"""The files of a run on a node that does not mount the results folder."""

from __future__ import annotations

import time

from ablations.scheduling.ray import file_sync
from ablations.store import storage


def test_only_complete_files_are_sent(tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    files = {"abc/history.csv": b"1", "abc/record.json": b"{}", "abc/last.ckpt": bytes(range(256))}
    files |= {"abc/predictions.npz": b"p", "abc/previous/predictions.npz": b"q"}
    file_sync.write_files(files, there)
    (there / "abc" / "x.partial").write_bytes(b"half")
    (there / ".leases").mkdir()
    (there / ".leases" / "abc.1.json").write_bytes(b"{}")
    (there / "wandb").mkdir()
    (there / "wandb" / "log").write_bytes(b"w")
    assert file_sync.all_files(there) == {**files, "wandb/log": b"w"}
    file_sync.write_files(file_sync.resume_files(there, "abc"), back)
    assert file_sync.all_files(back) == files


def test_file_sync_sends_changed_files(tmp_path, monkeypatch):
    monkeypatch.setattr(file_sync, "POLL_SECONDS", 0.01)
    folder, sent = tmp_path / "abc", list[file_sync.Files]()
    folder.mkdir()
    (folder / "log.txt").write_text("sent along")
    with file_sync.FileSync(tmp_path, "abc", sent.append):
        storage.write_atomically(folder / "last.ckpt", b"one")
        while not sent:
            time.sleep(0.01)
        storage.write_atomically(folder / "last.ckpt", b"two")  # within a minute: not sent
        storage.write_atomically(folder / "history.csv", "epoch")
        while len(sent) < 2:
            time.sleep(0.01)
    assert sent == [{"abc/last.ckpt": b"one"}, {"abc/history.csv": b"epoch"}]


def test_file_sync_sends_nothing_while_a_first_record_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(file_sync, "POLL_SECONDS", 0.01)
    sent = list[file_sync.Files]()
    (tmp_path / "abc" / "previous").mkdir(parents=True)
    sync = file_sync.FileSync(tmp_path, "abc", sent.append)
    with sync:
        (tmp_path / "abc" / "history.csv").write_text("of the second training")
        sync._thread.join()
    assert not sent


def test_files_that_a_node_removed_are_removed_here_too(tmp_path):
    """A run that was trained again: its new record replaces the first one."""
    before = {f"abc/{name}": b"old" for name in file_sync.RESUME_FILES}
    file_sync.write_files(before, tmp_path)
    after = {"abc/record.json": b"new", "abc/history.csv": b"new", "abc/weights.pt": b"new"}
    file_sync.replace_files(after, tmp_path, "abc")
    assert file_sync.all_files(tmp_path) == after
    assert not (tmp_path / "abc" / "previous").exists()
