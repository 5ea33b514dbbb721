"""`ablations clean`: what it lists, what it removes and what it keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ablations.cli.main import main
from ablations.store import cleanup, leases, run_state
from ablations.store.leases import Holder
from ablations.store.records import Record
from tests.factories.leases import dead_holder, write_lease
from tests.factories.processes import RUN_FILES


def put(path: Path, size: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0" * size)
    return path


@pytest.fixture
def folder(tiny, tmp_path) -> dict[str, Path]:
    """A results folder with one run in each state; state -> the folder of the run."""
    results = tmp_path / "runs"
    configs = {
        name: tiny(seed=seed)
        for seed, name in enumerate(["done", "failed", "stopped", "running", "unreadable", "empty"])
    }
    paths = {name: results / config.run_id for name, config in configs.items()}
    for name in ("done", "failed"):
        config = configs[name]
        failure = {"kind": "killed", "message": "x"} if name == "failed" else None
        status = "failed" if failure else "finished"
        Record(config.run_id, status, config.to_json(), failure=failure).write(results)
    for name, path in paths.items():
        path.mkdir(parents=True, exist_ok=True)
        if name != "empty":
            put(path / "last.ckpt", 5000)
            put(path / ".history.csv.abc.partial", 300)
            put(path / "weights.pt")
            put(path / "history.csv")
            put(path / "predictions.npz")
            put(path / ".predictions.npz.abc.partial", 300)
            run_state.RunState(path.name, configs[name].to_json()).write(results)
    put(paths["stopped"] / "last.broken", 700)
    put(paths["unreadable"] / "record.json", 3)
    write_lease(results, dead_holder())  # a dead process's lease
    put(results / "wandb" / "offline-run-1" / "run.wandb")
    put(results / "notes" / "record.partial")
    return paths


def files(results: Path) -> dict[str, int]:
    return {
        str(path.relative_to(results)): path.stat().st_size
        for path in results.rglob("*")
        if path.is_file()
    }


def test_it_lists_the_files_and_asks_first(folder, tmp_path, capsys):
    results = tmp_path / "runs"
    before = files(results)
    with leases.hold_lease(results, folder["running"].name):
        assert main(["clean", "--results", str(results), "--dry-run"]) == 1
        out, err = capsys.readouterr()
        # Without a terminal the answer is no.
        assert main(["clean", "--results", str(results)]) == 1
    assert "nothing is removed: give --yes" in capsys.readouterr().out
    assert files(results) == before
    assert f"left alone: {folder['unreadable'] / 'record.json'} is not a record" in err
    lines = {line.split("  ")[0]: line.split()[-3:] for line in out.splitlines()}
    assert lines["checkpoints of runs that are done"] == ["1", "5.0", "kB"]
    assert lines["damaged checkpoints"] == ["1", "700", "bytes"]
    assert lines["leases of processes that are gone"][0] == "1"
    assert "no record is touched" in out


def test_it_removes_what_is_unused_and_keeps_the_rest(folder, tmp_path, capsys):
    results = tmp_path / "runs"
    before = files(results)
    with leases.hold_lease(results, folder["running"].name):
        assert main(["clean", "--results", str(results), "--yes"]) == 1
        capsys.readouterr()
        assert folder["running"].name in leases.active_leases(results)
    after = files(results)
    names = {name: path.name for name, path in folder.items()}
    assert before.keys() - after.keys() == {
        f"{names['done']}/last.ckpt",
        f"{names['done']}/begun.json",
        f"{names['stopped']}/last.broken",
        *(
            f"{names[name]}/.{file}.abc.partial"
            for name in ("done", "failed", "stopped")
            for file in ("history.csv", "predictions.npz")
        ),
        f"{leases.LEASE_FOLDER}/{Holder('0123456789ab').run_id}.1.json",
    }
    assert not folder["empty"].exists()
    assert {name: after[name] for name in after} == {name: before[name] for name in after}


def test_a_clean_folder_has_nothing_to_remove(tiny, tmp_path, capsys):
    config = tiny()
    Record(config.run_id, "finished", config.to_json()).write(tmp_path)
    assert main(["clean", "--results", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"nothing to remove in {tmp_path}\n"


def test_it_keeps_files_that_a_process_starts_to_use_during_the_question(
    folder, tmp_path, monkeypatch
):
    """Another process starts the run between the question and the answer."""
    results, taken = tmp_path / "runs", []

    def agree() -> bool:
        taken.append(leases.acquire_lease(results, folder["done"].name))
        return True

    monkeypatch.setattr("ablations.cli.clean._confirmed", agree)
    assert main(["clean", "--results", str(results)]) == 1
    assert (folder["done"] / "last.ckpt").exists()
    assert not (folder["stopped"] / "last.broken").exists()
    taken[0].release()


def test_it_never_lists_the_files_of_a_run(folder, tmp_path):
    found = {path.name for _, path in cleanup.find_removable(tmp_path / "runs")}
    assert not found & RUN_FILES


def test_a_missing_folder_is_an_error(tmp_path, capsys):
    assert main(["clean", "--results", str(tmp_path / "none")]) == 2
    assert f"no folder {tmp_path / 'none'}" in capsys.readouterr().err
    assert not os.path.exists(tmp_path / "none")
