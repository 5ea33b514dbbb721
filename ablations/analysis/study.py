"""Records -> studies -> rows: what belongs together, what the baseline is, what each row changes.

A study is what may be compared: records of one recipe, one set of pictures, one number of epochs
and one precision. Its baseline is the variant whose changes against the recipe every other variant
has too. A row is a variant: runs that differ in nothing but the seed.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablations.analysis import controls, stats
from ablations.analysis.rows import (
    ControlComparison,
    Row,
    Study,
    match_rows,
    row_position,
    unknown_row_message,
)
from ablations.config import diff, naming
from ablations.config.diff import Changes
from ablations.config.resolve import unknown_recipe
from ablations.config.schema import run_id_of
from ablations.errors import ConfigError
from ablations.paper import matching
from ablations.store.load import record_task
from ablations.store.records import Record

RUN_ID = re.compile("[0-9a-f]{12}")


Length = tuple[
    int, int | None
]  # epochs, and those of the cool-down where they are not the recipe's


def build_studies(
    records: Iterable[Record],
    baseline: str | None = None,
    results: Path | None = None,
    of: str | None = None,
    launched: Iterable[Mapping[str, Any]] = (),
) -> list[Study]:
    """Sort records into studies, and their runs into rows.

    Args:
        records: Usable ones (``ablations.store.load``), one a run id.
        baseline: A run, by its id, whose variant is the baseline of its study; or a row, by its
            label or by words that only one label has.
        results: The folder of all of them, if they are of one.
        of: A task of ``reading.TASKS``; None for classification. Runs of others have no row.
        launched: Whole configs of runs that are to be trained or are being trained. Those without a
            record are rows, or seeds of rows, that a study lacks.

    Raises:
        ConfigError: No record has that id, no row that label, or several rows fit it.
    """
    records = list(records)
    groups: dict[tuple[Any, ...], list[Record]] = {}
    contents: dict[str, set[str]] = {}  # of the files of each fingerprint
    for record in records:
        if known := record.data.get("contents"):
            contents.setdefault(record.data.get("fingerprint") or "", set()).add(known)
    for record in records:
        if record_task(record) != of or (record.done and not record.environment.get("precision")):
            continue
        config = record.config
        key = (
            config["recipe"],
            config["data"]["name"],
            _images(record, contents),
            _length(config),
            record.environment.get("precision"),
        )
        groups.setdefault(key, []).append(record)
    _place_failures(groups)
    found = [_study(members, set(), *key) for key, members in groups.items()]
    if baseline is not None:
        chosen = _chosen(found, baseline)
        found = [_study(members, chosen, *key) for key, members in groups.items()]
    for study in found:
        study.results = results
    there = {record.run_id for record in records}
    _expect(found, [config for config in launched if run_id_of(config) not in there])
    return sorted(found, key=lambda study: (study.recipe, study.data, study.epochs))


def _chosen(found: Sequence[Study], baseline: str) -> set[str]:
    """The runs that ``--baseline`` means: one of that id, or those of the row of that label."""
    if baseline in {record.run_id for study in found for record in study.records}:
        return {baseline}
    if RUN_ID.fullmatch(baseline):
        raise ConfigError(f"--baseline {baseline} is the id of no run here: `ablations status`")
    if not baseline.strip():
        raise ConfigError("--baseline '' must be the id of a run or the name of a row")
    rows = [row for study in found for row in study.rows]
    meant = match_rows(rows, baseline)
    labelled = list(dict.fromkeys(row.label for row in meant))
    if not labelled:
        why = unknown_row_message(rows, baseline)
        raise ConfigError(f"--baseline {baseline} is the id of no run here: {why}")
    if len(labelled) > 1:
        raise ConfigError(f"--baseline {baseline!r} fits several rows: {'; '.join(labelled)}")
    return {row.records[0].run_id for row in meant}


def _expect(found: Sequence[Study], launched: Iterable[Mapping[str, Any]]) -> None:
    """Give studies the rows and the seeds that were begun and have no record."""
    for config in launched:
        flat, seed = diff.flat_config(config), config["seed"]
        key = config["recipe"], config["data"]["name"], _length(config)
        matching_studies = [
            each for each in found if (each.recipe, each.data, (each.epochs, each.cooldown)) == key
        ]
        if not matching_studies:
            continue
        study = max(matching_studies, key=lambda each: len(each.records))
        changed = diff.changed_fields(study.base_config, flat)
        rows = [row for row in (*study.rows, *study.pending_rows) if row.changed == changed]
        if not rows:
            row = _row(study.recipe, changed, flat, [])
            row.config = config
            if study.baseline is not None:
                row.missing_seeds = sorted(study.baseline.top1_by_seed)
            rows = [row]
            study.pending_rows.append(row)
        rows[0].started_seeds.append(seed)
        rows[0].missing_seeds = sorted({*rows[0].missing_seeds, seed})
    for study in found:
        _distinct([*study.rows, *study.pending_rows])


def _images(record: Record, contents: Mapping[str, set[str]]) -> str:
    """What tells its images from others: the fingerprint, or the contents where it fits several."""
    fingerprint: str = record.data.get("fingerprint") or ""
    several = len(contents.get(fingerprint, ())) > 1
    return (several and record.data.get("contents")) or fingerprint


def _length(config: Mapping[str, Any]) -> Length:
    """How long a run trains: its epochs, and those of its cool-down where its recipe has others."""
    cooldown = config["optim"]["cooldown_epochs"]
    known = not unknown_recipe(config["recipe"])
    usual = diff.flat_recipe(config["recipe"])["optim.cooldown_epochs"] if known else None
    return config["optim"]["epochs"], None if cooldown == usual else cooldown


def add_bootstrap_intervals(found: Iterable[Study], seed: int) -> None:
    """Give every row of studies a bootstrap interval of its mean; none below two seeds.

    Args:
        found: The studies.
        seed: Of the resamples, with the row's own config: its interval does not depend on which
            other rows there are.
    """
    import numpy as np

    for study in found:
        for row in study.rows:
            own = zlib.crc32(row.records[0].variant.encode())
            generator = np.random.default_rng([seed, own])
            values = list(row.top1_by_seed.values())
            row.bootstrap = stats.bootstrap_interval(values, generator)


def _place_failures(groups: dict[tuple[Any, ...], list[Record]]) -> None:
    """A run that failed before it knew its pictures or precision joins the study it is of.

    Of several that it could be of, the one that has its seed; else it stays apart.
    """
    for key in [key for key in groups if key[-1] is None]:
        recipe, data, fingerprint, length, _ = key
        matching_groups = [
            members
            for other, members in groups.items()
            if (other[0], other[1], other[3]) == (recipe, data, length)
            and other[-1] is not None
            and fingerprint in ("", other[2])
        ]
        apart: list[Record] = []
        for record in groups.pop(key):
            seed = record.config["seed"]
            own = [m for m in matching_groups if any(run.config["seed"] == seed for run in m)]
            choice = matching_groups if len(matching_groups) == 1 else own
            (choice[0] if len(choice) == 1 else apart).append(record)
        if apart:
            groups[key] = apart


def _study(
    records: list[Record],
    chosen: set[str],
    recipe: str,
    data: str,
    fingerprint: str,
    length: Length,
    precision: str | None,
) -> Study:
    epochs, cooldown = length
    study = Study(recipe, data, fingerprint, epochs, precision or "unknown", cooldown=cooldown)
    default = diff.flat_recipe(recipe)
    variants: dict[str, list[Record]] = {}
    for record in records:
        variants.setdefault(record.variant, []).append(record)
    flats = [diff.flat_config(runs[0].config) for runs in variants.values()]
    against_recipe = [diff.changed_fields(default, flat) for flat in flats]
    candidates = _baselines(against_recipe)
    for number, runs in enumerate(variants.values()):
        if chosen & {run.run_id for run in runs}:
            candidates = [number]
    base = flats[candidates[0]] if len(candidates) == 1 else _common(recipe, flats)
    study.base_config = base
    study.shared_changes = diff.changed_fields(default, base)
    study.shared_changes.pop("optim.epochs", None)  # a study says its epochs anyway
    changed = against_recipe
    if base != default:
        changed = [diff.changed_fields(base, flat) for flat in flats]
    for own, flat, runs in zip(changed, flats, variants.values(), strict=True):
        runs.sort(key=lambda record: record.config["seed"])
        study.rows.append(_row(recipe, own, flat, runs))
    if len(candidates) == 1:
        study.baseline = study.rows[candidates[0]]
    else:
        study.baseline_candidates = [study.rows[number] for number in candidates]
    _beside_paper(study)
    _compare(study)
    _distinct(study.rows)
    study.rows.sort(key=row_position)
    return study


def _beside_paper(study: Study) -> None:
    """The paper's differences, against the row of the paper that the study's baseline is."""
    if study.baseline is None or study.has_paper_baseline:
        return
    base = None if study.baseline_changes_training else study.baseline.paper
    for row in study.rows:
        if base is None:
            row.paper = None  # the paper compares no row of its own with this baseline
        elif row.paper:
            row.paper = replace(row.paper, delta=round(row.paper.top1 - base.top1, 1))


def _common(recipe: str, flats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The baseline that variants without one have in common: their recipe and what all change.

    A lone variant's changes are its own; only its length is not, and its data set.
    """
    default = diff.flat_recipe(recipe)
    every = [
        naming.named_changes(recipe, diff.changed_fields(default, flat), flat) for flat in flats
    ]
    shared = set.intersection(*({*map(repr, changed.items())} for changed in every))
    found = dict(default)
    for name, change in every[0].items():
        if repr((name, change)) in shared and (len(every) > 1 or name in naming.LENGTH_FIELDS):
            found[name] = change[1]
    if flats[0]["data.name"] != default["data.name"]:  # which all of a study have
        found |= {name: flats[0][name] for name in ("data.name", "data.image_size")}
    return found


def _distinct(rows: Sequence[Row]) -> None:
    """Give rows of one label longer ones: what they change field by field, else a run's id."""
    for tell in (_fields, _run):
        count = Counter(row.label for row in rows)
        for row in rows:
            if count[row.label] > 1:
                row.label = f"{row.label} ({tell(row)})"


def _fields(row: Row) -> str:
    row.label_is_complete = True
    return ", ".join(naming.format_assignments(row.changed)) or "as it is"


def _run(row: Row) -> str:
    return row.records[0].run_id if row.records else run_id_of(row.config or {})


def _compare(study: Study) -> None:
    """Fill in what rows owe to the baseline and to each other."""
    if study.baseline is not None:
        reference = study.baseline.top1_by_seed
        for row in study.rows:
            if row is not study.baseline:
                row.delta = stats.difference(row.top1_by_seed, reference)
                ended = {run.config["seed"] for run in row.records if run.done}
                row.missing_seeds = sorted(reference.keys() - ended)
        _control(study.rows)
    corrected = stats.holm_correction([row.delta.p if row.delta else None for row in study.rows])
    for row, p in zip(study.rows, corrected, strict=True):
        row.p_holm = p
    study.best = _best(study.rows)


def assign_controls(rows: Sequence[Row]) -> dict[int, list[controls.Control]]:
    """Mark the rows that are controls and nothing else; the controls of each row that has any."""
    variants = controls.ControlFinder(
        [
            controls.ControlCandidate(
                row.changed,
                row.cost.get("macs"),
                row.paper is not None or matching.find_paper_row(row.changed) is not None,
            )
            for row in rows
        ]
    )
    assigned = variants.assign()
    for index in variants.only_controls(assigned):
        rows[index].axis = controls.AXIS
    return assigned


def _control(rows: Sequence[Row]) -> None:
    """Find what rows' controls are, and compare."""
    for index, found in assign_controls(rows).items():
        for each in found:
            row, control = rows[index], rows[each.index]
            delta = stats.difference(row.top1_by_seed, control.top1_by_seed)
            row.controls.append(ControlComparison(each.kind, control, delta))


def _best(rows: Sequence[Row]) -> Row | None:
    """The row of the highest mean, if it is above each other of two seeds, Holm-corrected."""
    measured = [(row.top1.mean, row) for row in rows if row.top1]
    if not measured:
        return None
    (_, best), *others = sorted(measured, key=lambda found: -found[0])
    others = [(mean, row) for mean, row in others if len(row.top1_by_seed) > 1]
    if len(best.top1_by_seed) < 2 or not others:
        return None  # of one seed nothing is sure
    p_values = []
    for _, row in others:
        above = stats.difference(best.top1_by_seed, row.top1_by_seed)
        if above is None or above.p is None or above.p >= stats.ALPHA or above.mean <= 0:
            return None  # mostly the second best already
        p_values.append(above.p)
    sure = all(p is not None and p < stats.ALPHA for p in stats.holm_correction(p_values))
    return best if sure else None


def _baselines(variants: Sequence[Changes]) -> list[int]:
    """The variants whose changes against the recipe all others share, by their place.

    Changes that a whole study shares (fewer epochs, say) become part of its baseline. Of data and
    optimizer the names count, not the values: the attention hybrids scale the study's own batch.
    """

    def marks(changed: Changes) -> set[tuple[str, str]]:
        return {
            (name, repr(after) if name.startswith("model.") else "")
            for name, (_, after) in changed.items()
        }

    found = [marks(changed) for changed in variants]
    common = set.intersection(*found)
    if len(variants) == 1 and any(name.startswith("model.") for name, _ in common):
        return []  # a lone row is no baseline
    return [number for number, own in enumerate(found) if own == common]


def _row(recipe: str, changed: Changes, flat: dict[str, Any], runs: list[Record]) -> Row:
    axis, label, paper = matching.describe_variant(recipe, changed, flat)
    row = Row(
        axis,
        label,
        changed,
        runs,
        paper,
        label_is_complete=naming.names_all_changes(recipe, changed, flat),
    )
    row.top1 = stats.spread(list(row.top1_by_seed.values()))
    return row
