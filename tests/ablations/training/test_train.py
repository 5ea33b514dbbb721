"""Training on real images: it learns, is reproducible to the last digit, and resumes exactly."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablations.cli.main import main
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.errors import AccessError, LeaseLostError
from ablations.store import leases, records, storage
from ablations.store.predictions import Predictions, load_predictions
from ablations.store.records import CHECKPOINT_FILE, PREDICTIONS_FILE, WEIGHTS_FILE, Record
from ablations.training import code_hash
from ablations.training import train as train_module
from ablations.training.environment import cpu_model
from ablations.training.tasks.classification import Classification, create_accuracy
from ablations.training.train import load_run_checkpoint, train
from poolformer import MetaFormer
from tests.factories.configs import TINY, TINY_FLAGS
from tests.factories.predictions import accuracies
from tests.factories.samples import no_deadline

TOPS = ("top1", "top5")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One tiny run and its folder."""
    from ablations.config.resolve import resolve
    from tests.factories.configs import TINY

    results = tmp_path_factory.mktemp("results")
    config = resolve("mini", TINY)
    seen = []
    return config, results, train(config, results, seen.append), seen


def history(results: Path, run_id: str) -> list[dict[str, str]]:
    with (results / run_id / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_clocks(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]


def predictions_file(results: Path, config: RunConfig) -> bytes:
    return (results / config.run_id / PREDICTIONS_FILE).read_bytes()


def assert_predictions_match(results: Path, record: Record) -> Predictions:
    """The predictions of a run; their accuracies are exactly those of its record."""
    predictions = load_predictions(results / record.run_id, record)
    assert accuracies(predictions) == {name: record.metric(f"val/{name}") for name in TOPS}
    return predictions


def test_a_run_learns_and_leaves_a_complete_record(trained):
    config, results, record, _ = trained
    assert record.status == "finished"
    assert record.metric() > 50  # chance is 10
    assert record == Record.read(results / config.run_id / "record.json")
    assert record.config == config.to_json()
    assert record.data == {
        "fingerprint": "88d62a25161371fc",
        "classes": 10,
        "train": 8000,
        "val": 2000,
    }
    assert record.cost["params"] == sum(p.numel() for p in MetaFormer(config.model).parameters())
    assert record.cost["paper"] is None  # no size of the recipe has these widths
    assert record.environment["device"] == f"cpu ({cpu_model()})"
    assert "(R)" not in cpu_model()
    assert record.environment["precision"] == "32-true"
    assert torch.__version__.startswith(record.environment["versions"]["torch"])
    assert record.timing["pictures_per_second"] > 0
    rows = history(results, config.run_id)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["val/top1"]) == record.metric()
    assert max(float(row["val/top1"]) for row in rows) == record.metric(which="best")


def test_each_epoch_is_reported(trained):
    _, _, record, seen = trained
    assert [(body["epoch"], body["epochs"]) for body in seen] == [(1, 2), (2, 2)]
    assert seen[-1]["val/top1"] == record.metric()


def test_the_weights_have_the_recorded_accuracy(trained):
    from ablations import data
    from ablations.data.batches import create_loaders

    config, results, record, _ = trained
    model = MetaFormer(config.model).eval()
    model.load_state_dict(torch.load(results / config.run_id / WEIGHTS_FILE, weights_only=True))
    _, val = create_loaders(data.load_dataset(config.data), config.data, config.seed)
    with torch.no_grad():
        right = sum((model(x).argmax(dim=1) == y).sum().item() for x, y in val)
        predicted = torch.cat([model(x).argmax(dim=1) for x, _ in val])
    assert 100 * right / 2000 == pytest.approx(record.metric(), abs=0.1)
    predictions = assert_predictions_match(results, record)
    assert (predictions.predicted == predicted.numpy()).mean() > 0.999
    assert (predictions.labels == data.load_dataset(config.data).val.labels).all()
    assert not (results / config.run_id / CHECKPOINT_FILE).exists()


def test_a_run_is_reproducible_to_the_last_digit(trained, tmp_path):
    config, results, record, _ = trained
    again = train(config, tmp_path)
    assert again.metrics == record.metrics
    first, second = (history(folder, config.run_id) for folder in (results, tmp_path))
    assert without_clocks(first) == without_clocks(second)
    assert predictions_file(tmp_path, config) == predictions_file(results, config)


def test_a_done_run_is_not_trained_again(trained):
    config, results, record, _ = trained
    before = (results / config.run_id / "record.json").stat().st_mtime_ns
    assert train(config, results, lambda body: pytest.fail("trained")) == record
    assert (results / config.run_id / "record.json").stat().st_mtime_ns == before


def test_other_seeds_are_other_runs(trained, tiny, tmp_path):
    assert train(tiny(seed=1), tmp_path).metrics != trained[2].metrics


@pytest.mark.parametrize("drop_path", [0.0, 0.3])
def test_a_killed_run_resumes_exactly(start, tiny, tmp_path, drop_path):
    overrides = {"model.drop_path": drop_path, "data.crop_padding": 2, "data.mixup": 0.2}
    overrides["optim.epochs"] = 4
    config = tiny(**overrides)
    whole = train(config, tmp_path / "whole")
    flags = [*TINY_FLAGS, *(f"--{name}={value}" for name, value in overrides.items())]
    folder = tmp_path / "cut" / config.run_id
    process = start("python", "-m", "ablations.train", *flags, "--results", tmp_path / "cut")
    process.wait_for_line("epoch 2")
    process.wait_until((folder / CHECKPOINT_FILE).exists)
    process.send_signal(signal.SIGKILL)
    assert process.finish().returncode == -signal.SIGKILL
    assert not (folder / "record.json").exists()
    epochs = []
    resumed = train(config, tmp_path / "cut", lambda body: epochs.append(body["epoch"]))
    assert epochs
    assert epochs[0] in (2, 3, 4)  # not from the start
    assert epochs[-1] == 4
    assert resumed.metrics == whole.metrics
    cut_rows, whole_rows = (history(tmp_path / name, config.run_id) for name in ("cut", "whole"))
    assert without_clocks(cut_rows) == without_clocks(whole_rows)
    weights = [
        torch.load(tmp_path / name / config.run_id / WEIGHTS_FILE, weights_only=True)
        for name in ("cut", "whole")
    ]
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name]), name
    assert predictions_file(tmp_path / "cut", config) == predictions_file(
        tmp_path / "whole", config
    )


def test_a_broken_checkpoint_is_kept_and_the_run_starts_anew(trained, tmp_path, capsys):
    config, _, record, _ = trained
    folder = tmp_path / config.run_id
    folder.mkdir()
    (folder / CHECKPOINT_FILE).write_bytes(b"half a checkpoint")
    assert train(config, tmp_path).metrics == record.metrics
    assert "starting anew, it is kept as last.broken" in capsys.readouterr().err
    assert (folder / "last.broken").read_bytes() == b"half a checkpoint"


EXPLODING = {"model.norm": "none", "optim.optimizer": "sgd"}


@pytest.mark.parametrize(
    "change",
    [
        {"optim.lr": 1e12},
        {"optim.lr": 1e30},
        # One step an epoch: only the validation sees what it did.
        {"optim.lr": 1e30, "data.batch_size": 8000, "optim.epochs": 3},
    ],
)
def test_an_exploding_loss_is_a_result(tiny, tmp_path, change):
    config = tiny(**EXPLODING, **change)
    record = train(config, tmp_path)
    assert record.status == "diverged"
    assert record.done
    assert record.metric() is not None
    assert len(history(tmp_path, config.run_id)) == 1
    assert_predictions_match(tmp_path, record)
    json.loads((tmp_path / config.run_id / "record.json").read_text(), parse_constant=pytest.fail)


def test_a_run_that_diverges_late_keeps_its_weights(tiny, tmp_path, monkeypatch):
    from ablations.training.tasks.classification import Classification

    forward = Classification.forward

    def failing(self, images):
        broken = self.training and self.current_epoch > 0
        return forward(self, images) * (float("nan") if broken else 1)

    config = tiny(**{"optim.epochs": 3})
    monkeypatch.setattr(Classification, "forward", failing)
    record = train(config, tmp_path)
    assert record.status == "diverged"
    assert record.metric() > 50  # the step that would have broken the weights was not taken
    assert len(history(tmp_path, config.run_id)) == 2
    assert_predictions_match(tmp_path, record)


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("change", [{}, {**EXPLODING, "optim.lr": 1e30}])
def test_a_trained_run_without_a_record_only_writes_the_record(tiny, tmp_path, monkeypatch, change):
    config = tiny(**change)
    whole = train(config, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(Record, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "cut")
    assert (tmp_path / "cut" / config.run_id / CHECKPOINT_FILE).exists()
    # They follow from the checkpoint: a Ray node may have sent only that.
    (tmp_path / "cut" / config.run_id / PREDICTIONS_FILE).unlink()
    resumed = train(config, tmp_path / "cut", lambda body: pytest.fail("trained on"))
    assert (resumed.status, resumed.metrics) == (whole.status, whole.metrics)
    assert resumed.environment["precision"] == "32-true"
    assert predictions_file(tmp_path / "cut", config) == predictions_file(
        tmp_path / "whole", config
    )
    cut_rows, whole_rows = (history(tmp_path / name, config.run_id) for name in ("cut", "whole"))
    assert without_clocks(cut_rows) == without_clocks(whole_rows)


def test_a_run_started_on_other_images_is_not_continued(image_folder, tmp_path, tiny, monkeypatch):
    from ablations.errors import DataError

    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    overrides = {
        "data.name": "folder",
        "data.pipeline": "timm",
        "data.fit": "pad",
        "data.batch_size": 16,
    }
    with monkeypatch.context() as patched:
        patched.setattr(Record, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(**overrides, **{"data.root": str(image_folder)}), tmp_path / "runs")
    image = next((root / "train").rglob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"changed")
    with pytest.raises(DataError, match="use another results folder"):
        train(tiny(**overrides, **{"data.root": str(root)}), tmp_path / "runs")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_are_clipped_in_every_precision(tiny, tmp_path, precision):
    config = tiny(**{"optim.grad_clip": 1.0, "optim.epochs": 1, "system.precision": precision})
    record = train(config, tmp_path)
    assert record.status == "finished", record.failure
    assert record.environment["precision"] == precision
    assert record.metric() > 30


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_a_broken_file_is_named_in_the_failure(image_folder, tmp_path, tiny, loader_workers):
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    broken = next((root / "train").rglob("*.jpg"))
    broken.write_bytes(b"not an image")
    config = tiny(
        **{
            "data.name": "folder",
            "data.root": str(root),
            "data.pipeline": "timm",
            "data.fit": "pad",
            "data.batch_size": 48,
            "system.loader_workers": loader_workers,
        }
    )
    record = train(config, tmp_path / "runs")
    assert record.status == "failed"
    assert record.failure["kind"] == "data"
    assert broken.name in record.failure["message"]
    assert not record.done


def test_image_files_train_through_the_papers_pipeline(image_folder, tmp_path):
    from ablations.config.resolve import resolve

    overrides = {
        "data.name": "folder",
        "data.root": str(image_folder),
        "data.image_size": 32,
        "data.batch_size": 8,
        "model.num_classes": 3,
        "model.depths": [1, 1, 1, 1],
        "model.dims": [8, 8, 8, 8],
        "optim.epochs": 2,
        "optim.warmup_epochs": 1,
        "optim.cooldown_epochs": 1,
        "system.tracker": "none",
        "system.accelerator": "cpu",
    }
    record = train(resolve("imagenet", overrides), tmp_path)
    assert record.status == "finished", record.failure
    rows = history(tmp_path, record.run_id)
    assert len(rows) == 3  # the cool-down is an epoch
    assert_predictions_match(tmp_path, record)
    assert float(rows[-1]["lr"]) == pytest.approx(1e-5)


def test_a_record_of_other_images_is_refused(trained, tmp_path):
    from ablations.errors import DataError

    config, results, _, _ = trained
    tree = json.loads((results / config.run_id / "record.json").read_text())
    tree["data"]["fingerprint"] = "0" * 16
    (tmp_path / config.run_id).mkdir()
    (tmp_path / config.run_id / "record.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match="use another results folder"):
        train(config, tmp_path)


def test_a_tracker_that_fails_does_not_fail_the_run(tiny, tmp_path, monkeypatch):
    import wandb

    def broken(*_, **__):
        raise RuntimeError("no tracker today")

    monkeypatch.setattr(wandb, "init", broken)
    record = train(tiny(**{"system.tracker": "wandb", "optim.epochs": 1}), tmp_path)
    assert record.status == "finished"
    assert "no tracker today" in (tmp_path / record.run_id / "log.txt").read_text()


def test_a_failed_retraining_restores_the_predictions(trained, tmp_path, monkeypatch):
    config, results, record, _ = trained
    shutil.copytree(results / config.run_id, tmp_path / config.run_id)
    before = predictions_file(tmp_path, config)
    fit = train_module.fit

    def fails(*given):
        fit(*given)
        (tmp_path / config.run_id / PREDICTIONS_FILE).write_bytes(b"of the failed run")
        raise RuntimeError("failed at its end")

    monkeypatch.setattr(train_module, "fit", fails)
    assert train(config, tmp_path, reuse=False).status == "failed"
    assert records.find_record(tmp_path, config.run_id) == record
    assert predictions_file(tmp_path, config) == before
    (tmp_path / config.run_id / CHECKPOINT_FILE).unlink(missing_ok=True)
    (tmp_path / config.run_id / PREDICTIONS_FILE).unlink()  # as a run of an older version
    train(config, tmp_path, reuse=False)
    assert records.find_record(tmp_path, config.run_id) == record
    assert not (tmp_path / config.run_id / PREDICTIONS_FILE).exists()


@no_deadline
@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_predictions_have_the_accuracies_of_the_metrics(images, batch, classes, seed):
    """Also where logits are equal or not numbers, and for batches that do not divide the images."""
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randint(0, 3, (images, classes), generator=draws).float()
    logits[torch.rand(images, classes, generator=draws) < 0.05] = float("nan")
    labels = torch.randint(0, classes, (images,), generator=draws)
    task = Classification(resolve("mini", TINY))
    task.accuracy = create_accuracy(classes)
    task.forward = lambda batch: batch
    task.trainer = trainer = SimpleNamespace(world_size=1, num_training_batches=1)
    task.on_validation_epoch_start()
    for start in range(0, images, batch):
        task.validation_step((logits[start : start + batch], labels[start : start + batch]), 0)
    task.on_validation_epoch_end()
    assert trainer.world_size == 1
    predicted, top5, true = task.predictions.numpy()
    predictions = Predictions(predicted, predicted == true, top5 > 0, true, "")
    expected = {name: task.validation_metrics[f"val/{name}"] for name in TOPS}
    assert accuracies(predictions) == expected
    assert (true == labels.numpy()).all()


# Leases, links, checkpoints of other code


def test_a_run_that_another_process_trains_is_refused(tiny, tmp_path, capsys):
    config = tiny()
    with leases.hold_lease(tmp_path, config.run_id):
        words = ["train", *TINY_FLAGS, "--results", str(tmp_path)]
        assert main(words) == 2
        line = capsys.readouterr().err
    assert line.startswith(f"ablations: run {config.run_id} is being trained by process ")
    assert line.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["log.txt", ""])
def test_a_run_folder_or_log_that_is_a_link_is_refused(tiny, tmp_path, name):
    config = tiny(**{"optim.epochs": 1})
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    results = tmp_path / "runs"
    link = results / config.run_id / name
    link.parent.mkdir(parents=True)
    link.symlink_to(target / "file" if name else target)
    with pytest.raises(AccessError, match="is a symbolic link"):
        train(config, results)
    assert [path.name for path in target.iterdir()] == ["file"]
    assert not (target / "file").read_text()
    assert not list(results.glob("*/record.json"))


INVALID_CHECKPOINTS = {
    "without its epoch": lambda state: state.pop("epoch"),
    "with a word for its epoch": lambda state: state.update(epoch="1"),
    "with an epoch below 0": lambda state: state.update(epoch=-1),
    "with an invalid code hash": lambda state: state.update(code={"torch": 2}),
    "with an invalid history": lambda state: state["callbacks"]["History"].update(rows=[[1]]),
    "without a fingerprint": lambda state: state.update(fingerprint=None),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A run that was stopped after its first epoch: its checkpoint."""
    config, results = resolve("mini", TINY), tmp_path_factory.mktemp("stopped")

    def stop(body):  # before the second epoch's
        if body["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, results, stop)
    return results / config.run_id / CHECKPOINT_FILE


def test_a_valid_checkpoint_is_loaded(checkpoint):
    assert load_run_checkpoint(checkpoint, checkpoint.parent.name)["epoch"] == 0


@pytest.mark.parametrize("name", INVALID_CHECKPOINTS)
def test_an_invalid_checkpoint_is_renamed(checkpoint, tmp_path, name, capsys):
    state = torch.load(checkpoint, weights_only=True)
    INVALID_CHECKPOINTS[name](state)
    invalid = tmp_path / CHECKPOINT_FILE
    torch.save(state, invalid)
    assert load_run_checkpoint(invalid, state["run_id"]) is None
    assert "cannot be read (SchemaError: " in capsys.readouterr().err
    assert (tmp_path / records.BROKEN_CHECKPOINT_FILE).is_file()


def test_a_checkpoint_of_an_older_version_is_renamed(checkpoint, tmp_path, capsys):
    state = torch.load(checkpoint, weights_only=True)
    state["code"] = {"poolformer/mixers.py": "0" * 12}  # by path, not by role
    old = tmp_path / CHECKPOINT_FILE
    torch.save(state, old)
    assert load_run_checkpoint(old, state["run_id"]) is None
    assert "was made by other code (another version" in capsys.readouterr().err
    assert (tmp_path / records.BROKEN_CHECKPOINT_FILE).is_file()


def test_only_errors_in_the_runs_folder_are_storage_errors(tmp_path):
    def denied(path):
        return PermissionError(13, "Permission denied", str(path))

    folder = tmp_path / "0123456789ab"
    inside = storage.storage_error(denied(folder / "last.ckpt"), folder)
    assert str(inside) == f"{folder / 'last.ckpt'}: permission denied"
    wrapped = RuntimeError("x")
    wrapped.__cause__ = denied(folder)
    assert isinstance(storage.storage_error(wrapped, folder), AccessError)
    assert storage.storage_error(denied("/images/a.jpg"), folder) is None
    assert storage.storage_error(denied(tmp_path / "0123456789abc" / "x"), folder) is None
    assert storage.storage_error(PermissionError(13, "Permission denied"), folder) is None
    assert storage.storage_error(OSError(28, "No space left"), folder).errno == 28


def test_a_run_continues_when_its_lease_is_removed(tiny, tmp_path):
    def remove(body):
        shutil.rmtree(tmp_path / leases.LEASE_FOLDER, ignore_errors=True)

    assert train(tiny(**{"optim.epochs": 1}), tmp_path, remove).status == "finished"
    assert not (tmp_path / leases.LEASE_FOLDER).exists()


def test_a_run_that_was_taken_over_stops_writing(tiny, tmp_path):
    config = tiny(**{"optim.epochs": 3})
    folder = tmp_path / config.run_id

    def take_over(body):
        """Another process finds this one gone, and takes the run over."""
        if body["epoch"] == 1:
            (lease,) = (tmp_path / leases.LEASE_FOLDER).iterdir()
            lease.unlink()
            (folder / records.RUN_STATE_FILE).write_text("of another process")

    with pytest.raises(LeaseLostError):
        train(config, tmp_path, take_over)
    assert (folder / records.RUN_STATE_FILE).read_text() == "of another process"
    assert records.find_record(tmp_path, config.run_id) is None


def test_a_checkpoint_is_not_continued_by_other_code(tiny, tmp_path, monkeypatch, capsys):
    config = tiny()

    def stop(body):
        if body["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, stop)
    checkpoint = tmp_path / config.run_id / CHECKPOINT_FILE
    before = checkpoint.read_bytes()
    now = code_hash.current_hashes()
    monkeypatch.setattr(code_hash, "current_hashes", lambda: now | {"mixers": "0" * 12})
    assert main(["train", *TINY_FLAGS, "--results", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert f"{checkpoint} was made by other code than this (mixers)" in line
    assert checkpoint.read_bytes() == before
    monkeypatch.undo()
    assert train(config, tmp_path).done
