"""Which validation images the runs of a study have right, for statistics over seeds and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ablations.analysis.rows import Row
from ablations.analysis.stats.crossed import Correct
from ablations.errors import ConfigError
from ablations.store.predictions import PREDICTIONS_FILE, load_predictions
from ablations.store.records import Record


def correct_images(
    records: Iterable[Record], origins: Mapping[str, str]
) -> dict[str, NDArray[np.bool_]]:
    """Run id -> whether its top-1 prediction is right, by image; only runs that have predictions.

    Args:
        records: Usable records.
        origins: Run id -> the file or address of its record. Runs in W&B have no predictions here.

    Raises:
        RecordError: Predictions are damaged or do not belong to their record.
    """
    folders = {record.run_id: Path(origins[record.run_id]).parent for record in records}
    found = {each.run_id: load_predictions(folders[each.run_id], each) for each in records}
    return {run_id: each.top1 for run_id, each in found.items() if each is not None}


def correct_by_row(
    rows: Sequence[Row], correct: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Correct]:
    """Label -> seed -> whether each image is right, for every outcome of the rows.

    Raises:
        ConfigError: Runs have an outcome and no predictions. A table is never over seeds and images
            for some rows and over seeds for others.
    """
    runs = {
        row.label: {r.config["seed"]: r.run_id for r in row.records if r.run_id in correct}
        for row in rows
    }
    lacking = {row.label: sorted(row.top1_by_seed.keys() - runs[row.label]) for row in rows}
    if named := [
        f"{label} (seeds {', '.join(map(str, seeds))})" for label, seeds in lacking.items() if seeds
    ]:
        raise ConfigError(
            f"--over seeds+images needs {PREDICTIONS_FILE} of every run, and these rows lack it: "
            f"{'; '.join(named)}: train them again, or use --over seeds"
        )
    return {
        row.label: {seed: correct[runs[row.label][seed]] for seed in row.top1_by_seed}
        for row in rows
    }
