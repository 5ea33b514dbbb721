"""What all data sources share: the errors of missing images and of large batches."""

from __future__ import annotations

import os

import pytest

from ablations import data
from ablations.config.resolve import resolve
from ablations.config.schema import DataConfig
from ablations.errors import DataError
from ablations.store import records
from ablations.store.records import Record


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fashion", "no Fashion-MNIST in .*none: put the four"),
        ("cifar10", "no cifar10 in .*none: unpack its python version"),
        ("cifar100", "no cifar100 in .*none: unpack its python version"),
        ("imagenette", "no Imagenette in .*none: unpack imagenette2-320.tgz"),
        ("folder", "no folder .*none/train: put the images there as train/<class>"),
    ],
)
def test_a_missing_data_set_is_an_error_that_says_what_to_do(tmp_path, no_network, name, message):
    pipeline = "timm" if name in ("imagenette", "folder") else "tensor"
    config = DataConfig(name=name, root=str(tmp_path / "none"), pipeline=pipeline)
    with pytest.raises(DataError, match=message) as caught:
        data.load_dataset(config)
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_the_data_set_is_refused():
    with pytest.raises(DataError, match="batch_size 9000 is above the 8000 training images"):
        data.load_dataset(DataConfig(batch_size=9000))


def test_a_record_can_be_read_though_its_data_root_is_not_utf_8(tmp_path):
    root = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    config = resolve("mini", {"data.root": root})
    assert config.data.root == root
    why = {"kind": "data", "message": "x"}
    Record(config.run_id, "failed", config.to_json(), failure=why).write(tmp_path)
    record = records.find_record(tmp_path, config.run_id)
    assert record.config["data"]["root"] == f"{tmp_path}/caf\\udce9"
