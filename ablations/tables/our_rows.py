"""Rows of ours among published ones: which model a row is, how it was trained, where it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.config.diff import SHAPE_FIELDS, Changes
from ablations.config.resolve import size_name
from ablations.paper.published import SIZE_NAMES
from ablations.tables import csv_columns, provenance
from ablations.tables.table import Table
from ablations.text import phrases
from poolformer.config import SIZES

# Belong to a model's training, not to what it is.
TRAINED = {"model.drop_path", "model.layer_scale_init"}
# The paper's name of a token mixer among the sections of its Table 2.
SECTIONS = {"pool": "Pooling", "attention": "Attention", "spatial_fc": "Spatial MLP"}
OURS = (
    "Ours: the last epoch's outcome, mean ± standard deviation over n seeds; params and MACs are "
    "counted on our models."
)


@dataclass(frozen=True)
class OurRow:
    """A row of ours.

    Args:
        study: Where it is from.
        row: Its runs.
        model: The published name of the model, or that and what the row changes in it.
        section: Its token mixer as the paper's Table 2 calls it.
        also: What else it changes, in the model or against its recipe's training.
        told: What of the study tells it from other studies of the table.
    """

    study: Study
    row: Row
    model: str
    section: str
    also: list[str]
    told: str

    def label(self, table: Table, n: int) -> str:
        """Its name in a table, with the mark of a footnote on what else it changes."""
        mark = ""
        if self.also:
            others = ", ".join(self.also)
            mark = " " + table.note(f"{self.model} ({self.told}) also changes {others}.")
        return f"{self.model} (ours: {self.told}, n = {n}){mark}"

    @property
    def facts(self) -> csv_columns.Columns:
        """What tidy numbers say of any row of ours."""
        return {
            **csv_columns.of_study(self.study),
            "also_changes": "; ".join(self.also),
            **csv_columns.of_ends(self.row),
            **csv_columns.of_records(self.row),
        }


FACTS = ["recipe", "data", "fingerprint", "epochs", "precision", "also_changes", "diverged"]
FACTS += ["failed", "commits", "run_ids"]


def find_our_rows(studies: Sequence[Study]) -> list[OurRow]:
    """The rows of studies, in their order, each of them in what it differs from published ones."""
    alike = Counter((study.recipe, study.training_length) for study in studies)
    found = []
    for study in studies:
        told = f"{study.recipe}, {study.training_length}"
        if alike[study.recipe, study.training_length] > 1:
            told += f", {study.precision}, images {study.fingerprint[:8]}"
        for row in study.rows:
            config = row.records[0].config
            model, changed = name_model(config)
            also = naming.other_changes(changed) + naming.format_transitions(
                training_changes(config)
            )
            mixer = config["model"]["token_mixers"]
            section = "Hybrid"
            if isinstance(mixer, str):
                section = SECTIONS.get(mixer, naming.MIXER_LABELS.get(mixer, mixer))
            found.append(OurRow(study, row, model, section, also, told))
    return found


def name_model(config: Mapping[str, Any]) -> tuple[str, Changes]:
    """The name of a run's model, and what it changes in the published model of that size."""
    shape = (tuple(config["model"]["depths"]), tuple(config["model"]["dims"]))
    known = {(tuple(size.depths), tuple(size.dims)): name for name, size in SIZES.items()}
    size = known.get(shape)
    plain = diff.flat_recipe("imagenet", size)
    changed = {
        name: change
        for name, change in diff.changed_fields(plain, diff.flat_config(config)).items()
        if name.startswith("model.") and name not in TRAINED
    }
    if size is None:
        name = f"MetaFormer of {naming.size_label(changed)}"
        changed = {name: change for name, change in changed.items() if name not in SHAPE_FIELDS}
    else:
        name = SIZE_NAMES[size]
    return (f"{name} with {naming.change_label(changed)}" if changed else name), changed


def training_changes(config: Mapping[str, Any]) -> Changes:
    """What a run changes in how its recipe trains a model of its size; the epochs left out."""
    size = size_name(config["recipe"], config["model"]["depths"], config["model"]["dims"])
    plain = diff.flat_recipe(config["recipe"], size)
    return {
        name: change
        for name, change in diff.changed_fields(plain, diff.flat_config(config)).items()
        if name != "optim.epochs" and (name in TRAINED or not name.startswith("model."))
    }


Published = TypeVar("Published")


def merge_rows(
    published: Sequence[tuple[str, str, Published]], found: Sequence[OurRow]
) -> list[Published | OurRow]:
    """Ours after the published row of the same model; other models at the end of their section.

    Args:
        published: Section, model and row, in the paper's order.
        found: Rows of ours.
    """
    names = {model for _, model, _ in published}
    last = {section: number for number, (section, _, _) in enumerate(published)}
    rest = sorted(
        (each for each in found if each.model not in names and each.section not in last),
        key=lambda each: each.section,
    )
    rows: list[Published | OurRow] = []
    seen = set()
    for number, (section, model, row) in enumerate(published):
        rows.append(row)
        if model not in seen:
            rows += [each for each in found if each.model == model]
        seen.add(model)
        if last[section] == number:
            rows += [e for e in found if e.section == section and e.model not in names]
    return rows + rest


def cost_in(cost: Mapping[str, Any], name: str, unit: float) -> float | None:
    """A count of a model's cost in a unit; None where the record has no such number."""
    value = cost.get(name)
    return value / unit if isinstance(value, (int, float)) else None


# What the notes of the published tables call their sources: ablations/paper/SOURCES.md.
CODES = {
    "V3": "the paper's third version",
    "REPO": "the authors' repository",
    "ARTICLE": "a summary of the paper",
    "AWES": "a third party's transcription",
    "README": "the repository's README",
    "TIMM": "timm's results",
    "MMSEG": "mmsegmentation's results",
    "CALC": "our own count",
}


def note_sentence(note: str) -> str:
    """A published row's note as a sentence, its sources in words."""
    told = re.sub(r"\bISSUE#(\d+)", r"issue \1 of the authors' repository", note)
    told = re.sub(rf"\b(?:the )?({'|'.join(CODES)})\b", lambda found: CODES[found[1]], told)
    return f"{told[:1].upper()}{told[1:]}."


def sources_note(file: str) -> str:
    """Where a reader finds what a published table's numbers rest on."""
    return f"Sources of each row: ablations/paper/{file} and SOURCES.md beside it."


def left_out_note(kinds: Sequence[str], why: str) -> str:
    """A line on records that belong to another table, by their kind."""
    told = ", ".join(f"{count} of {kind}" for kind, count in sorted(Counter(kinds).items()))
    return f"{phrases.pluralize(len(kinds), 'record')} left out, {why}: {told}."


def our_provenance(found: Sequence[OurRow]) -> list[str]:
    """Where rows of ours are from, study by study."""
    studies = {id(each.study): (each.study, each.told) for each in found}
    lines = []
    for study, told in studies.values():
        rows = [each.row for each in found if each.study is study]
        which = f"Ours, {told}: " if len(studies) > 1 else ""
        lines += [which + line for line in provenance.provenance_notes(replace(study, rows=rows))]
    return lines
