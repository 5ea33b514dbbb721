"""Stage 2 of a study: choose the baseline of a group of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from ablations.analysis.grouping import RecordGroup
from ablations.analysis.rows import match_rows, unknown_row_message
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.config.diff import Changes
from ablations.config.schema import RUN_ID
from ablations.errors import ConfigError
from ablations.store.records import Record


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


def find_baseline_runs(studies: Sequence[Study], baseline: str) -> set[str]:
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
