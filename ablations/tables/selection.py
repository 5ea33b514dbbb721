"""Which rows a table shows, in which order, and under which names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablations.analysis.rows import Row, match_rows, unknown_row_message
from ablations.analysis.study import Study
from ablations.config.yaml_file import load_yaml
from ablations.errors import ConfigError

LABELS_FILE = "labels.yaml"
SORTS = ["paper", "difference", "name"]


@dataclass(frozen=True)
class RowSelection:
    """The rows of a table.

    Args:
        rows: Words for the rows to show beside the baseline, as ``match_rows`` reads them; all rows
            if empty.
        names: Label of a row -> the name to show.
        sort: One of ``SORTS``: the order of the paper's table, by the difference from the baseline
            (the highest first, then rows without one), or by name. The baseline comes first.
    """

    rows: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    sort: str = SORTS[0]

    def choose(self, study: Study, rows: Sequence[Row]) -> list[Row]:
        """The rows to show, in their order.

        Args:
            study: The study.
            rows: Its rows in the order of the paper, with those that have no run.
        """
        if self.rows:
            wanted = [
                study.baseline,
                *(row for word in self.rows for row in match_rows(rows, word)),
            ]
            rows = [row for row in rows if row in wanted]
        if self.sort == "difference":
            return sorted(rows, key=lambda row: (row is not study.baseline, -_difference(row)))
        if self.sort == "name":
            return sorted(rows, key=lambda row: (row is not study.baseline, self.name(row.label)))
        return list(rows)

    def name(self, label: str) -> str:
        """The name to show for a row."""
        return self.names.get(label, label)

    def rename(self, note: str) -> str:
        """A footnote with the names to show."""
        for label in sorted(self.names, key=len, reverse=True):
            note = note.replace(label, self.names[label])
        return note

    def check(self, studies: Iterable[Study]) -> None:
        """Check that rows to show are there, and that no two rows of a table share a name.

        Raises:
            ConfigError: No study has such a row, or a name is used twice.
        """
        studies = list(studies)
        every = [row for study in studies for row in (*study.rows, *study.pending_rows)]
        for words in self.rows:
            if not words.strip() or not match_rows(every, words):
                raise ConfigError(f"--rows {words!r}: {unknown_row_message(every, words)}")
        for study in studies:
            names = Counter(self.name(row.label) for row in (*study.rows, *study.pending_rows))
            if twice := [name for name, count in names.items() if count > 1]:
                labels = [row.label for row in study.rows if self.name(row.label) == twice[0]]
                raise ConfigError(
                    f"two rows would be called {twice[0]!r} ({'; '.join(labels)}): give each a "
                    f"name of its own with --rename or in {LABELS_FILE}"
                )


ALL_ROWS = RowSelection()


def _difference(row: Row) -> float:
    return row.delta.mean if row.delta else -math.inf


def read_names(
    folders: Iterable[Path], renames: Iterable[str], studies: Iterable[Study]
) -> dict[str, str]:
    """The names to show, from the ``labels.yaml`` of results folders and from ``--rename``.

    Args:
        folders: Results folders; each may have a ``labels.yaml``: a mapping of labels to names.
        renames: ``old=new`` each; these win over the files.
        studies: The studies whose rows have the labels.

    Raises:
        ConfigError: A file is not such a mapping, a row is not there or named twice, or a
            ``--rename`` is not ``old=new``.
    """
    rows = [row for study in studies for row in (*study.rows, *study.pending_rows)]
    found: dict[str, str] = {}
    for path in (folder / LABELS_FILE for folder in folders):
        own = _read_file(path) if path.is_file() else {}
        for label, name in _names(rows, own.items(), str(path)).items():
            if found.setdefault(label, name) != name:
                raise ConfigError(f"{path}: {label!r} has another name in another results folder")
    pairs = []
    for text in renames:
        old, equals, new = text.rpartition("=") if text.count("=") > 1 else text.partition("=")
        if not (equals and old.strip() and new.strip()):
            raise ConfigError(f"--rename {text!r} must be OLD=NEW, such as 'GELU -> ReLU=ReLU'")
        pairs.append((old.strip(), new.strip()))
    return found | _names(rows, pairs, "--rename")


def _read_file(path: Path) -> dict[str, str]:
    tree = load_yaml(path)
    words = isinstance(tree, dict) and all(
        isinstance(text, str) and text.strip() for pair in tree.items() for text in pair
    )
    if not words:
        raise ConfigError(
            f"{path} must be a mapping of rows to names, such as 'GELU -> ReLU: ReLU', a line each"
        )
    return dict(tree)


def _names(rows: Sequence[Row], pairs: Iterable[tuple[str, str]], source: str) -> dict[str, str]:
    """Label -> name, where the row may be given by any words that only one label has."""
    found: dict[str, str] = {}
    for old, new in pairs:
        labels = list(dict.fromkeys(row.label for row in match_rows(rows, old)))
        if not labels:
            raise ConfigError(f"{source}: {unknown_row_message(rows, old)}")
        if len(labels) > 1:
            raise ConfigError(f"{source}: {old!r} fits several rows: {'; '.join(labels)}")
        if labels[0] in found:
            raise ConfigError(f"{source}: {labels[0]!r} has two names: leave one out")
        found[labels[0]] = new
    return found
