"""Whether what is on disk of a run is of what is asked for now: its images, precision and mixers.

The id of a run says nothing of these three. What is of other images or of another precision is
refused; a run whose token mixer has changed since is *stale*: named, and trained again on request.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations import data
from ablations.config import plugins
from ablations.config.precision import resolve_precision
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError, DataError, LeaseError, RecordError
from ablations.store import leases, previous_results, records
from ablations.store.records import CHECKPOINT_FILE, HISTORY_FILE, RECORD_FILE, WEIGHTS_FILE, Record

STALE_FOLDER = "stale"  # folder of what a run had before it was trained again with a changed mixer
RETRAIN_HINT = "--retrain-stale trains it again and keeps what it had"
_OTHER_FOLDER_HINT = "use another results folder (--results DIR)"
_Source = tuple[str, str]  # name and root of a data set


@dataclass
class ReuseCheck:
    """Records of done runs held against the runs that are asked for.

    Args:
        images: Run id -> why its record is of other images, or of unknown ones.
        precision: Run id -> why its record is of another precision.
        stale: Run id -> which of its token mixers have changed.
        failed: Ids of runs that failed on other images: they say nothing of these.
        unread: A data set -> why it cannot be read, and so not be compared.
    """

    images: dict[str, str] = field(default_factory=dict)
    precision: dict[str, str] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    unread: dict[str, str] = field(default_factory=dict)

    def told(self, results: Path) -> list[str]:
        """A line for each stale run, and for each data set that cannot be read."""
        lines = [
            f"stale: {results / id_}: {why}: {RETRAIN_HINT}" for id_, why in self.stale.items()
        ]
        for name, why in self.unread.items():
            lines.append(f"whether the finished runs are of {name} is unknown: {why}")
        return lines

    def refuse(self, results: Path, unread: bool = True) -> None:
        """Raise where records are of other images or of another precision, in one line.

        Args:
            results: The folder of all runs.
            unread: Whether images that cannot be read are refused too.

        Raises:
            DataError: Of other images, or the images cannot be read.
            ConfigError: Of another precision.
        """
        if self.images:
            raise DataError(f"{_first(results, self.images)}: {_OTHER_FOLDER_HINT}")
        for name, why in self.unread.items() if unread else ():
            raise DataError(
                f"{why} (whether the finished runs in {results} are of {name} is unknown without "
                f"it; `ablations table {results}` shows them)"
            )
        if self.precision:
            raise ConfigError(f"{_first(results, self.precision)}, or {_OTHER_FOLDER_HINT}")


def _first(results: Path, found: Mapping[str, str]) -> str:
    run_id, why = next(iter(found.items()))
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"run {run_id} ({results / run_id / RECORD_FILE}){others}: {why}"


def check_records(
    configs: Iterable[RunConfig],
    there: Sequence[Record],
    here: bool = True,
    download: bool = True,
    on_missing: Callable[[RunConfig], object] = lambda _: None,
) -> ReuseCheck:
    """Hold records against the runs that are asked for; each data set is read once.

    Args:
        configs: What is asked for.
        there: Records of some of them.
        here: Whether they are trained on this machine, so that ``auto`` is known.
        download: Whether a data set that is not here may be fetched; else it is told as unread.
        on_missing: Called with each run that has no record, beside those of the same data set.
    """
    known, found = {record.run_id: record for record in there}, ReuseCheck()
    identities: dict[_Source, dict[str, str]] = {}
    for config in sorted(configs, key=_source):
        record, run_id, source = known.get(config.run_id), config.run_id, _source(config)
        if record is None:
            on_missing(config)
            continue
        if source not in identities:
            identities[source] = _identity(config, download, found)
        now = identities[source]
        other = images_mismatch(record.data, now, config) if now else None
        if not record.done:
            if other and record.data.get("fingerprint"):
                found.failed.add(run_id)
            continue
        if other:
            found.images[run_id] = other
        decided = _precisions_known(record, config, here)
        if decided and (why := precision_mismatch(record.environment, config)):
            found.precision[run_id] = why
        if why := plugins.changed_mixers(
            record.environment.get("plugins", {}), config.model.mixers
        ):
            found.stale[run_id] = why
    return found


def _source(config: RunConfig) -> _Source:
    return config.data.name, config.data.root or ""


def _identity(config: RunConfig, download: bool, found: ReuseCheck) -> dict[str, str]:
    """Of the images at hand; empty, and noted, where they cannot be read."""
    where = config.data.root or config.data.name
    if not download and not data.is_available(config.data):
        found.unread[where] = f"{where} is not here yet"
        return {}
    try:
        return data.dataset_identity(config.data)
    except DataError as error:
        found.unread[where] = str(error)
        return {}


def check_record(record: Record, config: RunConfig, place: object, here: bool = True) -> None:
    """Raise where a done record is not of what is asked for.

    Args:
        record: The record.
        config: The run.
        place: The record's file or address, for the message.
        here: Whether it would be trained on this machine, so that ``auto`` is known.

    Raises:
        DataError: It is of other images.
        ConfigError: It is of another precision, or of other code of a plugin's mixer.
    """
    if why := images_mismatch(record.data, data.dataset_identity(config.data), config):
        raise DataError(f"run {record.run_id} ({place}): {why}: {_OTHER_FOLDER_HINT}")
    if _precisions_known(record, config, here) and (
        why := precision_mismatch(record.environment, config)
    ):
        raise ConfigError(f"run {record.run_id} ({place}): {why}, or {_OTHER_FOLDER_HINT}")
    if why := plugins.changed_mixers(record.environment.get("plugins", {}), config.model.mixers):
        raise ConfigError(f"run {record.run_id} ({place}) is stale: {why}: {RETRAIN_HINT}")


def check_checkpoint(state: Mapping[str, Any], config: RunConfig, checkpoint: Path) -> None:
    """Raise where a checkpoint is of other images, precision or mixers than are asked for here.

    Raises:
        DataError: It is of other images.
        ConfigError: It is of another precision, or of other code of a plugin's mixer.
    """
    if why := images_mismatch(state, data.dataset_identity(config.data), config):
        raise DataError(f"{checkpoint}: {why}: {_OTHER_FOLDER_HINT}")
    if why := precision_mismatch(state, config):
        raise ConfigError(f"{checkpoint}: {why}, or remove the file to train the run anew")
    if why := plugins.changed_mixers(state.get("plugins", {}), config.model.mixers):
        raise ConfigError(f"{checkpoint} is stale: {why}: {RETRAIN_HINT}")


def _precisions_known(record: Record, config: RunConfig, here: bool) -> bool:
    """Whether both precisions are known; a record without one is in no table."""
    asked = here or config.system.precision != "auto"
    return asked and record.environment.get("precision") is not None


def images_mismatch(
    before: Mapping[str, Any], now: Mapping[str, str], config: RunConfig
) -> str | None:
    """Why a run's images are others than those at hand, in words; None where they are the same.

    Args:
        before: What has its ``fingerprint``; an unknown one is another. Records of older versions
            do not have the ``contents`` of image files.
        now: The identity of those at hand.
        config: The run.
    """
    then = before.get("fingerprint")
    contents, new_contents = before.get("contents"), now.get("contents")
    where = config.data.root or config.data.name
    if then != now["fingerprint"]:
        new = now["fingerprint"]
        return f"its images have fingerprint {then or 'unknown'}, those of {where} have {new}"
    if contents and new_contents and contents != new_contents:
        return (
            f"its images have fingerprint {then} and contents {contents}, those of {where} have "
            f"contents {new_contents}"
        )
    return None


def precision_mismatch(before: Mapping[str, Any], config: RunConfig) -> str | None:
    """Why a run's precision is not the one that is asked for here, in words; None where it is.

    Args:
        before: What has its ``precision``.
        config: The run.
    """
    now, asked = resolve_precision(config.system), config.system.precision
    if (then := before.get("precision")) == now:
        return None
    machine = f" ({now} on this machine)" if asked == "auto" else ""
    remedy = f": take --system.precision {then}" if then else ""
    return f"it is of precision {then or 'unknown'}, system.precision is {asked}{machine}{remedy}"


def is_stale(results: Path, config: RunConfig) -> bool:
    """Whether a run has a record or a checkpoint of other code of its token mixers."""
    if not plugins.mixer_versions(config.model.mixers):
        return False
    known, checkpoint = (
        records.find_record(results, config.run_id),
        results / config.run_id / CHECKPOINT_FILE,
    )
    before = [known.environment.get("plugins", {})] if known and known.done else []
    if checkpoint.is_file():
        import torch

        # What cannot be read is put aside by the run itself.
        with contextlib.suppress(Exception):
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            before.append(dict(state["plugins"]))
    return any(plugins.changed_mixers(each, config.model.mixers) for each in before)


# Where somebody has a run, or this user has no right to write, it is left to who has one.
_SKIPPED_ERRORS = (LeaseError, RecordError, OSError)


def finish_interrupted_moves(results: Path, run_ids: Iterable[str]) -> None:
    """Restore what a killed `--no-reuse` left set aside, of runs that nobody trains."""
    for run_id in run_ids:
        if previous_results.has_interrupted_move(results, run_id):
            with contextlib.suppress(*_SKIPPED_ERRORS), leases.hold_lease(results, run_id):
                previous_results.finish_interrupted_move(results, run_id)


def remove_finished_leftovers(results: Path, run_ids: Iterable[str]) -> None:
    """Remove what runs that are done, and that nobody trains, have kept of a killed process."""
    for run_id in run_ids:
        if records.files_of_unfinished_cleanup(results, run_id):
            with contextlib.suppress(*_SKIPPED_ERRORS), leases.hold_lease(results, run_id):
                if (known := records.find_record(results, run_id)) and known.done:
                    for path in records.files_of_unfinished_cleanup(results, run_id):
                        path.unlink(missing_ok=True)


def move_stale_files(results: Path, run_id: str) -> Path:
    """Move what a stale run has to a folder below its own, so that it is trained again.

    Returns:
        That folder; it is never removed.

    Raises:
        BusyError: Somebody trains the run.
    """
    folder = results / run_id
    with leases.hold_lease(results, run_id):
        number = 1
        while (aside := folder / f"{STALE_FOLDER}-{number}").exists():
            number += 1
        aside.mkdir()
        for name in (
            HISTORY_FILE,
            WEIGHTS_FILE,
            CHECKPOINT_FILE,
            RECORD_FILE,
        ):  # the record last: until then it is done
            if (folder / name).is_file():
                os.replace(folder / name, aside / name)
    return aside
