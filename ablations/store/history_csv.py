"""The history of a run: ``history.csv``, one row per epoch."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ablations.errors import MissingFileError, RecordError
from ablations.store.storage import read_file, write_atomically

# Losses are means over the epoch, accuracies percent, seconds wall time.
HISTORY_COLUMNS = ["epoch", "train/loss", "lr", "val/top1", "val/top5", "val/loss", "pictures"]
HISTORY_COLUMNS += ["train_seconds", "epoch_seconds"]
_NUMBER = re.compile(r"-?(nan|inf|[0-9]+(\.[0-9]*)?(e[+-]?[0-9]+)?)")  # as Python writes them


def write_history(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write one line per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history; none where there is no file.

    Raises:
        RecordError: The file cannot be read, a row has another length than the header, a value is
            not a number, or the epochs do not increase from 1.
    """
    try:
        content = read_file(path)
    except MissingFileError:
        return []
    try:
        lines = content.decode().splitlines()
        header, *cells = [row for row in csv.reader(lines, strict=True) if row] or [["epoch"]]
        rows = [
            {name: _parse_number(value) for name, value in zip(header, row, strict=True)}
            for row in cells
        ]
        if len(set(header)) < len(header) or "epoch" not in header:
            raise ValueError(f"its columns are {', '.join(header)[:80]}")
        epochs = [row["epoch"] for row in rows]
        if any(not isinstance(epoch, int) or epoch < 1 for epoch in epochs):
            raise ValueError("an epoch is not a whole number from 1")
        if epochs != sorted(set(epochs)):
            raise ValueError("its epochs do not increase")
    except (ValueError, csv.Error) as error:
        raise RecordError(f"{path} is not a history: {error}") from error
    return rows


def _parse_number(text: str) -> float:
    """A number as Python wrote it: an int where it has no point or exponent."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number")
    return int(text) if text.removeprefix("-").isdigit() and len(text) < 19 else float(text)
