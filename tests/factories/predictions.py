"""Made-up predictions, and the record that they belong to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ablations.store.predictions import Predictions
from ablations.store.records import Record

ARRAYS = ("predicted", "top1", "top5", "labels")


def made_up_predictions(
    record: Record, images: int, classes: int = 10, seed: int = 0
) -> tuple[Predictions, Record]:
    """Predictions of which about four in five are right, and the record with their accuracies."""
    draws = np.random.default_rng(seed)
    labels, others = draws.integers(0, classes, (2, images))
    predicted = np.where(draws.random(images) < 0.8, labels, others)
    top1 = predicted == labels
    top5 = top1 | (draws.random(images) < 0.5)
    predictions = Predictions(predicted, top1, top5, labels, record.data["fingerprint"])
    return predictions, replace(
        record,
        data={**record.data, "val": images, "classes": classes},
        metrics={
            f"val/{name}": {"last": value, "best": value}
            for name, value in accuracies(predictions).items()
        },
    )


def accuracies(predictions: Predictions) -> dict[str, float]:
    """Top-1 and top-5 exactly as a record has them: in percent, four digits, from float32."""
    images = np.float32(len(predictions))
    return {
        name: round(100 * float(np.float32(getattr(predictions, name).sum()) / images), 4)
        for name in ("top1", "top5")
    }
