"""Our rows in the paper's other tables: the published model of each, and what it changes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from ablations.analysis.rows import Row
from ablations.analysis.study import Study
from ablations.config import diff, naming
from ablations.config.diff import SHAPE_FIELDS, Changes
from ablations.config.resolve import size_name
from ablations.paper.published import SIZE_NAMES
from ablations.tables import csv_values, provenance
from ablations.tables.table import RowNotes, Values
from ablations.text import phrases

# Fields of ``model`` that belong to how a model is trained, not to what it is.
TRAINING_FIELDS = {"model.drop_path", "model.layer_scale_init"}
# The paper's name of a token mixer among the sections of its Table 2.
SECTIONS = {"pool": "Pooling", "attention": "Attention", "spatial_fc": "Spatial MLP"}
OUR_ROWS_NOTE = (
    "Ours: the last epoch's outcome, mean ± standard deviation over n seeds; params and MACs are "
    "counted on our models."
)


@dataclass(frozen=True)
class OurRow:
    """A row of ours among published ones.

    Args:
        study: Its study.
        row: Its runs.
        model: The name of the published model, and what the row changes in it.
        section: Its token mixer as the paper's Table 2 calls it.
        also_changes: What else it changes, in the model or against its recipe's training.
        source: What distinguishes its study from others in the table.
    """

    study: Study
    row: Row
    model: str
    section: str
    also_changes: list[str]
    source: str

    def label(self, notes: RowNotes, n: int) -> str:
        """Its name in a table, with the mark of a footnote on what else it changes."""
        note = ""
        if self.also_changes:
            others = ", ".join(self.also_changes)
            note = f"{self.model} ({self.source}) also changes {others}."
        return f"{self.model} (ours: {self.source}, n = {n}){notes.mark(note)}"

    @property
    def values(self) -> Values:
        """The raw values that all tables with rows of ours have."""
        return {
            **csv_values.study_values(self.study),
            "also_changes": "; ".join(self.also_changes),
            **csv_values.status_counts(self.row),
            **csv_values.record_values(self.row),
        }


OUR_VALUES = ["recipe", "data", "fingerprint", "epochs", "precision", "also_changes", "diverged"]
OUR_VALUES += ["failed", "commits", "run_ids"]


def find_our_rows(studies: Sequence[Study]) -> list[OurRow]:
    """The rows of studies, in their order, each named after the published model it resembles."""
    sources = [f"{study.recipe}, {study.training_length}" for study in studies]
    found = []
    for study, source in zip(studies, sources, strict=True):
        if sources.count(source) > 1:
            source += f", {study.precision}, images {study.fingerprint[:8]}"
        for row in study.rows:
            config = row.records[0].config
            model, changed = name_model(config)
            training = {
                name: change
                for name, change in _changes(config, study.recipe)[1].items()
                if name != "optim.epochs" and not _is_of_model(name)
            }
            also = naming.other_changes(changed) + naming.format_transitions(training)
            mixer = config["model"]["token_mixers"]
            section = "Hybrid"
            if isinstance(mixer, str):
                section = SECTIONS.get(mixer, naming.MIXER_LABELS.get(mixer, mixer))
            found.append(OurRow(study, row, model, section, also, source))
    return found


def name_model(config: Mapping[str, Any]) -> tuple[str, Changes]:
    """The name of a run's model, and what it changes in the published model of that size."""
    size, changes = _changes(config, "imagenet")
    changed = {name: change for name, change in changes.items() if _is_of_model(name)}
    if size is None:
        name = f"MetaFormer of {naming.size_label(changed)}"
        changed = {name: change for name, change in changed.items() if name not in SHAPE_FIELDS}
    else:
        name = SIZE_NAMES[size]
    return (f"{name} with {naming.change_label(changed)}" if changed else name), changed


def _changes(config: Mapping[str, Any], recipe: str) -> tuple[str | None, Changes]:
    """The size of a run's model in a recipe, and what the run changes against that size."""
    size = size_name(recipe, config["model"]["depths"], config["model"]["dims"])
    return size, diff.changed_fields(diff.flat_recipe(recipe, size), diff.flat_config(config))


def _is_of_model(name: str) -> bool:
    """Whether a field belongs to what a model is, not to how it is trained."""
    return name.startswith("model.") and name not in TRAINING_FIELDS


def merged_lines(
    published: Sequence[tuple[str, Values]],
    our_rows: Sequence[tuple[OurRow, Values]],
    notes: RowNotes,
) -> list[Values]:
    """Our lines after the published one of the same model; other models end their section.

    Args:
        published: Section and values, in the paper's order; ``_label`` is the model.
        our_rows: Rows of ours with their values.
        notes: Gets the notes on rows.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    placed: list[tuple[tuple[int, int, str], OurRow | None, Values]] = []
    for number, (section, values) in enumerate(published):
        first.setdefault(values["_label"], number)
        last[section] = number
        placed.append(((number, 0, ""), None, values))
    for row, values in our_rows:
        if row.model in first:
            place = (first[row.model], 1, "")
        else:
            place = (last.get(row.section, len(published)), 2, row.section)
        placed.append((place, row, values))
    lines = []
    for _, ours, values in sorted(placed, key=itemgetter(0)):
        if ours:
            label = ours.label(notes, values["n"])
            lines.append({"source": "ours", **ours.values, **values, "_label": label})
        else:
            label = values["_label"] + notes.mark(note_sentence(values["note"]))
            lines.append({"source": "published", **values, "_label": label})
    return lines


def cost_in(cost: Mapping[str, Any], name: str, unit: float) -> float | None:
    """A count of a model's cost in a unit; None if the record has no such number."""
    value = cost.get(name)
    return value / unit if isinstance(value, (int, float)) else None


# The sources that the notes of the published tables abbreviate: ablations/paper/SOURCES.md.
SOURCE_NAMES = {
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
    """A published row's note as a sentence, its sources in words; empty for no note."""
    if not note:
        return ""
    text = re.sub(r"\bISSUE#(\d+)", r"issue \1 of the authors' repository", note)
    codes = "|".join(SOURCE_NAMES)
    text = re.sub(rf"\b(?:the )?({codes})\b", lambda found: SOURCE_NAMES[found[1]], text)
    return f"{text[:1].upper()}{text[1:]}."


def sources_note(file: str) -> str:
    """Where a reader finds the sources of a published table."""
    return f"Sources of each row: ablations/paper/{file} and SOURCES.md beside it."


def left_out_note(kinds: Sequence[str], reason: str) -> str:
    """A footnote on records that belong to another table, by their kind."""
    counts = ", ".join(f"{count} of {kind}" for kind, count in sorted(Counter(kinds).items()))
    return f"{phrases.pluralize(len(kinds), 'record')} left out, {reason}: {counts}."


def our_provenance(our_rows: Sequence[OurRow]) -> list[str]:
    """What our rows were made from, study by study."""
    studies = {id(ours.study): (ours.study, ours.source) for ours in our_rows}
    notes = []
    for study, source in studies.values():
        rows = [ours.row for ours in our_rows if ours.study is study]
        which = f"Ours, {source}: " if len(studies) > 1 else ""
        own = provenance.provenance_notes(replace(study, rows=rows))
        notes += [type(note)(which + note) for note in own]
    return notes
