"""Fields that a later version adds: older records stay readable, and run ids stay as they are."""

from __future__ import annotations

import json

import pytest

from ablations.config import schema
from ablations.config.resolve import resolve
from ablations.store.load import load_records
from ablations.store.records import Record
from ablations.store.run_state import RunState, find_run_state

FIELD = "model.down_padding"


@pytest.fixture(autouse=True)
def later_version(monkeypatch):
    """As if this version had added a field of today, and no earlier run had it."""
    monkeypatch.setattr(schema, "ADDED_FIELDS", [FIELD])


def without_field(config):
    tree = json.loads(json.dumps(config))
    group, name = FIELD.split(".")
    del tree[group][name]
    return tree


def test_the_id_leaves_out_an_added_field_that_has_its_default():
    default, other = resolve("mini"), resolve("mini", {FIELD: 2})
    assert schema.run_id_of(without_field(default.to_json())) == default.run_id
    assert other.run_id != default.run_id
    assert other.variant_id != default.variant_id


def test_a_record_that_lacks_an_added_field_has_its_default(tmp_path):
    config = resolve("mini", {"seed": 3})
    older = Record(
        config.run_id,
        "finished",
        without_field(config.to_json()),
        metrics={"val/top1": {"last": 80.0, "best": 80.0}},
        environment={"precision": "32-true"},
    )
    older.write(tmp_path)
    loaded = load_records([tmp_path])
    assert loaded.problems == []
    (record,) = loaded.records
    assert record.config == config.to_json()
    newer = Record(config.run_id, "failed", config.to_json())
    assert record.variant == newer.variant == older.variant


def test_the_state_of_a_run_that_lacks_an_added_field_has_its_default(tmp_path):
    config = resolve("mini")
    RunState(config.run_id, without_field(config.to_json()), tracker={}).write(tmp_path)
    assert find_run_state(tmp_path, config.run_id).config == config.to_json()
