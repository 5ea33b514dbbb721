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
    return Predictions(predicted, top1, top5, labels, record.data["fingerprint"]), replace(
        record,
        data={**record.data, "val": images, "classes": classes},
        metrics={
            f"val/{name}": {"last": value, "best": value}
            for name, value in percents(top1=top1, top5=top5).items()
        },
    )


def percents(**hits: np.ndarray) -> dict[str, float]:
    """Accuracies as a record has them."""
    return {
        name: round(100 * float(np.float32(array.sum()) / np.float32(len(array))), 4)
        for name, array in hits.items()
    }
