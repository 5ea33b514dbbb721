"""Records -> studies, in stages: group the runs, choose a baseline, name the rows, compare them.

A study holds the runs that may be compared: those of one recipe, one set of images, one training
length and one precision. Its baseline is the variant whose changes against the recipe every other
variant has too. A row is a variant: runs that differ only in the seed.

Each stage is a pure function and returns a frozen dataclass:

    group_records    records              -> RecordGroup
    choose_baseline  RecordGroup          -> Baseline
    name_rows        Baseline             -> NamedRows
    compare_rows     NamedRows            -> Study
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ablations.analysis import controls, stats
from ablations.analysis.rows import (
    ControlComparison,
    Row,
    match_rows,
    row_position,
    unknown_row_message,
)
from ablations.analysis.study import Study, baseline_changes_training
from ablations.config import diff, naming
from ablations.config.diff import Changes
from ablations.config.resolve import unknown_recipe
from ablations.config.schema import run_id_of
from ablations.errors import ConfigError
from ablations.paper import matching
from ablations.store.load import record_task
from ablations.store.records import Record

RUN_ID = re.compile("[0-9a-f]{12}")


def build_studies(
    records: Iterable[Record],
    baseline: str | None = None,
    results: Path | None = None,
    task: str | None = None,
    launched: Iterable[Mapping[str, Any]] = (),
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

    Raises:
        ConfigError: ``baseline`` matches no run and no row, or several rows.
    """
    records = list(records)
    groups = group_records(records, task)
    chosen: AbstractSet[str] = frozenset()
    if baseline is not None:
        studies = [compare_rows(name_rows(choose_baseline(group))) for group in groups]
        chosen = _find_baseline_runs(studies, baseline)
    recorded = {record.run_id for record in records}
    pending = _assign_launched(groups, [c for c in launched if run_id_of(c) not in recorded])
    studies = [
        compare_rows(name_rows(choose_baseline(group, chosen), configs), results)
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

    return [_replace_rows(study, [*map(with_interval, study.rows)]) for study in studies]


def _replace_rows(study: Study, rows: Sequence[Row]) -> Study:
    """A study with other objects for the same rows."""
    new = dict(zip(study.rows, rows, strict=True))
    return replace(
        study,
        rows=rows,
        baseline=study.baseline and new[study.baseline],
        baseline_candidates=[new[row] for row in study.baseline_candidates],
        best=study.best and new[study.best],
    )


# Stage 1: group the runs that may be compared.


class Length(NamedTuple):
    """How long runs train: epochs, and those of the cool-down where they are not the recipe's."""

    epochs: int
    cooldown: int | None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Length:
        """The length of a run."""
        cooldown = config["optim"]["cooldown_epochs"]
        known = not unknown_recipe(config["recipe"])
        usual = diff.flat_recipe(config["recipe"])["optim.cooldown_epochs"] if known else None
        return cls(config["optim"]["epochs"], None if cooldown == usual else cooldown)


class GroupKey(NamedTuple):
    """What the runs of a study have in common.

    ``images`` is the fingerprint of the images, or the hash of the files' contents where several
    contents share a fingerprint; "" for runs that failed before it was known. ``precision`` is None
    for those.
    """

    recipe: str
    data: str
    images: str
    length: Length
    precision: str | None


@dataclass(frozen=True)
class RecordGroup:
    """The runs of one study."""

    key: GroupKey
    records: Sequence[Record]


def group_records(records: Sequence[Record], task: str | None = None) -> list[RecordGroup]:
    """Stage 1: the runs that may be compared, in groups."""
    contents: dict[str, set[str]] = {}
    for record in records:
        if known := record.data.get("contents"):
            contents.setdefault(record.data.get("fingerprint") or "", set()).add(known)
    groups: dict[GroupKey, list[Record]] = {}
    for record in records:
        if record_task(record) != task or (record.done and not record.environment.get("precision")):
            continue
        config, images = record.config, record.data.get("fingerprint") or ""
        if len(contents.get(images, ())) > 1:
            images = record.data.get("contents") or images
        precision = record.environment.get("precision")
        key = GroupKey(
            config["recipe"], config["data"]["name"], images, Length.of(config), precision
        )
        groups.setdefault(key, []).append(record)
    _merge_early_failures(groups)
    return [RecordGroup(key, members) for key, members in groups.items()]


def _merge_early_failures(groups: dict[GroupKey, list[Record]]) -> None:
    """Move runs that failed before their images or precision were known to their group.

    Where several groups fit, the one that has the run's seed; else the run stays in its own group.
    """
    for key in [key for key in groups if key.precision is None]:
        fitting = [
            members
            for other, members in groups.items()
            if other.precision is not None
            and (other.recipe, other.data, other.length) == (key.recipe, key.data, key.length)
            and key.images in ("", other.images)
        ]
        unmatched: list[Record] = []
        for record in groups.pop(key):
            seed = record.config["seed"]
            same_seed = [m for m in fitting if any(run.config["seed"] == seed for run in m)]
            choice = fitting if len(fitting) == 1 else same_seed
            (choice[0] if len(choice) == 1 else unmatched).append(record)
        if unmatched:
            groups[key] = unmatched


def _assign_launched(
    groups: Sequence[RecordGroup], configs: Iterable[Mapping[str, Any]]
) -> list[list[Mapping[str, Any]]]:
    """Configs of runs without a record, by group: the largest of the groups that fit."""
    found: list[list[Mapping[str, Any]]] = [[] for _ in groups]
    for config in configs:
        key = config["recipe"], config["data"]["name"], Length.of(config)
        fitting = [
            index
            for index, group in enumerate(groups)
            if (group.key.recipe, group.key.data, group.key.length) == key
        ]
        if fitting:
            found[max(fitting, key=lambda index: len(groups[index].records))].append(config)
    return found


# Stage 2: choose the baseline.


@dataclass(frozen=True)
class Baseline:
    """The variants of a group, and which of them is the baseline.

    Args:
        group: The group.
        variants: The runs of each variant, by seed.
        configs: The flat config of each variant.
        candidates: The variants, by index, that could be the baseline; it is chosen if there is
            exactly one.
        base_config: The flat config that the rows are compared with.
    """

    group: RecordGroup
    variants: Sequence[Sequence[Record]]
    configs: Sequence[Mapping[str, Any]]
    candidates: Sequence[int]
    base_config: Mapping[str, Any]

    @property
    def index(self) -> int | None:
        """The baseline's index among the variants; None without a unique candidate."""
        return self.candidates[0] if len(self.candidates) == 1 else None


def choose_baseline(group: RecordGroup, chosen: AbstractSet[str] = frozenset()) -> Baseline:
    """Stage 2: the baseline of a group.

    Args:
        group: The group.
        chosen: Run ids; a variant that has one of them is the baseline.
    """
    recipe = group.key.recipe
    by_variant: dict[str, list[Record]] = {}
    for record in group.records:
        by_variant.setdefault(record.variant, []).append(record)
    variants = [
        sorted(runs, key=lambda run: int(run.config["seed"])) for runs in by_variant.values()
    ]
    configs = [diff.flat_config(runs[0].config) for runs in by_variant.values()]
    default = diff.flat_recipe(recipe)
    candidates = _baseline_candidates([diff.changed_fields(default, config) for config in configs])
    for index, runs in enumerate(variants):
        if chosen & {run.run_id for run in runs}:
            candidates = [index]
    base = configs[candidates[0]] if len(candidates) == 1 else _common_config(recipe, configs)
    return Baseline(group, variants, configs, candidates, base)


def _baseline_candidates(variants: Sequence[Changes]) -> list[int]:
    """The variants, by index, whose changes against the recipe all others share.

    Changes that a whole study shares (fewer epochs, for example) become part of its baseline. For
    data and optimizer fields the names count, not the values: the attention hybrids scale the
    study's own batch size.
    """

    def marks(changed: Changes) -> set[tuple[str, str]]:
        return {
            (name, repr(after) if name.startswith("model.") else "")
            for name, (_, after) in changed.items()
        }

    found = [marks(changed) for changed in variants]
    common = set.intersection(*found)
    if len(variants) == 1 and any(name.startswith("model.") for name, _ in common):
        return []  # a single variant that changes the model is no baseline
    return [index for index, own in enumerate(found) if own == common]


def _common_config(recipe: str, configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What variants without a baseline are compared with: their recipe and what all of them change.

    The changes of a single variant are its own, except its length and its data set.
    """
    default = diff.flat_recipe(recipe)
    every = [
        naming.named_changes(recipe, diff.changed_fields(default, config), config)
        for config in configs
    ]
    shared = set.intersection(*({*map(repr, changed.items())} for changed in every))
    found = dict(default)
    for name, change in every[0].items():
        if repr((name, change)) in shared and (len(every) > 1 or name in naming.LENGTH_FIELDS):
            found[name] = change[1]
    if configs[0]["data.name"] != default["data.name"]:  # the same for all runs of a group
        found |= {name: configs[0][name] for name in ("data.name", "data.image_size")}
    return found


def _find_baseline_runs(studies: Sequence[Study], baseline: str) -> set[str]:
    """The run ids that ``--baseline`` means: that id, or a run of the row with that label."""
    if baseline in {record.run_id for study in studies for record in study.records}:
        return {baseline}
    if RUN_ID.fullmatch(baseline):
        raise ConfigError(f"--baseline {baseline} is not the id of a run here: `ablations status`")
    if not baseline.strip():
        raise ConfigError("--baseline '' must be the id of a run or the name of a row")
    rows = [row for study in studies for row in study.rows]
    found = match_rows(rows, baseline)
    labels = list(dict.fromkeys(row.label for row in found))
    if not labels:
        why = unknown_row_message(rows, baseline)
        raise ConfigError(f"--baseline {baseline} is not the id of a run here: {why}")
    if len(labels) > 1:
        raise ConfigError(f"--baseline {baseline!r} fits several rows: {'; '.join(labels)}")
    return {row.records[0].run_id for row in found}


# Stage 3: name the rows.


@dataclass(frozen=True)
class NamedRows:
    """The rows of a study before they are compared: one per variant, with unique labels."""

    baseline: Baseline
    rows: Sequence[Row]
    pending_rows: Sequence[Row]


def name_rows(baseline: Baseline, launched: Iterable[Mapping[str, Any]] = ()) -> NamedRows:
    """Stage 3: the rows of a group, with axis, label and the paper's row.

    Args:
        baseline: What they are compared with.
        launched: Configs of runs that have started and have no record.
    """
    recipe, base = baseline.group.key.recipe, baseline.base_config
    rows = []
    for config, runs in zip(baseline.configs, baseline.variants, strict=True):
        rows.append(_row(recipe, diff.changed_fields(base, config), config, runs))
    rows = _beside_paper(baseline, _with_unique_labels(rows))
    for run in launched:
        config = diff.flat_config(run)
        changed = diff.changed_fields(base, config)
        index = next((i for i, row in enumerate(rows) if row.changed == changed), None)
        if index is None:
            rows.append(replace(_row(recipe, changed, config, []), config=run))
            index = -1
        rows[index] = replace(rows[index], started_seeds=[*rows[index].started_seeds, run["seed"]])
    rows = _with_unique_labels(rows)
    count = len(baseline.variants)
    return NamedRows(baseline, rows[:count], rows[count:])


def _row(recipe: str, changed: Changes, config: Mapping[str, Any], runs: Sequence[Record]) -> Row:
    axis, label, paper = matching.describe_variant(recipe, changed, config)
    complete = naming.names_all_changes(recipe, changed, config)
    row = Row(axis, label, changed, runs, paper, complete)
    return replace(row, top1=stats.spread(list(row.top1_by_seed.values())))


def _beside_paper(baseline: Baseline, rows: Sequence[Row]) -> list[Row]:
    """Give rows the paper's differences from the paper's row that the study's baseline is."""
    recipe = baseline.group.key.recipe
    other_training = baseline_changes_training(recipe, rows)
    if baseline.index is None or not (
        other_training or matching.changes_from_paper(recipe, {}, baseline.base_config)
    ):
        return list(rows)  # the paper's own differences apply
    base = None if other_training else rows[baseline.index].paper
    if base is None:  # the paper compares none of its rows with this baseline
        return [replace(row, paper=None) for row in rows]
    return [
        replace(row, paper=replace(row.paper, delta=round(row.paper.top1 - base.top1, 1)))
        if row.paper
        else row
        for row in rows
    ]


def _with_unique_labels(rows: Sequence[Row]) -> list[Row]:
    """Extend the labels that several rows have: by all changes, then by a run id."""
    rows = list(rows)
    suffixes: tuple[Callable[[Row], str], ...] = (_listed_changes, _first_run_id)
    for suffix in suffixes:
        count = Counter(row.label for row in rows)
        rows = [
            replace(row, label=f"{row.label} ({suffix(row)})", label_is_complete=True)
            if count[row.label] > 1
            else row
            for row in rows
        ]
    return rows


def _listed_changes(row: Row) -> str:
    return ", ".join(naming.format_assignments(row.changed)) or "as it is"


def _first_run_id(row: Row) -> str:
    return row.records[0].run_id if row.records else run_id_of(row.config or {})


# Stage 4: compare the rows.


def compare_rows(named: NamedRows, results: Path | None = None) -> Study:
    """Stage 4: the study, its rows compared with the baseline, with each other and their controls.

    Args:
        named: The rows.
        results: The folder of the runs, if all are in one.
    """
    key, base, index = named.baseline.group.key, named.baseline.base_config, named.baseline.index
    rows = _compare_with_controls(_compare_with_baseline(named.rows, index), index)
    seeds = [] if index is None else rows[index].top1_by_seed
    shared = diff.changed_fields(diff.flat_recipe(key.recipe), base)
    shared.pop("optim.epochs", None)  # the name of a study has it
    return Study(
        recipe=key.recipe,
        data=key.data,
        fingerprint=key.images,
        epochs=key.length.epochs,
        precision=key.precision or "unknown",
        rows=sorted(rows, key=row_position),
        base_config=base,
        baseline=None if index is None else rows[index],
        baseline_candidates=[rows[i] for i in named.baseline.candidates] if index is None else [],
        shared_changes=shared,
        best=_find_best(rows),
        results=results,
        pending_rows=[
            replace(row, missing_seeds=sorted({*seeds, *row.started_seeds}))
            for row in named.pending_rows
        ],
        cooldown=key.length.cooldown,
    )


def _compare_with_baseline(rows: Sequence[Row], index: int | None) -> list[Row]:
    """Rows with their difference from the baseline and the seeds that they lack."""
    reference = {} if index is None else rows[index].top1_by_seed
    deltas = [
        None if number == index else stats.difference(row.top1_by_seed, reference)
        for number, row in enumerate(rows)
    ]
    corrected = stats.holm_correction([delta.p if delta else None for delta in deltas])
    compared = []
    for row, delta, p in zip(rows, deltas, corrected, strict=True):
        finished = {run.config["seed"] for run in row.records if run.done}
        missing = reference.keys() - finished | {*row.started_seeds}
        compared.append(replace(row, delta=delta, p_holm=p, missing_seeds=sorted(missing)))
    return compared


def _compare_with_controls(rows: Sequence[Row], index: int | None) -> Sequence[Row]:
    """Rows with their differences from their controls, in a section of their own."""
    if index is None:
        return rows
    assigned, only_controls = controls.assign_controls(rows)
    rows = [
        replace(row, axis=controls.AXIS) if number in only_controls else row
        for number, row in enumerate(rows)
    ]
    return [
        replace(row, controls=[_compare_with_control(row, rows[c.index], c.kind) for c in found])
        if (found := assigned.get(number))
        else row
        for number, row in enumerate(rows)
    ]


def _compare_with_control(row: Row, control: Row, kind: str) -> ControlComparison:
    delta = stats.difference(row.top1_by_seed, control.top1_by_seed)
    return ControlComparison(kind, control, delta)


def _find_best(rows: Sequence[Row]) -> Row | None:
    """The row with the highest mean, if it is above every other row of two seeds (Holm, 5%)."""
    measured = sorted((row for row in rows if row.top1), key=_mean, reverse=True)
    if not measured:
        return None
    best, *others = measured
    others = [row for row in others if len(row.top1_by_seed) > 1]
    if len(best.top1_by_seed) < 2 or not others:
        return None  # one seed proves nothing
    p_values = []
    for row in others:
        above = stats.difference(best.top1_by_seed, row.top1_by_seed)
        if above is None or above.p is None or above.p >= stats.ALPHA or above.mean <= 0:
            return None  # most often the second best already
        p_values.append(above.p)
    corrected = stats.holm_correction(p_values)
    return best if all(p is not None and p < stats.ALPHA for p in corrected) else None


def _mean(row: Row) -> float:
    return row.top1.mean if row.top1 else float("-inf")
