"""Loading records, studies and histories from folders of results, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ablations.analysis.build import build_studies
from ablations.analysis.planned import apply_plans
from ablations.analysis.study import Study
from ablations.errors import RecordError
from ablations.store import load, predictions
from ablations.store.history_csv import read_history
from ablations.store.load import LoadResult
from ablations.store.predictions import Predictions
from ablations.store.records import HISTORY_FILE, RECORD_FILE, Record


def load_records(*folders: str | Path) -> list[Record]:
    """The records in results folders, one per run.

    Args:
        folders: The results folders.

    Raises:
        RecordError: A folder does not exist, or one of its records cannot be used.

    Examples:
        >>> {record.status for record in ablations.load_records("results/mini")}
        {'finished', 'diverged'}
    """
    found = load.load_records([Path(folder) for folder in folders])
    if found.problems:
        raise RecordError(found.problems[0])
    return found.records


def load_studies(*folders: str | Path) -> list[Study]:
    """The studies in folders of results.

    Raises:
        RecordError: A folder does not exist, or has a record that cannot be used.
    """
    return apply_plans(build_studies(load_records(*folders)), map(Path, folders))


def load_histories(*folders: str | Path) -> dict[str, list[dict[str, float]]]:
    """The histories of the usable runs in folders of results: run id -> a row an epoch.

    A run without a history has no rows. Columns as in ``records.HISTORY_COLUMNS``.

    Raises:
        RecordError: A folder does not exist, or a history has a cell that is no number.
    """
    places = load.load_records([Path(folder) for folder in folders]).origins
    return {run: read_history(Path(place).parent / HISTORY_FILE) for run, place in places.items()}


def load_predictions(*folders: str | Path) -> dict[str, Predictions]:
    """What runs predicted for each validation image: run id -> predictions.

    Only usable runs are read; those of older versions have no predictions and are left out.

    Args:
        folders: The results folders.

    Raises:
        RecordError: A folder does not exist, or predictions are damaged or do not belong to their
            record.

    Examples:
        >>> found = ablations.load_predictions("runs")
        >>> {run_id: (~each.top1).sum() for run_id, each in found.items()}
        {'3f2ac1d09b7e': 247}
    """
    found = load.load_records([Path(folder) for folder in folders])
    return predictions_of(found, found.records)


def predictions_of(found: LoadResult, runs: Iterable[Record]) -> dict[str, Predictions]:
    """The predictions beside records on disk: run id -> predictions, of the runs that have any.

    Args:
        found: Records and their files.
        runs: Some of the records.

    Raises:
        RecordError: Predictions are damaged or do not belong to their record.
    """
    loaded = {}
    for record in runs:
        path = Path(found.origins[record.run_id])
        if path.name == RECORD_FILE:  # not a run of W&B
            loaded[record.run_id] = predictions.load_predictions(path.parent, record)
    return {run_id: each for run_id, each in loaded.items() if each}


def find_folder(folder: str | Path) -> Path:
    """A folder as given, or the one of that name in a folder above the current one.

    So a notebook finds ``results/mini`` from its own folder and from the repository's.

    Raises:
        RecordError: There is none.
    """
    for above in range(len(Path.cwd().parts)):
        place = Path(*[".."] * above) / folder
        if place.is_dir():
            return place
    raise RecordError(
        f"no folder {folder}, here or above: give one that `ablations run` has filled"
    )
