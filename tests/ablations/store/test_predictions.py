"""predictions.npz: round trip, and files that are damaged or of another run."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.errors import RecordError
from ablations.store.predictions import (
    PREDICTIONS_FILE,
    Predictions,
    load_predictions,
    save_predictions,
)
from tests.factories.predictions import ARRAYS, made_up_predictions
from tests.factories.records import BASE
from tests.factories.samples import no_deadline


def saved(tmp_path, **change) -> tuple[Path, object]:
    """A file of predictions, some of its arrays replaced, and the record that it belongs to."""
    predictions, record = made_up_predictions(BASE[0], 200)
    save_predictions(tmp_path, predictions)
    path = tmp_path / PREDICTIONS_FILE
    if change:
        with np.load(path) as file:
            arrays = {**file, **change}
        np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path, record


def problem(path: Path, record) -> str:
    """The one line that a file is refused with, without its start and its end."""
    with pytest.raises(RecordError) as refused:
        load_predictions(path.parent, record)
    line = str(refused.value)
    end = ": remove it (the record is valid without), or train the run again"
    assert line.startswith(f"{path}")
    assert line.endswith(end)
    assert "\n" not in line
    assert len(line) < len(str(path)) + len(end) + 150
    return line.removeprefix(str(path)).removesuffix(end).strip(" :")


@no_deadline
@given(
    st.integers(1, 300),
    st.integers(2, 3000),
    st.integers(0, 2**32 - 1),
    st.sampled_from([np.int64, np.int32, np.uint16]),
)
def test_what_is_saved_is_loaded(images, classes, seed, dtype):
    predictions, record = made_up_predictions(BASE[0], images, classes, seed)
    predictions = replace(
        predictions,
        predicted=predictions.predicted.astype(dtype),
        labels=predictions.labels.astype(dtype),
    )
    with tempfile.TemporaryDirectory() as folder:
        save_predictions(Path(folder), predictions)
        first = (Path(folder) / PREDICTIONS_FILE).read_bytes()
        loaded = load_predictions(Path(folder), record)
        save_predictions(Path(folder), loaded)
        assert (Path(folder) / PREDICTIONS_FILE).read_bytes() == first
    assert len(loaded) == images
    assert loaded.fingerprint == predictions.fingerprint
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(predictions, name))


def test_a_file_takes_a_few_kilobytes(tmp_path):
    predictions, _ = made_up_predictions(BASE[0], 2000, 10)
    save_predictions(tmp_path, predictions)
    assert (tmp_path / PREDICTIONS_FILE).stat().st_size < 5000


def test_a_run_without_the_file_has_no_predictions(tmp_path):
    assert load_predictions(tmp_path, BASE[0]) is None
    assert load_predictions(tmp_path / "none", BASE[0]) is None


@no_deadline
@given(st.data())
def test_a_truncated_or_damaged_file_is_refused_or_unchanged(data):
    with tempfile.TemporaryDirectory() as folder:
        path, record = saved(Path(folder))
        good = path.read_bytes()
        whole = load_predictions(path.parent, record)
        if data.draw(st.booleans()):
            damaged = good[: data.draw(st.integers(0, len(good) - 1))]
        else:
            place = data.draw(st.integers(0, len(good) - 1))
            byte = data.draw(st.integers(0, 255))
            damaged = good[:place] + bytes([byte]) + good[place + 1 :]
        path.write_bytes(damaged)
        try:
            loaded = load_predictions(path.parent, record)
        except RecordError as error:
            assert str(error).startswith(str(path))
            assert "\n" not in str(error)
        else:  # the byte was one that nobody reads, such as the time of a member
            assert len(damaged) == len(good)
            for name in ARRAYS:
                np.testing.assert_array_equal(getattr(loaded, name), getattr(whole, name))


def test_a_truncated_file_is_refused(tmp_path):
    path, record = saved(tmp_path)
    content = path.read_bytes()
    for length in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert problem(path, record) == "is truncated or damaged, or no npz file"


@pytest.mark.parametrize("content", [b"predicted\n1\n", b"\x80\x04.", b"\x93NUMPY", b"PK\x05\x06"])
def test_a_file_of_another_format_is_refused(tmp_path, content):
    path, record = saved(tmp_path)
    path.write_bytes(content)
    assert problem(path, record) == "is truncated or damaged, or no npz file"


def test_a_single_array_is_refused(tmp_path):
    path, record = saved(tmp_path)
    content = io.BytesIO()
    np.save(content, np.zeros(200))
    path.write_bytes(content.getvalue())
    assert problem(path, record) == "is truncated or damaged, or no npz file"


def test_a_pickle_inside_is_not_loaded(tmp_path):
    path, record = saved(tmp_path, predicted=np.array([print] * 200, dtype=object))
    assert problem(path, record) == "is truncated or damaged, or no npz file"


def test_a_file_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path, record = saved(tmp_path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("predicted.npy", bytes(2**27))
    assert path.stat().st_size < 2**18
    assert problem(path, record) == "unpacks to more than 64 MiB"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
def test_something_else_in_its_place_is_refused(tmp_path, make):
    path, record = saved(tmp_path)
    path.unlink()
    make(path)
    assert problem(path, record)


OTHER = np.zeros(200, np.int32)
WRONG = {
    "another key": ({"extra": OTHER}, "has not the arrays fingerprint, labels, predicted, top1"),
    "a missing key": ({"top5": None}, "has not the arrays fingerprint, labels, predicted, top1"),
    "floats": ({"predicted": OTHER.astype(float)}, "has float64[200] for predicted, not one int32"),
    "words": ({"labels": np.array(["a"] * 200)}, "has <U1[200] for labels, not one int32"),
    "numbers for bools": ({"top1": OTHER}, "has int32[200] for top1, not one bool"),
    "two columns": ({"predicted": OTHER.reshape(100, 2)}, "has int32[100, 2] for predicted"),
    "a short array": ({"top5": np.ones(199, bool)}, "has bool[199] for top5, not one bool"),
    "a number for the fingerprint": ({"fingerprint": np.array(7)}, "has a fingerprint that is not"),
    "a class too many": ({"predicted": OTHER + 10}, "has a class outside 0 to 9"),
    "a class below 0": ({"predicted": OTHER - 1}, "has a class outside 0 to 9"),
    "contradictory hits": ({"predicted": OTHER}, "has top1 that contradict predicted and labels"),
    "another top-5": ({"top5": np.zeros(200, bool)}, "gives a val/top5 of 0.0000, its record has"),
    "other images": (
        {"fingerprint": np.array("e" * 16)},
        f"is of images with fingerprint '{'e' * 16}', its record of {'f' * 16}",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_arrays_are_refused(tmp_path, name):
    change, reason = WRONG[name]
    assert problem(*saved(tmp_path, **change)).startswith(reason)


def test_predictions_of_another_number_of_images_are_refused(tmp_path):
    path, record = saved(tmp_path)
    other = replace(record, data={**record.data, "val": 201})
    assert problem(path, other) == "has 200 images, its record 201"
    predictions, _ = made_up_predictions(BASE[0], 200)
    none = {name: getattr(predictions, name)[:0] for name in ARRAYS}
    save_predictions(tmp_path, Predictions(**none, fingerprint=predictions.fingerprint))
    assert problem(path, record) == "has 0 images, its record 200"


def test_predictions_of_another_training_are_refused(tmp_path):
    path, record = saved(tmp_path)
    top1 = record.metric()
    other = replace(record, metrics={"val/top1": {"last": top1 + 0.5, "best": top1 + 0.5}})
    assert problem(path, other) == (
        f"gives a val/top1 of {top1:.4f}, its record has {top1 + 0.5:.4f}"
    )


def test_records_without_sizes_or_metrics_are_still_compared_with_what_they_have(tmp_path):
    path, record = saved(tmp_path)
    old = replace(record, data={"fingerprint": "f" * 16}, metrics={})
    assert len(load_predictions(tmp_path, old)) == 200
    assert problem(path, replace(old, data={})).endswith("its record of unknown")
