"""Results on disk are reused only for the same images and precision."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ablations import data
from ablations.cli.main import main
from ablations.config.precision import resolve_precision
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.errors import DataError, RecordError
from ablations.machine import files
from ablations.scheduling.runner import select_runs
from ablations.store import previous_results, records, reuse_check
from ablations.store.records import Record
from tests.factories.configs import TINY_FLAGS

FOLDER = {
    "data.name": "folder",
    "data.pipeline": "timm",
    "data.fit": "pad",
    "data.batch_size": 16,
    "model.num_classes": 3,
}


@pytest.fixture
def other_folder(image_folder, tmp_path) -> Path:
    """The same names and classes, another image."""
    root = tmp_path / "others"
    shutil.copytree(image_folder, root)
    image = next((root / "train").rglob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"changed")
    return root


def done(config, results, **environment) -> Record:
    """A finished record of a run that was never trained."""
    identity = data.dataset_identity(config.data)
    record = Record(
        run_id=config.run_id,
        status="finished",
        config=config.to_json(),
        metrics={"val/top1": {"last": 50.0, "best": 50.0}},
        data={**identity, "classes": 3},
        environment={"precision": "32-true", "device": "cpu", **environment},
    )
    record.write(results)
    return record


def study(tiny, root, **overrides) -> list[RunConfig]:
    values = {**FOLDER, "data.root": str(root), **overrides}
    return [tiny(**values, seed=seed) for seed in (0, 1)]


@pytest.mark.parametrize("left", [0, 1])
def test_a_study_is_not_continued_on_other_images(tiny, image_folder, other_folder, tmp_path, left):
    """Whatever the name of the folder, and whether or not a run is left to train."""
    results = tmp_path / "runs"
    for run in study(tiny, image_folder)[left:]:
        done(run, results)
    selection = select_runs(study(tiny, image_folder), results)
    assert (len(selection.reused), len(selection.todo)) == (2 - left, left)
    asked = study(tiny, other_folder)
    with pytest.raises(DataError, match="use another results folder") as refused:
        select_runs(asked, results)
    message = str(refused.value)
    for word in (
        data.dataset_identity(asked[0].data)["fingerprint"],
        data.dataset_identity(study(tiny, image_folder)[0].data)["fingerprint"],
        str(results / asked[left].run_id / "record.json"),
    ):
        assert word in message
    assert "\n" not in message
    moved = tmp_path / "moved"
    shutil.copytree(image_folder, moved)
    assert len(select_runs(study(tiny, moved), results).reused) == 2 - left


def test_a_changed_folder_counts_as_other_images(tiny, other_folder, tmp_path):
    for run in study(tiny, other_folder):
        done(run, tmp_path / "runs")
    next((other_folder / "val").rglob("*.jpg")).unlink()
    data._load.cache_clear()
    with pytest.raises(DataError, match="and 1 more: its images have fingerprint"):
        select_runs(study(tiny, other_folder), tmp_path / "runs")


def test_other_contents_with_the_same_names_and_sizes_count_as_other_images(
    tiny, other_folder, tmp_path
):
    """Uncompressed files often have equal sizes."""
    for run in study(tiny, other_folder):
        done(run, tmp_path / "runs")
    image = next((other_folder / "val").rglob("*.jpg"))
    changed = bytearray(image.read_bytes())
    changed[-10] ^= 1
    image.write_bytes(changed)
    data._load.cache_clear()
    with pytest.raises(DataError, match="its images have fingerprint .* and contents"):
        select_runs(study(tiny, other_folder), tmp_path / "runs")


def test_records_of_older_versions_without_contents_are_reused(tiny, image_folder, tmp_path):
    first, second = study(tiny, image_folder)
    record = done(first, tmp_path)
    assert record.data["contents"]
    del record.data["contents"]
    record.write(tmp_path)
    selection = select_runs([first, second], tmp_path)
    assert (len(selection.reused), len(selection.todo)) == (1, 1)


def test_records_are_not_reused_if_the_images_cannot_be_read(tiny, image_folder, tmp_path):
    for run in study(tiny, image_folder):
        done(run, tmp_path)
    gone = study(tiny, tmp_path / "gone")
    with pytest.raises(DataError, match="no folder .*gone.*ablations table") as refused:
        select_runs(gone, tmp_path)
    assert "\n" not in str(refused.value)
    found = reuse_check.check_records(gone, records.read_records([tmp_path])[0])
    assert list(found.unread) == [str(tmp_path / "gone")]


def test_each_data_set_is_read_once(tiny, image_folder, other_folder, tmp_path):
    third = tmp_path / "third"
    shutil.copytree(other_folder, third)
    asked = [run for root in (image_folder, other_folder, third) for run in study(tiny, root)]
    # The folder is not part of the id, so give each run another seed.
    asked = [replace(config, seed=number) for number, config in enumerate(asked)]
    for run in asked[::2]:
        done(run, tmp_path / "runs")
    data._load.cache_clear()
    select_runs([*asked[::2], *asked[1::2]], tmp_path / "runs")
    assert data._load.cache_info().misses == 3


def test_a_run_that_failed_on_other_images_is_trained_again(
    tiny, image_folder, other_folder, tmp_path
):
    first, second = study(tiny, image_folder)
    failed = replace(
        done(first, tmp_path), status="failed", failure={"kind": "error", "message": "?"}
    )
    failed.write(tmp_path)
    assert [r.run_id for r in select_runs([first, second], tmp_path).reused] == [failed.run_id]
    selection = select_runs(study(tiny, other_folder), tmp_path)
    assert selection.reused == []
    assert len(selection.todo) == 2


def test_the_commands_refuse_in_one_line(image_folder, other_folder, tmp_path, capsys):
    sweep = tmp_path / "seeds.yaml"
    sweep.write_text("method: grid\nparameters: {seed: {values: [0, 1]}}\n")
    words = [word for word in TINY_FLAGS if "batch_size" not in word]
    words += [f"--{name}={value}" for name, value in FOLDER.items()]
    results = tmp_path / "runs"
    config = resolve(
        "mini",
        {**dict(word[2:].split("=") for word in words), "data.root": str(image_folder)},
    )
    done(config, results)
    words = [str(sweep), *words, f"--results={results}", f"--data.root={other_folder}"]
    for command in (["run"], ["run", "--dry-run"], ["plan"]):
        assert main([*command, *words]) == 2
        out, err = capsys.readouterr()
        assert "use another results folder" in err
        assert err.count("\n") == 1
        assert ("other images" in out) == ("--dry-run" in command)
        assert "50.0" not in out


# Precision


def test_a_finished_run_of_another_precision_is_not_reused(tiny, tmp_path, capsys):
    config = tiny()
    done(config, tmp_path, precision="bf16-mixed")
    words = [*TINY_FLAGS, "--results", str(tmp_path)]
    sweep = tmp_path / "one.yaml"
    sweep.write_text("method: grid\nparameters: {seed: {values: [0]}}\n")
    for asked in ([], ["--system.precision=32-true"]):
        for command in (["train"], ["run", str(sweep)], ["run", str(sweep), "--dry-run"]):
            assert main([*command, *words, *asked]) == 2
            err = capsys.readouterr().err
            assert "it has precision bf16-mixed, system.precision is " in err
            assert "use --system.precision bf16-mixed" in err
            assert err.count("\n") == 1
    assert main(["train", *words, "--system.precision=bf16-mixed"]) == 0
    assert main(["run", str(sweep), *words, "--system.precision=bf16-mixed"]) == 0
    assert "1 reused" in capsys.readouterr().err


def test_a_run_is_not_continued_in_another_precision(tiny, tmp_path):
    from ablations.errors import ConfigError
    from ablations.training.train import train

    def stop(body):
        if body["epoch"] == 2:  # the first has its checkpoint
            raise KeyboardInterrupt

    first, other = "bf16-mixed", "32-true"
    one = tiny(**{"system.precision": first})
    with pytest.raises(KeyboardInterrupt):
        train(one, tmp_path, stop)
    checkpoint = tmp_path / one.run_id / records.CHECKPOINT_FILE
    state = torch.load(checkpoint, weights_only=True)
    assert state["precision"] == first
    with pytest.raises(ConfigError, match=f"has precision {first}.*remove the file") as refused:
        train(tiny(**{"system.precision": other}), tmp_path)
    assert "\n" not in str(refused.value)
    # The record of a resumed run lists every device that it was trained on.
    key = next(name for name in state["callbacks"] if "devices" in state["callbacks"][name])
    state["callbacks"][key]["devices"] = ["NVIDIA T4"]
    torch.save(state, checkpoint)
    record = train(one, tmp_path)
    assert record.environment["precision"] == first
    assert record.environment["devices"] == ["NVIDIA T4", record.environment["device"]]


def test_precision_auto_is_resolved_by_the_gpu(monkeypatch):
    system = resolve("mini").system
    native = {"bf16": True}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native["bf16"])
    assert resolve_precision(system) == "bf16-mixed"
    assert resolve_precision(replace(system, accelerator="cpu")) == "32-true"
    assert resolve_precision(replace(system, precision="16-mixed")) == "16-mixed"
    native["bf16"] = False  # emulated on older GPUs
    assert resolve_precision(system) == "32-true"


def test_precision_auto_is_not_compared_for_runs_of_other_machines(tiny, tmp_path):
    config = tiny()
    record = done(config, tmp_path, precision="bf16-mixed")
    assert reuse_check.check_records([config], [record]).precision
    assert not reuse_check.check_records([config], [record], on_this_machine=False).precision
    fixed = tiny(**{"system.precision": "32-true"})
    assert reuse_check.check_records([fixed], [record], on_this_machine=False).precision


def test_loading_a_checkpoint_runs_no_pickled_code(tmp_path):
    """Lightning's own loader obeys TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD; ours does not."""
    import pickle

    from ablations.training.loop import AtomicCheckpointIO

    class Malicious:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "ran", "code"))

    torch.save({"state_dict": Malicious()}, tmp_path / "last.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    assert not (tmp_path / "ran").exists()


def test_seeds_of_a_record_are_whole_numbers(tiny, tmp_path):
    """In Python, True and 1.0 are the same key as 1."""
    record = done(tiny(seed=1), tmp_path)
    path = tmp_path / record.run_id / records.RECORD_FILE
    for invalid in (True, 1.0, "1", None):
        tree = json.loads(path.read_text())
        tree["config"]["seed"] = invalid
        with pytest.raises(RecordError, match="seed"):
            Record.of(tree, "here")


# Killed while the previous results are moved


@pytest.mark.parametrize("command", ["train", "run", "clean"])
@pytest.mark.parametrize("moment", [1, 2, 3, 4, 5])
def test_results_moved_by_a_killed_retraining_are_restored(
    tiny, tmp_path, monkeypatch, capsys, moment, command
):
    """Killed between two renames of move_to_previous or of write_or_restore."""
    config = tiny()
    record = done(config, tmp_path)
    folder = tmp_path / config.run_id
    before = (folder / records.RECORD_FILE).read_text()
    (folder / records.HISTORY_FILE).write_text("epoch\n1\n")
    (folder / records.PREDICTIONS_FILE).write_text("of the record")
    aside = folder / previous_results.PREVIOUS_FOLDER
    moved = (records.HISTORY_FILE, records.PREDICTIONS_FILE)
    if moment in (1, 2):
        aside.mkdir()
        for name in moved[:moment]:
            (folder / name).replace(aside / name)
    else:
        previous_results.move_to_previous(tmp_path, config.run_id)
    if moment in (3, 4):  # it failed; its record is not restored yet
        for name in moved[: moment - 2]:
            (aside / name).replace(folder / name)
    if moment == 5:  # it finished; the previous results are not all removed yet
        (aside / records.RECORD_FILE).unlink()
        for name in moved:
            (aside / name).write_text("of the previous record")
        (folder / records.RECORD_FILE).write_text(before)
        (folder / records.HISTORY_FILE).write_text("epoch\n1\n")
        (folder / records.PREDICTIONS_FILE).write_text("of the record")
    assert previous_results.has_interrupted_move(tmp_path, config.run_id)
    sweep = tmp_path / "one.yaml"
    sweep.write_text("method: grid\nparameters: {seed: {values: [0]}}\n")
    words = [command, *([str(sweep)] if command == "run" else [])]
    words += ["--yes"] if command == "clean" else TINY_FLAGS
    assert main([*words, "--results", str(tmp_path)]) == 0
    assert records.find_record(tmp_path, config.run_id) == record
    assert (folder / records.HISTORY_FILE).read_text() == "epoch\n1\n"
    assert (folder / records.PREDICTIONS_FILE).read_text() == "of the record"
    assert not aside.exists()
    capsys.readouterr()


def test_clean_keeps_the_previous_results_of_an_unfinished_retraining(tiny, tmp_path):
    config = tiny()
    done(config, tmp_path)
    folder = tmp_path / config.run_id
    (folder / records.HISTORY_FILE).write_text("epoch\n1\n")
    (folder / records.PREDICTIONS_FILE).write_bytes(b"?")
    previous_results.move_to_previous(tmp_path, config.run_id)
    (folder / records.CHECKPOINT_FILE).write_bytes(b"?")
    (folder / f"{records.CHECKPOINT_FILE}{files.PARTIAL}").write_bytes(b"?")
    assert main(["clean", "--yes", "--results", str(tmp_path)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        records.CHECKPOINT_FILE,
        previous_results.PREVIOUS_FOLDER,
    ]
    assert len(list((folder / previous_results.PREVIOUS_FOLDER).iterdir())) == 3
