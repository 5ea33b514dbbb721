"""The rows and seeds that a study lacks, and the commands that train them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.config.diff import Changes
from ablations.paper import matching, published
from ablations.paper.matching import PAPER_BASELINE
from ablations.paper.published import PaperRow
from ablations.tables.table import CommandNote

# The sweep file of each section of the paper's table; pool sizes have their own.
SWEEPS = {
    naming.BASELINE: "token_mixer",
    "Token mixers": "token_mixer",
    "Normalization": "normalization",
    "Activation": "activation",
    "Other components": "components",
    naming.HYBRID: "hybrid_stages",
    diff.AXES["model.depths"]: "model_size",
}


def missing_rows(study: Study, all_rows: bool = False) -> list[Row]:
    """The rows of a study without a record.

    Args:
        study: The study.
        all_rows: Whether to add the rows of the paper of which no run was started.
    """
    return [*study.pending_rows, *(missing_paper_rows(study) if all_rows else [])]


def missing_paper_rows(study: Study) -> list[Row]:
    """The paper's rows that a study lacks; with the paper's numbers only for its baseline."""
    rows = (*study.rows, *study.pending_rows)
    present = {paper.variant for row in rows if (paper := _paper_row(row))}
    papers = study.has_paper_baseline or study.baseline is None or study.baseline.paper is not None
    return [
        Row(paper.axis, paper.variant, {}, [], paper if papers else None)
        for paper in published.ablation_rows().values()
        if paper.variant not in present
    ]


def _paper_row(row: Row) -> PaperRow | None:
    """The paper's row with the same changes, whatever the baseline is."""
    known = row.records or row.changed
    return row.paper or (matching.find_paper_row(row.changed) if known else None)


def expected_seeds(study: Study) -> list[int]:
    """The seeds that a row of a study should have: the baseline's, or without one those of all."""
    rows = [study.baseline] if study.baseline else study.rows
    return sorted({record.config["seed"] for row in rows for record in row.records})


def fill_command(study: Study, row: Row) -> str:
    """The command that trains what a row lacks; empty for nothing."""
    if not row.records and row.config is None:
        return row_command(study, row)
    return seeds_command(study, row, row.missing_seeds) if row.missing_seeds else ""


def row_command(study: Study, row: Row) -> str:
    """The command that trains a row of the paper; finished runs are reused."""
    sweep = "pool_size" if row.label.startswith("Pooling size") else SWEEPS[row.axis]
    return sweep_command(study, sweep, shared_changes(study))


def sweep_command(study: Study, sweep: str, changed: Changes) -> str:
    """The command that trains the runs of a sweep with the seeds of a study.

    Args:
        study: The study.
        sweep: The name of a shipped sweep file.
        changed: What every run changes against the study's recipe.
    """
    seeds = ",".join(map(str, expected_seeds(study))) or "0,1,2"
    return _command(study, changed, "run", f"sweeps/{sweep}.yaml", seeds=seeds)


def seeds_command(study: Study, row: Row, seeds: Sequence[int]) -> str:
    """The command that trains seeds of a row."""
    config = row.records[0].config if row.records else row.config or {}
    return variant_command(study, diff.flat_config(config), seeds)


def baseline_command(study: Study) -> str:
    """The command that trains the baseline that a study lacks: with what all its rows share."""
    return variant_command(study, study.base_config)


def variant_command(
    study: Study, config: Mapping[str, Any], seeds: Sequence[int] | None = None
) -> str:
    """The command that trains a variant.

    Args:
        study: The study.
        config: The whole config of the variant, flat.
        seeds: Its seeds; by default those of the study.
    """
    seeds = expected_seeds(study) if seeds is None else seeds
    changed = diff.changed_fields(diff.flat_recipe(study.recipe), config)
    command = _command(study, changed, "train")
    if len(seeds) == 1:
        return f"{command} --seed {seeds[0]}"
    return f"for seed in {' '.join(map(str, seeds))}; do {command} --seed $seed; done"


def _command(study: Study, changed: Changes, *words: str, seeds: str | None = None) -> str:
    """A command with what it changes, and what a run needs to belong to the study elsewhere too."""
    config = next((record.config for record in study.records), {})
    system, precision = config.get("system", {}), config.get("system", {}).get("precision")
    values = {
        "recipe": study.recipe,
        "seeds": seeds,
        **{name: _flag_value(value) for name, (_, value) in changed.items()},
        "data.root": config.get("data", {}).get("root"),
        "plugins": ",".join(system.get("plugins", [])) or None,
        "system.precision": None if precision == "auto" else precision,
        "results": study.results and str(study.results),
    }
    for name, value in values.items():
        words += (f"--{name}", value) if value is not None else ()
    return shlex.join(["ablations", *words])


def shared_changes(study: Study) -> Changes:
    """What every run of a study changes against its recipe, the number of epochs included.

    Without the fields that the paper's rows change: as flags, they would override what a sweep
    varies.
    """
    changed = diff.changed_fields(diff.flat_recipe(study.recipe), study.base_config)
    return {name: change for name, change in changed.items() if name not in PAPER_BASELINE}


def _flag_value(value: Any) -> str:
    """A value as a flag takes it; numbers keep all their digits."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_flag_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def missing_notes(study: Study, rows: Sequence[Row]) -> list[CommandNote]:
    """A footnote for each command that trains what a study lacks, with what it trains.

    Args:
        study: The study.
        rows: Its rows without a record.
    """
    return row_notes(study, [row for row in rows if row.config is None]) + [
        seeds_note(study, row, row.label, row.missing_seeds)
        for row in (*study.rows, *study.pending_rows)
        if row.missing_seeds
    ]


def seeds_note(study: Study, row: Row, name: str, seeds: Sequence[int]) -> CommandNote:
    """A footnote for the seeds that a row lacks, with their command."""
    which = f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"
    return CommandNote(f"Missing {name}, {which}: `{seeds_command(study, row, seeds)}`")


def row_notes(study: Study, rows: Sequence[Row]) -> list[CommandNote]:
    """A footnote for each command that trains whole rows."""
    labels: dict[str, list[str]] = {}
    for row in rows:
        labels.setdefault(row_command(study, row), []).append(row.label)
    return [
        CommandNote(f"Missing {'; '.join(own)}: `{command}`") for command, own in labels.items()
    ]
