"""``<results>/study.json``: how seeds are added to a study, written before its first run."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from typing_extensions import TypedDict

from ablations.analysis.build import build_studies
from ablations.analysis.stats import BySeed, Method, SignificanceTest, looks
from ablations.analysis.stats.looks import LookPlan, LookProgress
from ablations.config.schema import RunConfig
from ablations.errors import ConfigError, MissingFileError, SchemaError, StatisticsError
from ablations.store import validation
from ablations.store.load import MAIN_METRIC
from ablations.store.records import Record
from ablations.store.storage import access_error, read_file, write_atomically

STUDY_FILE = "study.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class StudyPlan:
    """How seeds are added to a study.

    Args:
        baseline: The label of the row that the others are compared with.
        rows: Label -> the run id of each seed, the baseline among them.
        seeds: All seeds, in the order in which they are added.
        looks: When the rows are compared, and what decides a row.
        metric: What is compared, as records name it.
        results_before: Planned runs that had a result when the plan was written.
    """

    baseline: str
    rows: Mapping[str, Sequence[str]]
    seeds: Sequence[int]
    looks: LookPlan
    metric: str = MAIN_METRIC
    results_before: int = field(default=0, compare=False)

    def progress(self, records: Iterable[Record]) -> LookProgress:
        """How far the looks are, by the records of its runs alone; others are not read.

        A failed run has ended, and leaves its row with one pair fewer.
        """
        known = {record.run_id: record for record in records}
        outcomes: dict[str, BySeed] = {}
        ended: dict[str, AbstractSet[int]] = {}
        for label, run_ids in self.rows.items():
            runs = dict(zip(self.seeds, run_ids, strict=True))
            found = {seed: known[run_id] for seed, run_id in runs.items() if run_id in known}
            tops = {seed: run.metric(self.metric) for seed, run in found.items() if run.done}
            outcomes[label] = {seed: value for seed, value in tops.items() if value is not None}
            ended[label] = found.keys()
        return looks.follow(self.looks, self.seeds, outcomes, self.baseline, ended)

    def run_ids(self, seeds: Mapping[str, Sequence[int]]) -> set[str]:
        """The runs of some seeds of some rows."""
        position = {seed: i for i, seed in enumerate(self.seeds)}
        return {self.rows[row][position[seed]] for row, own in seeds.items() for seed in own}


def plan_study(runs: Sequence[RunConfig], look_plan: LookPlan) -> StudyPlan:
    """The plan of runs that form one study with a baseline, each variant with the same seeds.

    Args:
        runs: All runs that may be trained.
        look_plan: The looks.

    Raises:
        ConfigError: They form several studies, have no baseline or no row beside it, or have fewer
            seeds than the last look.
    """
    # Tables find the rows and the baseline; runs without a result count as failed.
    stubs = [
        Record(r.run_id, "failed", r.to_json(), failure={"kind": "error", "message": ""})
        for r in runs
    ]
    studies = build_studies(stubs)
    if len(studies) != 1:
        names = "; ".join(f"recipe {s.recipe}, data {s.data}, {s.epochs} epochs" for s in studies)
        raise ConfigError(f"--until-decided is for one study, and these runs form several: {names}")
    (study,) = studies
    if study.baseline is None or len(study.rows) < 2:
        raise ConfigError(
            "--until-decided compares rows with a baseline: name sweep files that have both"
        )
    seeds = list(dict.fromkeys(run.seed for run in runs))
    if len(seeds) < look_plan.looks[-1]:
        raise ConfigError(
            f"the last of the looks needs {look_plan.looks[-1]} seeds, and --seeds has "
            f"{len(seeds)}: give more seeds or fewer looks"
        )
    seeds = seeds[: look_plan.looks[-1]]
    rows = {
        row.label: [{r.config["seed"]: r.run_id for r in row.records}[seed] for seed in seeds]
        for row in study.rows
    }
    return StudyPlan(study.baseline.label, rows, seeds, look_plan)


class _LookTree(TypedDict):
    seeds: int
    error: float


class _StudyTree(TypedDict):
    schema: int
    metric: str
    test: Literal["moderated", "pooled", "ordinary"]
    margin: float | None
    looks: list[_LookTree]
    seeds: list[int]
    baseline: str
    rows: dict[str, list[str]]
    results_before: int


def read_study_plan(results: Path) -> StudyPlan | None:
    """The plan of a folder; None without one.

    Raises:
        ConfigError: The file is not a plan.
        AccessError: It cannot be read.
    """
    path = results / STUDY_FILE
    try:
        content = read_file(path)
    except MissingFileError:
        return None
    try:
        tree = validation.parse_json(content, dict)
        version = tree.get("schema") if isinstance(tree, dict) else None
        if version != SCHEMA_VERSION:
            raise SchemaError(f"schema version {version}, this program reads {SCHEMA_VERSION}")
        validation.validate_json(content, _StudyTree)
        plan = StudyPlan(
            tree["baseline"],
            tree["rows"],
            tree["seeds"],
            LookPlan(
                tuple(each["seeds"] for each in tree["looks"]),
                tuple(each["error"] for each in tree["looks"]),
                tree["margin"],
                Method(SignificanceTest(tree["test"])),
            ),
            tree["metric"],
            tree["results_before"],
        )
        seeds = len(set(plan.seeds))
        if seeds != len(plan.seeds) or seeds != plan.looks.looks[-1]:
            raise SchemaError("its seeds do not fit its looks")
        if plan.baseline not in plan.rows or {len(ids) for ids in plan.rows.values()} != {seeds}:
            raise SchemaError("its rows do not fit its baseline and seeds")
    except (SchemaError, StatisticsError) as error:
        raise ConfigError(
            f"{path} is not the plan of a study ({error}): restore it; without it, seeds count as "
            "added without a plan"
        ) from error
    return plan


def check_study_plan(results: Path, plan: StudyPlan) -> StudyPlan | None:
    """The plan that is in a folder; None without one.

    Raises:
        ConfigError: It is another plan, or the file is not a plan.
    """
    known = read_study_plan(results)
    if known is None or known == plan:
        return known
    there, now = _summary(known), _summary(plan)
    parts = [f"{name} {there[name]}, not {now[name]}" for name in now if there[name] != now[name]]
    what = "; ".join(parts) or "other rows or seeds"
    raise ConfigError(
        f"{results / STUDY_FILE} is of another plan ({what}), and a plan is not changed once runs "
        "have begun: give what it says, or choose another folder with --results DIR"
    )


def _summary(plan: StudyPlan) -> dict[str, str]:
    """What two plans are compared in, in words."""
    margin = plan.looks.margin
    return {
        "looks": _joined(plan.looks.looks),
        "errors": ",".join(f"{error:.4g}" for error in plan.looks.errors),
        "margin": "none" if margin is None else f"{margin:g}",
        "test": plan.looks.method.test.value,
        "metric": plan.metric,
        "baseline": plan.baseline,
        "seeds": _joined(plan.seeds),
        "rows": f"{len(plan.rows)} ({', '.join(plan.rows)})",
    }


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def write_study_plan(results: Path, plan: StudyPlan) -> StudyPlan:
    """Write the plan of a folder that has none, and return the plan that is there.

    Several runners may write at once: the first one wins, and the others must have the same plan.

    Raises:
        ConfigError: There is another plan.
        AccessError: The file cannot be written.
    """
    tree = {
        "schema": SCHEMA_VERSION,
        "metric": plan.metric,
        "test": plan.looks.method.test.value,
        "margin": plan.looks.margin,
        "looks": [
            {"seeds": seeds, "error": error}
            for seeds, error in zip(plan.looks.looks, plan.looks.errors, strict=True)
        ],
        "seeds": list(plan.seeds),
        "baseline": plan.baseline,
        "rows": {label: list(run_ids) for label, run_ids in plan.rows.items()},
        "results_before": plan.results_before,
    }
    path = results / STUDY_FILE
    if known := check_study_plan(results, plan):
        return known
    draft = path.with_name(f".{STUDY_FILE}.{secrets.token_hex(4)}.draft")
    try:
        write_atomically(draft, json.dumps(tree, indent=2) + "\n")
        os.link(draft, path)  # fails where another runner was faster, and never shows half a file
    except FileExistsError:
        return check_study_plan(results, plan) or plan
    except OSError as error:
        raise access_error(path, error) from error
    finally:
        draft.unlink(missing_ok=True)
    return plan
