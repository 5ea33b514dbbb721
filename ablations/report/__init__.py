"""Records -> one self-contained page: sentences, tables, plots, runs, how to cite.

The page is computed from records and their histories, so the same records give the same page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from markupsafe import Markup

from ablations.analysis.build import build_studies
from ablations.analysis.study import Study
from ablations.analysis.verdicts import NOT_RUN
from ablations.config import naming
from ablations.page import fill_template, html_document
from ablations.report import curves, flips, runs, summary
from ablations.report.curves import History
from ablations.report.plots import study_plots
from ablations.store.load import LoadResult
from ablations.store.predictions import Predictions
from ablations.store.records import RECORD_FILE
from ablations.tables import Table, claims_table, missing, provenance, study_table
from ablations.tables.html_tables import html_table
from ablations.text.phrases import format_duration, pluralize

TABLES: list[Callable[[Study], Table]] = [study_table, claims_table]


@dataclass(frozen=True)
class Report:
    """A page and what is not on it.

    Args:
        page: The page.
        problems: A message for each record or history that is left out; the page has them too.
    """

    page: str
    problems: list[str]


def build_report(
    loaded: LoadResult, known: Sequence[Study] | None = None, problems: Sequence[str] | None = None
) -> Report:
    """The page of all records.

    Args:
        loaded: Usable records, where each comes from, and what is left out.
        known: The studies of the records, if they are known.
        problems: What is left out, if that is more than records.
    """
    studies = build_studies(loaded.records) if known is None else known
    histories, broken = curves.read_histories(loaded)
    predictions, damaged = flips.read_predictions(loaded)
    left_out = [*(loaded.problems if problems is None else problems), *broken, *damaged]
    full = len(loaded.records) <= runs.MAX_FULL_RUNS
    parts = [
        _study(study, f"s{number}", loaded, histories, predictions, full)
        for number, study in enumerate(studies, start=1)
    ]
    body = fill_template(
        "report.html",
        run_count=pluralize(len(loaded.records), "run"),
        studies=list(zip(studies, parts, strict=True)),
        study_count=pluralize(len(studies), "study", "studies"),
        problems=left_out,
        version=version("metaformer-ablations"),
        commits=provenance.commits(loaded.records),
    )
    return Report(html_document("MetaFormer ablations: report", body), left_out)


def _study(
    study: Study,
    name: str,
    loaded: LoadResult,
    histories: dict[str, History],
    predictions: dict[str, Predictions],
    full: bool,
) -> Markup:
    """The section of one study; the ids of its elements start with ``name``."""
    known = {record.run_id: (row, record) for row in study.rows for record in row.records}
    absent = dict.fromkeys(missing.missing_notes(study, missing.missing_rows(study, all_rows=True)))
    tables = []
    for number, make in enumerate(TABLES, start=1):
        table = make(study)
        if {badge and badge.verdict for badge in table.badges} == {NOT_RUN}:
            continue  # no claim is about this study, or it has just started
        table.footnotes = [
            note for note in table.footnotes if note not in absent
        ]  # they have a section of their own
        links = [[[runs.link_to_run(*known[i]) for i in ids] for ids in own] for own in table.runs]
        tables.append(Markup(html_table(table, f"{name}t{number}", links)))
    groups = []
    for row in study.rows:
        title = row.label if row.axis == row.label else f"{row.axis}: {row.label}"
        details = [
            runs.describe_run(
                row, run, loaded.origins.get(run.run_id, ""), histories.get(run.run_id, []), full
            )
            for run in row.records
        ]
        groups.append((title, ", ".join(row.also_changes), details))
    return fill_template(
        "study.html",
        name=name,
        study=study,
        sentences=summary.summary_sentences(study),
        tables=tables,
        plots=study_plots(study, histories, name),
        flips=flips.flips_section(study, predictions, name),
        missing=absent,
        facts=_facts(study, loaded),
        commands=_commands(study),
        groups=groups,
        full=full,
    )


def _facts(study: Study, loaded: LoadResult) -> list[tuple[str, str]]:
    """How a study was run."""
    records = study.records
    measured = [record for record in records if record.environment]
    packages = sorted({name for r in measured for name in r.environment.get("versions", {})})
    versions = [f"{name} {', '.join(provenance.versions(measured, name))}" for name in packages]
    seconds = sum(record.timing.get("epoch_seconds", 0) for record in records)
    sources = {_source(loaded.origins[r.run_id]) for r in records if r.run_id in loaded.origins}
    facts = {
        "Recipe": study.recipe,
        "All runs with": ", ".join(naming.format_assignments(study.shared_changes)),
        "Images": f"{study.data}, fingerprint {study.fingerprint or 'unknown'}",
        "Length": study.training_length,
        "Precision": study.precision,
        "Seeds": summary.seed_ranges(missing.expected_seeds(study)),
        **{
            name.capitalize(): ", ".join(provenance.distinct(measured, name))
            for name in ("device", "platform", "threads", "python")
        },
        "Packages": ", ".join(versions),
        "Code": ", ".join(provenance.commits(records)),
        "Ended": provenance.dates(measured).removeprefix("ended ").removeprefix("dates "),
        "Time": f"{format_duration(seconds)} of training and validation" if seconds else "",
        "Records": ", ".join(sorted(sources)),
    }
    return [(name, value) for name, value in facts.items() if value]


def _source(place: str) -> str:
    """The folder of results or the project that a record comes from."""
    path = Path(place)
    return str(path.parent.parent if path.name == RECORD_FILE else path.parent)


def _commands(study: Study) -> list[str]:
    """The commands that repeat the study; they reuse finished runs."""
    seeds = missing.expected_seeds(study)
    commands: dict[str, None] = {}
    for row in study.rows:
        if row.paper and row.axis in missing.SWEEPS:
            commands[missing.row_command(study, row)] = None
        elif row.records:
            commands[missing.seeds_command(study, row, seeds)] = None
    return list(commands)
