"""Data sets from Python arrays: registered by a plugin, identified by their content."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ablations import data
from ablations.cli.main import main
from ablations.config import data_sources
from ablations.config.resolve import resolve
from ablations.data import mini
from ablations.data.batches import create_loaders
from ablations.errors import ConfigError
from ablations.store.records import find_record
from tests.factories.configs import TINY

# 40 training and 20 validation images of the embedded Fashion-MNIST, saved by the test.
PLUGIN = """
from pathlib import Path
import numpy as np
from ablations.data import register_arrays

images = np.load(Path(__file__).with_name("images.npz"))
register_arrays("clothes", images["train"], images["train_labels"], images["val"],
                images["val_labels"], classes=tuple("abcdefghij"))
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(data_sources, "DATA_SOURCES", dict(data_sources.DATA_SOURCES))
    monkeypatch.setattr(data_sources, "REGISTERED_BY", {})


def real_images(train: int = 40, val: int = 20) -> dict[str, np.ndarray]:
    dataset = mini.load_mini()
    return {
        "train": dataset.train.images[:train, ..., 0],
        "train_labels": dataset.train.labels[:train],
        "val": dataset.val.images[:val, ..., 0],
        "val_labels": dataset.val.labels[:val],
    }


def register(name: str = "clothes", **changed) -> data_sources.DataSource:
    arrays = real_images() | changed
    data.register_arrays(
        name,
        arrays["train"],
        arrays["train_labels"],
        arrays["val"],
        arrays["val_labels"],
        arrays.get("classes"),
    )
    return data_sources.DATA_SOURCES[name]


def test_batches_contain_the_registered_images():
    register()
    config = resolve("mini", {"data.name": "clothes", "data.batch_size": 4, "data.image_size": 28})
    dataset = data.load_dataset(config.data)
    expected = real_images()
    assert np.array_equal(dataset.val.images[..., 0], expected["val"])
    assert dataset.mean == pytest.approx((expected["train"].mean() / 255,), abs=1e-4)
    assert data.is_available(config.data)
    assert (config.model.in_channels, config.model.num_classes) == (1, 10)
    _, val = create_loaders(dataset, config.data, seed=0)
    images, labels = next(iter(val))
    assert labels.tolist() == expected["val_labels"].tolist()
    restored = images * dataset.std[0] + dataset.mean[0]
    assert np.allclose(restored[:, 0].numpy() * 255, expected["val"], atol=1e-3)


def test_other_images_give_another_run_id():
    fields = {"data.name": "clothes", "data.batch_size": 4}
    register()
    first = resolve("mini", fields)
    assert first.data.name == f"clothes@{data.dataset_identity(first.data)['fingerprint']}"
    register()
    assert resolve("mini", fields).run_id == first.run_id
    other = real_images()["train"].copy()
    other[0, 14, 14] ^= 1
    register(train=other)
    second = resolve("mini", fields)
    assert second.run_id != first.run_id
    assert data.dataset_identity(second.data) != {"fingerprint": first.data.name.split("@")[1]}
    with pytest.raises(ConfigError, match="clothes have fingerprint"):
        resolve("mini", {**fields, "data.name": first.data.name})


def test_colour_images_work_with_either_pipeline():
    grey = real_images()
    colour = {split: np.repeat(grey[split][..., None], 3, -1) for split in ("train", "val")}
    colour["train"][..., 2] //= 2
    source = register(**colour)
    assert (source.channels, source.image_side, source.images) == (3, 28, (40, 20))
    for pipeline in ("tensor", "timm"):
        config = resolve(
            "mini" if pipeline == "tensor" else "imagenet",
            {
                "data.name": "clothes",
                "data.batch_size": 4,
                "data.image_size": 32,
                "model.num_classes": 10,
            },
        )
        train, _ = create_loaders(data.load_dataset(config.data), config.data, seed=0)
        assert next(iter(train))[0].shape == (4, 3, 32, 32)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": np.zeros((40, 28, 28))}, "train_images .* float64"),
        ({"train": np.zeros((40, 28), np.uint8)}, "train_images .*give uint8"),
        ({"train": np.zeros((40, 28, 28, 4), np.uint8)}, "1 or 3 channels"),
        ({"train": np.zeros((39, 28, 28), np.uint8)}, "39 and have 40 labels"),
        ({"train": np.zeros((40, 28, 28), np.uint8)}, "one single value"),
        ({"val": np.zeros((20, 28, 27), np.uint8)}, "28x28x1 and val_images 28x27x1"),
        ({"val_labels": np.zeros(20)}, "val_labels .* float64"),
        ({"val_labels": np.full(20, -1)}, "labels must be 0 to 9"),
        ({"classes": ("one", "two")}, "labels must be 0 to 1"),
    ],
)
def test_invalid_arrays_are_refused(changed, message):
    with pytest.raises(ConfigError, match=f"clothes: .*{message}"):
        register(**changed)


@pytest.mark.parametrize("name", ["mini", "two words", "1st", ""])
def test_taken_and_invalid_names_are_refused(name):
    with pytest.raises(ConfigError, match="data source"):
        register(name)


def test_a_registered_source_may_load_its_images_later():
    calls = []

    def load(root, training):
        calls.append((root, training))
        return mini.load_mini()

    source = data.DataSource("lazy", channels=1, num_classes=10, load=load, needs_root=True)
    data.register_data_source(source)
    config = resolve("mini", {"data.name": "lazy"})
    assert not data.is_available(config.data)
    config = resolve("mini", {"data.name": "lazy", "data.root": "somewhere"})
    assert data.is_available(config.data)
    assert not calls
    assert len(data.load_dataset(config.data).train) == 8000
    assert calls == [("somewhere", True)]


def test_the_command_line_trains_on_images_of_a_plugin(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_clothes", raising=False)
    np.savez("images.npz", **real_images())
    Path("my_clothes.py").write_text(PLUGIN)
    flags = [f"--{name}={value}" for name, value in TINY.items()]
    command = ["train", "--tracker", "none", "--plugins", "my_clothes", *flags]
    assert main([*command, "--data.name", "clothes", "--data.batch_size", "20"]) == 0
    (path,) = Path("runs").glob("*/record.json")
    name = json.loads(path.read_text())["config"]["data"]["name"]
    record = find_record(Path("runs"), path.parent.name)
    assert name == f"clothes@{record.data['fingerprint']}"
    assert (record.data["train"], record.data["val"]) == (40, 20)
    # Commands that only read need no plugin.
    del data_sources.DATA_SOURCES["clothes"]
    assert main(["table", "runs"]) == 0
    assert main(["status", "runs"]) == 0
    capsys.readouterr()


def test_an_unknown_data_set_is_reported_by_name(capsys):
    assert main(["train", "--data.name", "clothez"]) == 2
    assert "clothez" in capsys.readouterr().err
