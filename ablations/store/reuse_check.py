"""Check that results on disk have the images, precision and token mixers of a config.

The run id does not cover these three. Other images or another precision are refused. A run is
*stale* if a plugin's token mixer has changed since: it is reported, and trained again on request.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations import data
from ablations.config import plugins
from ablations.config.precision import resolve_precision
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError, DataError
from ablations.store import records
from ablations.store.records import CHECKPOINT_FILE, RECORD_FILE, Record

RETRAIN_HINT = "--retrain-stale trains it again and keeps what it had"
_OTHER_FOLDER_HINT = "use another results folder (--results DIR)"
_SourceKey = tuple[str, str]  # name and root of a data set


@dataclass
class ReuseCheck:
    """How the records of runs compare with their configs.

    Args:
        images: Run id -> why its record has other or unknown images.
        precision: Run id -> why its record has another precision.
        stale: Run id -> which of its token mixers have changed.
        failed: Ids of runs that failed on other images: they are trained again.
        unread: Data set -> why it cannot be read and compared.
    """

    images: dict[str, str] = field(default_factory=dict)
    precision: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    unread: dict[str, str] = field(default_factory=dict)

    def warnings(self, results: Path) -> list[str]:
        """A line for each stale run, and for each data set that cannot be read."""
        stale, unread = self.stale.items(), self.unread.items()
        return [
            *(f"stale: {results / run_id}: {why}: {RETRAIN_HINT}" for run_id, why in stale),
            *(f"cannot check whether the finished runs used {name}: {why}" for name, why in unread),
        ]

    def raise_mismatch(self, results: Path, unread: bool = True) -> None:
        """Raise where a record has other images or another precision.

        Args:
            results: The results folder.
            unread: Whether to raise for images that cannot be read, too.

        Raises:
            DataError: Other images, or images that cannot be read.
            ConfigError: Another precision.
        """
        if self.images:
            raise DataError(f"{_first(results, self.images)}: {_OTHER_FOLDER_HINT}")
        for name, why in self.unread.items() if unread else ():
            raise DataError(
                f"{why} (cannot check whether the finished runs in {results} used {name}; "
                f"`ablations table {results}` shows them)"
            )
        if self.precision:
            raise ConfigError(f"{_first(results, self.precision)}, or {_OTHER_FOLDER_HINT}")


def _first(results: Path, found: Mapping[str, str]) -> str:
    run_id, why = next(iter(found.items()))
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"run {run_id} ({results / run_id / RECORD_FILE}){others}: {why}"


def check_records(
    configs: Iterable[RunConfig],
    existing: Sequence[Record],
    on_this_machine: bool = True,
    download: bool = True,
    on_missing: Callable[[RunConfig], object] = lambda _: None,
) -> ReuseCheck:
    """Compare records with the configs of their runs; each data set is read once.

    Args:
        configs: The runs.
        existing: Records of some of them.
        on_this_machine: Whether they are trained on this machine: precision ``auto`` is known then.
        download: Whether a missing data set may be downloaded; otherwise it counts as unread.
        on_missing: Called with each run that has no record, grouped by data set.
    """
    known, found = {record.run_id: record for record in existing}, ReuseCheck()
    identities: dict[_SourceKey, dict[str, str]] = {}
    for config in sorted(configs, key=_source_key):
        record, run_id, source = known.get(config.run_id), config.run_id, _source_key(config)
        if record is None:
            on_missing(config)
            continue
        if source not in identities:
            identities[source] = _identity(config, download, found)
        before, now = record.data | record.environment, identities[source]
        other = _other_images(before, now, config) if now else None
        if not record.done:
            if other and before.get("fingerprint"):
                found.failed.add(run_id)
            continue
        if other:
            found.images[run_id] = other
        if why := _other_precision(before, config, on_this_machine):
            found.precision[run_id] = why
        if why := _changed_mixers(before, config):
            found.stale[run_id] = why
    return found


def _source_key(config: RunConfig) -> _SourceKey:
    return config.data.name, config.data.root or ""


def _identity(config: RunConfig, download: bool, found: ReuseCheck) -> dict[str, str]:
    """The identity of the images; empty, and added to ``unread``, where they cannot be read."""
    where = config.data.root or config.data.name
    if not download and not data.is_available(config.data):
        found.unread[where] = f"{where} is not on this machine yet"
        return {}
    try:
        return data.dataset_identity(config.data)
    except DataError as error:
        found.unread[where] = str(error)
        return {}


def check_record(
    record: Record, config: RunConfig, origin: object, on_this_machine: bool = True
) -> None:
    """Raise where a done record does not match the config of its run.

    Args:
        record: The record.
        config: The config.
        origin: The record's file or address, for the message.
        on_this_machine: Whether the run would be trained here: precision ``auto`` is known then.

    Raises:
        DataError: It has other images.
        ConfigError: It has another precision, or a mixer of a plugin has changed.
    """
    name, before = f"run {record.run_id} ({origin})", record.data | record.environment
    _check(name, before, config, _OTHER_FOLDER_HINT, on_this_machine)


def check_checkpoint(state: Mapping[str, Any], config: RunConfig, checkpoint: Path) -> None:
    """As ``check_record``, for the checkpoint of a run."""
    _check(str(checkpoint), state, config, "remove the file to train the run anew")


def _check(
    name: str,
    before: Mapping[str, Any],
    config: RunConfig,
    remedy: str,
    on_this_machine: bool = True,
) -> None:
    if why := _other_images(before, data.dataset_identity(config.data), config):
        raise DataError(f"{name}: {why}: {_OTHER_FOLDER_HINT}")
    if why := _other_precision(before, config, on_this_machine):
        raise ConfigError(f"{name}: {why}, or {remedy}")
    if why := _changed_mixers(before, config):
        raise ConfigError(f"{name} is stale: {why}: {RETRAIN_HINT}")


def _other_images(
    before: Mapping[str, Any], now: Mapping[str, str], config: RunConfig
) -> str | None:
    """How the images of a run differ from those on this machine; None where they are the same.

    Args:
        before: The ``fingerprint`` of the run's images; an unknown one counts as different.
            Records of older versions have no ``contents``.
        now: The identity of the images on this machine.
        config: The run.
    """
    where = config.data.root or config.data.name
    then, new = before.get("fingerprint"), now["fingerprint"]
    contents, new_contents = before.get("contents"), now.get("contents")
    if then != new:
        return f"its images have fingerprint {then or 'unknown'}, those of {where} have {new}"
    if contents and new_contents and contents != new_contents:
        return (
            f"its images have fingerprint {then} and contents {contents}, those of {where} have "
            f"contents {new_contents}"
        )
    return None


def _other_precision(
    before: Mapping[str, Any], config: RunConfig, on_this_machine: bool
) -> str | None:
    """How the precision of a run differs from its config; None where it is the same or unknown.

    Tables leave out a record without a precision.
    """
    then, asked = before.get("precision"), config.system.precision
    if then is None or (asked == "auto" and not on_this_machine):
        return None
    if then == (now := resolve_precision(config.system)):
        return None
    machine = f" ({now} on this machine)" if asked == "auto" else ""
    return (
        f"it has precision {then}, system.precision is {asked}{machine}: use --system.precision "
        f"{then}"
    )


def _changed_mixers(before: Mapping[str, Any], config: RunConfig) -> str | None:
    """Which token mixers of a run have changed since; None where none has."""
    return plugins.changed_mixers(before.get("plugins", {}), config.model.mixers)


def is_stale(results: Path, config: RunConfig) -> bool:
    """Whether a token mixer has changed since the record or checkpoint of a run was written."""
    if not plugins.mixer_versions(config.model.mixers):
        return False
    known = records.find_record(results, config.run_id)
    checkpoint = results / config.run_id / CHECKPOINT_FILE
    before = [known.environment] if known and known.done else []
    if checkpoint.is_file():
        import torch

        # Training itself reports and moves a checkpoint that cannot be read.
        with contextlib.suppress(Exception):
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            before.append({"plugins": dict(state["plugins"])})
    return any(_changed_mixers(each, config) for each in before)
