"""Validation images that flip between two rows: right with most seeds of one, wrong of the other.

Beside them McNemar's counts (Psychometrika 12, 1947) of each seed: the images that only one of its
two runs gets right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ablations.analysis.rows import Row, match_rows, unknown_row_message
from ablations.analysis.study import Study
from ablations.data.validation import ValidationImages, validation_images
from ablations.errors import ConfigError, RecordError
from ablations.machine import env_vars
from ablations.store.predictions import Predictions
from ablations.store.records import PREDICTIONS_FILE, Record

P_NOTE = (
    "p is that of McNemar's exact test: whether the two runs of a seed would differ in accuracy on "
    "other images. It says nothing about other seeds, and the sum has none: the same images are in "
    "it once a seed."
)


@dataclass(frozen=True)
class Counts:
    """McNemar's counts for the two runs of a seed, or summed over seeds.

    Args:
        both: Images that both get right.
        gained: Images that only the row gets right.
        lost: Images that only the baseline gets right.
        neither: Images that both get wrong.
    """

    both: int
    gained: int
    lost: int
    neither: int

    @property
    def p(self) -> float:
        """Two-sided exact p (McNemar's, as ``scipy.stats.binomtest(gained, gained + lost)``)."""
        from scipy.special import bdtr

        count = self.gained + self.lost
        return min(1.0, 2 * float(bdtr(min(self.gained, self.lost), count, 0.5)))


@dataclass(frozen=True)
class Flip:
    """A validation image that flips.

    Args:
        image: Its index in the validation set.
        label: Its true class.
        gained: Whether most seeds of the row get it right, and of the baseline wrong; else the
            other way round.
        predicted: The class that the baseline and the row predict: of the side that is wrong the
            most frequent wrong one, the smallest of several.
        right: How many seeds of the baseline and of the row get it right.
    """

    image: int
    label: int
    gained: bool
    predicted: tuple[int, int]
    right: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Side:
    """The predictions of a row: seed -> what its run predicted.

    Args:
        row: The row.
        by_seed: At least one run.
    """

    row: Row
    by_seed: Mapping[int, Predictions]

    @cached_property
    def right(self) -> NDArray[np.intp]:
        """The number of seeds that get each image right, (N,)."""
        counts: NDArray[np.intp] = np.sum([each.top1 for each in self.by_seed.values()], axis=0)
        return counts

    def predicted(self, image: int, label: int) -> int:
        """The class of an image by most seeds, or where most are wrong their most frequent one."""
        if 2 * self.right[image] > len(self.by_seed):
            return label
        classes = [int(each.predicted[image]) for each in self.by_seed.values()]
        wrong = sorted(each for each in classes if each != label)
        return max(wrong, key=wrong.count)


@dataclass(frozen=True, eq=False)
class Flips:
    """What flips between a row and the baseline.

    Args:
        study: Their study.
        baseline: The row that is compared with.
        row: The other row.
        notes: Runs that are left out, in words.
    """

    study: Study
    baseline: Side
    row: Side
    notes: Sequence[str] = ()

    @property
    def sides(self) -> tuple[Side, Side]:
        """The baseline and the row."""
        return self.baseline, self.row

    @cached_property
    def labels(self) -> NDArray[np.integer]:
        """The true class of each image, (N,)."""
        return next(iter(self.row.by_seed.values())).labels

    @cached_property
    def flips(self) -> list[Flip]:
        """Gained images, then lost ones; those with the clearest majorities first."""
        seeds = [len(side.by_seed) for side in self.sides]
        base, row = (2 * side.right - n for side, n in zip(self.sides, seeds, strict=True))
        found = []
        for gained, right, wrong in ((True, row, base), (False, base, row)):
            images = np.flatnonzero((right > 0) & (wrong < 0))
            shares = self.row.right[images] / seeds[1] - self.baseline.right[images] / seeds[0]
            order = np.argsort(-np.abs(shares), kind="stable")
            found += [self._flip(int(image), gained) for image in images[order]]
        return found

    def _flip(self, image: int, gained: bool) -> Flip:
        label = int(self.labels[image])
        first, second = (
            (side.predicted(image, label), int(side.right[image])) for side in self.sides
        )
        return Flip(image, label, gained, (first[0], second[0]), (first[1], second[1]))

    @cached_property
    def counts(self) -> dict[int, Counts]:
        """McNemar's counts of each seed that both rows have; empty without a common one."""
        base, row = self.baseline.by_seed, self.row.by_seed
        return {seed: _count(base[seed], row[seed]) for seed in sorted(base.keys() & row.keys())}

    @property
    def summed(self) -> Counts:
        """The counts of all common seeds together."""
        counts = self.counts.values()
        return Counts(
            sum(each.both for each in counts),
            sum(each.gained for each in counts),
            sum(each.lost for each in counts),
            sum(each.neither for each in counts),
        )


def _count(baseline: Predictions, row: Predictions) -> Counts:
    base, own = baseline.top1, row.top1
    pairs = (base & own, ~base & own, base & ~own, ~base & ~own)
    return Counts(*(int(each.sum()) for each in pairs))


def find_pair(studies: Sequence[Study], baseline: str, row: str) -> tuple[Study, Row, Row]:
    """The study that has both rows, the baseline and the row, by names as ``match_rows`` finds.

    Raises:
        ConfigError: A name fits no row or several, both fit the same, or no study has both.
    """
    every = [each for study in studies for each in study.rows]
    chosen = [_find_label(every, words) for words in (baseline, row)]
    if chosen[0] == chosen[1]:
        raise ConfigError(f"{baseline!r} and {row!r} are the same row, {chosen[0]}: name two rows")
    found = []
    for study in studies:
        rows = {each.label: each for each in study.rows}
        if all(label in rows for label in chosen):
            found.append((study, rows[chosen[0]], rows[chosen[1]]))
    if len(found) == 1:
        return found[0]
    if found:
        names = "; ".join(study.name for study, _, _ in found)
        raise ConfigError(f"several studies have both rows: {names}: give the folder of one")
    raise ConfigError(
        f"no study has both {chosen[0]} and {chosen[1]}: only runs of the same images, recipe, "
        "epochs and precision are compared"
    )


def _find_label(rows: Sequence[Row], words: str) -> str:
    labels = list(dict.fromkeys(row.label for row in match_rows(rows, words)))
    if not labels:
        raise ConfigError(unknown_row_message(rows, words))
    if len(labels) > 1:
        raise ConfigError(f"{words!r} fits several rows: {'; '.join(labels)}: give more of a name")
    return labels[0]


def compare_predictions(
    study: Study, baseline: Row, row: Row, predictions: Mapping[str, Predictions]
) -> Flips:
    """Compare what the runs of two rows predicted for each validation image.

    Args:
        study: The study of both rows.
        baseline: The row to compare with.
        row: The other row.
        predictions: Run id -> its predictions, checked against its record.

    Raises:
        RecordError: A finished run has no predictions, no run has, or runs have other images.
    """
    lacking = [
        run
        for each in (baseline, row)
        for run in each.records
        if run.status == "finished" and run.run_id not in predictions
    ]
    if lacking:
        raise RecordError(_lacking(lacking))
    base, own = (_side(each, predictions) for each in (baseline, row))
    found = [each for side in (base, own) for each in side.by_seed.values()]
    first = found[0]
    for each in found:
        if each.fingerprint != first.fingerprint or not np.array_equal(each.labels, first.labels):
            raise RecordError(
                f"{baseline.label} and {row.label} have no common images: their {PREDICTIONS_FILE} "
                "have other fingerprints or labels"
            )
    notes = [
        f"Left out: {each.label}, seed {run.config['seed']}: {run.status}, without predictions."
        for each in (baseline, row)
        for run in each.records
        if run.run_id not in predictions
    ]
    if not base.by_seed.keys() & own.by_seed.keys():
        notes.append("The rows share no seed: there are no McNemar counts.")
    return Flips(study, base, own, notes)


def _side(row: Row, predictions: Mapping[str, Predictions]) -> Side:
    runs = {
        run.config["seed"]: predictions[run.run_id]
        for run in row.records
        if run.run_id in predictions
    }
    if not runs:
        raise RecordError(f"no run of {row.label} is finished and has a {PREDICTIONS_FILE}")
    return Side(row, runs)


def _lacking(runs: Sequence[Record]) -> str:
    names = ", ".join(run.run_id for run in runs[:6])
    more = f" and {len(runs) - 6} more" if runs[6:] else ""
    have = "1 finished run has" if len(runs) == 1 else f"{len(runs)} finished runs have"
    return (
        f"{have} no {PREDICTIONS_FILE}, as runs of older versions: {names}{more}: train them "
        "again, for example with `ablations run ... --no-reuse`"
    )


def most_different(study: Study, predictions: Mapping[str, Predictions]) -> Flips:
    """The flips of the row with predictions that differs most from the baseline.

    Raises:
        RecordError: There is no baseline or no such row, or its predictions cannot be compared.
    """
    if study.baseline is None:
        raise RecordError("the study has no baseline")
    rows = [row for row in study.rows if row.delta is not None and row is not study.baseline]
    if not rows:
        raise RecordError("no row has a result to compare with the baseline")
    having = [row for row in rows if any(run.run_id in predictions for run in row.records)]
    chosen = max(having or rows, key=lambda row: abs(row.delta.mean) if row.delta else 0.0)
    return compare_predictions(study, study.baseline, chosen, predictions)


def load_images(flips: Flips, root: str | None = None) -> ValidationImages:
    """The images that flips are of; nothing is downloaded.

    Args:
        flips: Their indices.
        root: The folder of the images; by default that of the runs, or $ABLATIONS_DATA_ROOT.

    Raises:
        ConfigError: The data source needs a plugin that is not loaded.
        DataError: The images are not at hand, broken, or others.
    """
    known = [run.config["data"].get("root") for side in flips.sides for run in side.row.records]
    roots = [root] if root else [*known, env_vars.get("ABLATIONS_DATA_ROOT") or None]
    name, fingerprint = flips.row.row.records[0].config["data"]["name"], flips.study.fingerprint
    return validation_images(name, fingerprint, flips.labels, tuple(dict.fromkeys(roots)))
