"""Stage 1 of a study: group the runs that may be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ablations.config import diff
from ablations.config.resolve import unknown_recipe
from ablations.store.load import record_task
from ablations.store.records import Record


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


def assign_launched(
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
