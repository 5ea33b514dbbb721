"""Records -> studies, in stages: group the runs, choose a baseline, name the rows, compare them.

A study holds the runs that may be compared: those of one recipe, one set of images, one training
length and one precision. Its baseline is the variant whose changes against the recipe every other
variant has too. A row is a variant: runs that differ only in the seed.

Each stage is a pure function and returns a frozen dataclass:

    grouping.group_records      records      -> RecordGroup
    baseline.choose_baseline    RecordGroup  -> Baseline
    row_names.name_rows         Baseline     -> NamedRows
    comparison.compare_rows     NamedRows    -> Study
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.analysis import stats
from ablations.analysis.baseline import choose_baseline, find_baseline_runs
from ablations.analysis.comparison import compare_rows
from ablations.analysis.grouping import assign_launched, group_records
from ablations.analysis.row_names import name_rows
from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config.schema import run_id_of
from ablations.store.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def build_studies(
    records: Iterable[Record],
    baseline: str | None = None,
    results: Path | None = None,
    task: str | None = None,
    launched: Iterable[Mapping[str, Any]] = (),
    method: stats.Method | None = None,
    correct: Mapping[str, NDArray[np.bool_]] | None = None,
) -> list[Study]:
    """Sort records into studies, and their runs into rows.

    Args:
        records: Usable ones (``ablations.store.load``), one per run id.
        baseline: A run id, whose variant becomes the baseline of its study; or a row, by its label
            or by words that only one label has.
        results: The folder of all records, if they come from one.
        task: A task of ``load.TASK_METRICS``; None for classification. Runs of other tasks are left
            out.
        launched: Whole configs of runs that have started. Those without a record become pending
            rows, or missing seeds of rows.
        method: How differences are tested.
        correct: Run id -> whether it has each image right, for standard errors over seeds and
            images (``images.correct_images``); None for those over seeds.

    Raises:
        ConfigError: ``baseline`` matches no run and no row, or several rows; or the images of a run
            are not known.
    """
    records = list(records)
    groups = group_records(records, task)
    chosen: AbstractSet[str] = frozenset()
    if baseline is not None:
        studies = [compare_rows(name_rows(choose_baseline(group))) for group in groups]
        chosen = find_baseline_runs(studies, baseline)
    recorded = {record.run_id for record in records}
    pending = assign_launched(groups, [c for c in launched if run_id_of(c) not in recorded])
    studies = [
        compare_rows(name_rows(choose_baseline(group, chosen), configs), results, method, correct)
        for group, configs in zip(groups, pending, strict=True)
    ]
    return sorted(studies, key=lambda study: (study.recipe, study.data, study.epochs))


def add_bootstrap_intervals(studies: Iterable[Study], seed: int) -> list[Study]:
    """Studies whose rows of two seeds or more have a bootstrap interval of their mean.

    Args:
        studies: The studies.
        seed: Of the resamples. Each row combines it with its own config, so that its interval does
            not depend on which other rows there are.
    """
    import numpy as np

    def with_interval(row: Row) -> Row:
        generator = np.random.default_rng([seed, zlib.crc32(row.records[0].variant.encode())])
        values = list(row.top1_by_seed.values())
        return replace(row, bootstrap=stats.bootstrap_interval(values, generator))

    def with_intervals(study: Study) -> Study:
        new = {row: with_interval(row) for row in study.rows}
        return replace(
            study,
            rows=[*new.values()],
            baseline=study.baseline and new[study.baseline],
            baseline_candidates=[new[row] for row in study.baseline_candidates],
            best=study.best and new[study.best],
        )

    return [*map(with_intervals, studies)]
