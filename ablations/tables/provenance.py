"""What a table was made from: runs, images, code, devices, dates."""

from __future__ import annotations

from collections.abc import Sequence

from ablations.analysis.study import Study
from ablations.config import plugins
from ablations.store.records import Record
from ablations.tables.table import CommandNote
from ablations.text.phrases import pluralize


def provenance_notes(study: Study) -> list[str]:
    """A footnote with the facts, and a warning for each of them that differs between runs."""
    records = study.records
    if not records:
        return []
    measured = [record for record in records if record.environment]
    facts = [
        pluralize(len(records), "record"),
        f"recipe {study.recipe}",
        f"images {study.fingerprint or 'unknown'}",
        f"commit {', '.join(commits(records)) or 'unknown'}",
        f"device {', '.join(devices(measured)) or 'unknown'}",
        f"precision {study.precision}",
        f"torch {', '.join(versions(measured, 'torch')) or 'unknown'}",
        dates(measured),
    ]
    code = commits(records)
    warnings = _differ("these records are of different code: commits", code)
    if any(commit.endswith("+") for commit in code):
        warnings.append("A commit with a plus had uncommitted changes.")
    for mixer, hashes in plugin_versions(records).items():
        warnings += _differ(f"runs of {mixer} are of different code: versions", hashes)
    warnings += stale(records)
    warnings += _differ("these records are of different devices:", devices(measured))
    torch = versions(measured, "torch")
    warnings += _differ("these records are of different versions of torch:", torch)
    return [f"Made from {', '.join(facts)}.", *warnings]


def _differ(what: str, values: Sequence[str]) -> list[str]:
    """A warning if there are several values."""
    return [f"Warning: {what} {', '.join(values)}."] if len(values) > 1 else []


def commits(records: Sequence[Record]) -> list[str]:
    """The commits of finished runs, with a plus for uncommitted changes."""
    return sorted(
        {
            str(record.environment["commit"])[:12] + "+" * bool(record.environment.get("dirty"))
            for record in records
            if record.done and record.environment.get("commit")
        }
    )


def stale(records: Sequence[Record]) -> list[str]:
    """A warning for each plugin that changed after runs of it; its file is read, not imported."""
    found: dict[str, list[str]] = {}
    for record in records:
        before = record.environment.get("plugins", {})
        named = record.config.get("system", {}).get("plugins", [])
        if record.done and (why := plugins.changed_mixers_on_disk(named, before)):
            found.setdefault(why, []).append(record.run_id)
    return [
        CommandNote(
            f"Warning: stale runs, {why} since: {', '.join(run_ids)}; "
            "`ablations run --retrain-stale` trains them again."
        )
        for why, run_ids in found.items()
    ]


def distinct(records: Sequence[Record], name: str) -> list[str]:
    """The values of a field of the environment, sorted."""
    return sorted({str(r.environment[name]) for r in records if r.environment.get(name)})


def devices(records: Sequence[Record]) -> list[str]:
    """All devices of runs, sorted; a run that was resumed elsewhere has several."""
    several = {str(name) for record in records for name in record.environment.get("devices", [])}
    return sorted({*several, *distinct(records, "device")})


def versions(records: Sequence[Record], package: str) -> list[str]:
    """The versions of a package in records."""
    found = {record.environment.get("versions", {}).get(package) for record in records}
    return sorted(str(version) for version in found if version)


def dates(records: Sequence[Record]) -> str:
    """The days of the first and the last end of a run, in UTC."""
    days = sorted({date[:10] for date in distinct(records, "date")})
    if not days:
        return "dates unknown"
    return f"ended {days[0]}" if len(days) == 1 else f"ended {days[0]} to {days[-1]}"


def plugin_versions(records: Sequence[Record]) -> dict[str, list[str]]:
    """Token mixer of a plugin -> its versions in records."""
    found: dict[str, set[str]] = {}
    for record in records:
        for mixer, version in record.environment.get("plugins", {}).items():
            found.setdefault(mixer, set()).add(version)
    return {mixer: sorted(hashes) for mixer, hashes in found.items()}
