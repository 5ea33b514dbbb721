"""What a study lacks, and the command that fills it."""

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

# The sweep file of each section of the paper's table; pool sizes have one of their own.
SWEEPS = {
    naming.BASELINE: "token_mixer",
    "Token mixers": "token_mixer",
    "Normalization": "normalization",
    "Activation": "activation",
    "Other components": "components",
    naming.HYBRID: "hybrid_stages",
    diff.AXES["model.depths"]: "model_size",
}


def missing_rows(study: Study, whole: bool = False) -> list[Row]:
    """Rows without a result: those that were begun, and on request the paper's that a study lacks.

    Args:
        study: The study.
        whole: Whether rows of the paper are wanted that nobody has begun.
    """
    return [*study.pending_rows, *(missing_paper_rows(study) if whole else [])]


def missing_paper_rows(study: Study) -> list[Row]:
    """The paper's rows that a study lacks; without the paper's numbers beside another baseline."""
    there = {
        known.variant for row in (*study.rows, *study.pending_rows) if (known := paper_row(row))
    }
    papers = study.has_paper_baseline or study.baseline is None or study.baseline.paper is not None
    return [
        Row(paper.axis, paper.variant, {}, [], paper if papers else None)
        for paper in published.ablation_rows().values()
        if paper.variant not in there
    ]


def paper_row(row: Row) -> PaperRow | None:
    """The row of the paper that changes what a row of ours changes, whatever the baseline is."""
    return row.paper or (
        matching.find_paper_row(row.changed) if row.records or row.changed else None
    )


def expected_seeds(study: Study) -> list[int]:
    """The seeds that a row of a study is expected to have: the baseline's, else those of all."""
    rows = [study.baseline] if study.baseline else study.rows
    return sorted({record.config["seed"] for row in rows for record in row.records})


def row_command(study: Study, row: Row) -> str:
    """The command that trains a row of the paper that a study lacks; what is done is reused."""
    pool_size = row.label.startswith("Pooling size")
    return sweep_command(
        study, "pool_size" if pool_size else SWEEPS[row.axis], shared_changes(study)
    )


def sweep_command(study: Study, sweep: str, changed: Changes) -> str:
    """The command that trains the cells of a sweep with the seeds of a study.

    Args:
        study: The study.
        sweep: The name of a shipped sweep file.
        changed: What every cell changes against the study's recipe.
    """
    asked = ",".join(map(str, expected_seeds(study))) or "0,1,2"
    words = ["ablations", "run", f"sweeps/{sweep}.yaml", "--recipe", study.recipe]
    return shlex.join([*words, "--seeds", asked, *config_flags(changed), *_surroundings(study)])


def seeds_command(study: Study, row: Row, lacking: Sequence[int]) -> str:
    """The command that trains seeds that a row lacks."""
    config = row.records[0].config if row.records else row.config or {}
    changed = config_flags(diff.changes_from_recipe(config))
    words = ["ablations", "train", "--recipe", config["recipe"], *changed, *_surroundings(study)]
    return _each_seed(shlex.join(words), lacking)


def baseline_command(study: Study) -> str:
    """The command that trains the baseline that a study lacks: what all rows share, no more."""
    return variant_command(study, study.base_config)


def variant_command(study: Study, flat: Mapping[str, Any]) -> str:
    """The command that trains a variant with the seeds of a study.

    Args:
        study: The study.
        flat: The variant's whole config, flat.
    """
    changed = diff.changed_fields(diff.flat_recipe(study.recipe), flat)
    words = ["ablations", "train", "--recipe", study.recipe, *config_flags(changed)]
    return _each_seed(shlex.join([*words, *_surroundings(study)]), expected_seeds(study))


def _each_seed(command: str, wanted: Sequence[int]) -> str:
    if len(wanted) == 1:
        return f"{command} --seed {wanted[0]}"
    return f"for seed in {' '.join(map(str, wanted))}; do {command} --seed $seed; done"


def _surroundings(study: Study) -> list[str]:
    """Flags without which another machine's command would not be a run of this study."""
    config = next((record.config for record in study.records), {})
    system, root = config.get("system", {}), config.get("data", {}).get("root")
    words = ["--data.root", root] if root else []
    if system.get("plugins"):
        words += ["--plugins", ",".join(system["plugins"])]
    if system.get("precision", "auto") != "auto":
        words += ["--system.precision", system["precision"]]
    return [*words, *(["--results", str(study.results)] if study.results else [])]


def shared_changes(study: Study) -> Changes:
    """What every run of a study changes against its recipe, its length included.

    Fields that the paper's rows change are left out: as flags they would override what a sweep
    varies.
    """
    changed = diff.changed_fields(diff.flat_recipe(study.recipe), study.base_config)
    return {name: change for name, change in changed.items() if name not in PAPER_BASELINE}


def config_flags(changed: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Changes as flags of ``ablations train``."""
    found = []
    for name, (_, value) in changed.items():
        found += [f"--{name}", flag_value(value)]
    return found


def flag_value(value: Any) -> str:
    """A value as a flag takes it; numbers keep all their digits."""
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(flag_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def missing_notes(study: Study, absent: Sequence[Row]) -> list[str]:
    """A line for each command that a study lacks, with what it would fill."""
    told = row_notes(study, [row for row in absent if row.config is None])
    for row in (*study.rows, *study.pending_rows):
        if row.missing_seeds:
            told.append(seeds_note(study, row, row.label, row.missing_seeds))
    return told


def seeds_note(study: Study, row: Row, name: str, lacking: Sequence[int]) -> str:
    """A line for the seeds that a row lacks, with their command."""
    which = f"{'seed' if len(lacking) == 1 else 'seeds'} {', '.join(map(str, lacking))}"
    return f"Missing {name}, {which}: `{seeds_command(study, row, lacking)}`"


def row_notes(study: Study, absent: Sequence[Row]) -> list[str]:
    """A line for each command that fills whole rows."""
    wanted: dict[str, list[str]] = {}
    for row in absent:
        wanted.setdefault(row_command(study, row), []).append(row.label)
    return [f"Missing {'; '.join(rows)}: `{command}`" for command, rows in wanted.items()]
