"""What a run predicted for each validation image at its last epoch: ``predictions.npz``."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablations.errors import AccessError, MissingFileError, RecordError, SchemaError
from ablations.machine.files import MAX_BYTES
from ablations.store.records import PREDICTIONS_FILE, Record
from ablations.store.storage import read_file, write_atomically

__all__ = [
    "PREDICTIONS_FILE",
    "Predictions",
    "load_predictions",
    "parse_predictions",
    "save_predictions",
]

# The arrays of the file and their types; compressed, an image takes less than two bytes.
_DTYPES = {"predicted": "<i4", "top1": "|b1", "top5": "|b1", "labels": "<i4"}
_TOLERANCE = 2e-4  # percent: accuracies in records have four digits, computed in float32
_REMEDY = "remove it (the record is valid without), or train the run again"


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of a run, in the order of the validation set.

    Args:
        predicted: The class with the largest logit, int (N,).
        top1: Whether that class is right, bool (N,).
        top5: Whether the true class has one of the five largest logits, bool (N,).
        labels: The true class, int (N,).
        fingerprint: The fingerprint of the data set.
    """

    predicted: NDArray[np.integer[Any]]
    top1: NDArray[np.bool_]
    top5: NDArray[np.bool_]
    labels: NDArray[np.integer[Any]]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)


def save_predictions(folder: Path, predictions: Predictions) -> None:
    """Write the predictions of a run. Equal predictions give equal bytes.

    Args:
        folder: The folder of the run.
        predictions: The predictions.

    Raises:
        OSError: The folder cannot be written.
    """
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        name: np.asarray(getattr(predictions, name), dtype) for name, dtype in _DTYPES.items()
    }
    np.savez_compressed(content, **arrays, fingerprint=np.array(predictions.fingerprint))
    write_atomically(folder / PREDICTIONS_FILE, content.getvalue())


def load_predictions(folder: Path, record: Record) -> Predictions | None:
    """The predictions of a run; None where it has none, as runs of older versions.

    Args:
        folder: The folder of the run.
        record: Its record.

    Raises:
        RecordError: The file cannot be read, is damaged, or does not belong to the record: other
            images, another number of them, or other accuracies.
    """
    path = folder / PREDICTIONS_FILE
    try:
        return parse_predictions(read_file(path), record)
    except MissingFileError:
        return None
    except AccessError as error:
        raise RecordError(f"{error}: {_REMEDY}") from error
    except SchemaError as error:
        raise RecordError(f"{path} {error}: {_REMEDY}") from error


def parse_predictions(content: bytes, record: Record) -> Predictions:
    """The predictions in the content of a file.

    Raises:
        SchemaError: It is damaged, or does not belong to the record; without the file's name.
    """
    predictions = _of_arrays(_unpack(content))
    _check_record(predictions, record)
    return predictions


def _unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            # A small file may unpack to gigabytes.
            if sum(member.file_size for member in file.zip.infolist()) > MAX_BYTES:
                raise SchemaError(f"unpacks to more than {MAX_BYTES >> 20} MiB")
            return {name: file[name] for name in file.files}
    except SchemaError:
        raise
    except Exception as error:  # whatever numpy and zipfile raise for a damaged file
        raise SchemaError("is truncated or damaged, or no npz file") from error


def _of_arrays(arrays: dict[str, NDArray[Any]]) -> Predictions:
    expected = sorted([*_DTYPES, "fingerprint"])
    if sorted(arrays) != expected:
        raise SchemaError(f"has not the arrays {', '.join(expected)}")
    fingerprint = arrays["fingerprint"]
    if fingerprint.shape != () or fingerprint.dtype.kind != "U":
        raise SchemaError("has a fingerprint that is not one text")
    for name, dtype in _DTYPES.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != (arrays["labels"].size,):
            found = f"{array.dtype}{list(array.shape)}"[:60]
            raise SchemaError(f"has {found} for {name}, not one {np.dtype(dtype)} an image")
    return Predictions(**{name: arrays[name] for name in _DTYPES}, fingerprint=str(fingerprint))


def _check_record(predictions: Predictions, record: Record) -> None:
    """Raise SchemaError if predictions contradict themselves or their record."""
    data, images = record.data, len(predictions)
    if predictions.fingerprint != data.get("fingerprint"):
        raise SchemaError(
            f"is of images with fingerprint {predictions.fingerprint[:40]!r}, its record of "
            f"{data.get('fingerprint') or 'unknown'}"
        )
    if not images or images != data.get("val", images):
        raise SchemaError(f"has {images} images, its record {data.get('val', 'some')}")
    classes = np.concatenate([predictions.predicted, predictions.labels])
    if classes.min() < 0 or classes.max() >= data.get("classes", np.inf):
        raise SchemaError(f"has a class outside 0 to {data.get('classes', 0) - 1}")
    if (predictions.top1 != (predictions.predicted == predictions.labels)).any():
        raise SchemaError("has top1 that contradict predicted and labels")
    for name in ("top1", "top5"):
        found, recorded = 100 * getattr(predictions, name).mean(), record.metric(f"val/{name}")
        if recorded is not None and abs(found - recorded) > _TOLERANCE:
            raise SchemaError(f"gives a val/{name} of {found:.4f}, its record has {recorded:.4f}")
