"""Strict YAML: no duplicate keys, no numbers with surprising values, no huge expansions.

Valid files have the values that PyYAML, and so W&B's client, gives them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ablations.errors import ConfigError
from ablations.text.parsing import DECIMAL, LARGEST, WHOLE

BYTES, DEPTH, NODES = 2_000_000, 30, 200_000  # limits of a file; aliases are expanded
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """SafeLoader that checks each node, and the size of the document with its aliases expanded."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.level = 0
        self.sizes: dict[int, tuple[int, int]] = {}  # id of a node -> nodes in it, and their depth

    def compose_node(self, parent: Any, index: Any) -> Any:
        where = f"line {self.peek_event().start_mark.line + 1}"  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self.sizes:
                raise ConfigError(f"{where}: an anchor that contains itself")
            return node
        self.level += 1
        if self.level > DEPTH:  # below Python's recursion limit
            raise ConfigError(f"{where}: nested more than {DEPTH} deep")
        node = super().compose_node(parent, index)
        self.level -= 1
        self.sizes[id(node)] = self._size(node, where)
        return node

    def _size(self, node: Any, where: str) -> tuple[int, int]:
        inner = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.ScalarNode):
            _check_number(node, where)
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node)
            inner = [each for pair in node.value for each in pair]
        sizes = [self.sizes[id(each)] for each in inner]
        nodes = 1 + sum(each[0] for each in sizes)
        depth = 1 + max((each[1] for each in sizes), default=0)
        if nodes > NODES or depth > DEPTH:
            raise ConfigError(
                f"{where}: more than {NODES:,} values or nested more than {DEPTH} deep, aliases "
                "written out"
            )
        return nodes, depth


def load_yaml(path: Path) -> Any:
    """The document in a file; None if the file is empty.

    Raises:
        ConfigError: The file cannot be read, is not YAML, has a duplicate key or a number that
            YAML reads differently than it looks (``1_0``, ``010``, ``1:30``), or is too deep or
            too large.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > BYTES:
        raise ConfigError(f"{path} is larger than {BYTES / 1e6:g} MB")
    try:
        return _Loader(raw.decode("utf-8-sig")).get_single_data()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    # For some scalars PyYAML raises ValueError, IndexError or TypeError.
    except Exception as error:
        raise ConfigError(f"{path} is not YAML: {_line(error)}") from error


def _line(error: Exception) -> str:
    """PyYAML's message in one line, with the line and column."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        words = [error.context, error.problem]
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        return ", ".join(" ".join(word.split()) for word in words if word)[:300] + where
    return " ".join(str(error).split())[:300] or type(error).__name__


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise ConfigError for a duplicate key, or one that is not a string."""
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"line {line}: a list or mapping cannot be a key")
        if key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
            raise ConfigError(
                f"line {line}: the key {key.value!r} is read as {_kind(key)}, not as a name"
            )
        if key.value in seen:
            raise ConfigError(
                f"line {line}: {key.value!r} is given twice, first in line {seen[key.value]}: "
                "remove one of them"
            )
        seen[key.value] = line


def _check_number(node: yaml.ScalarNode, where: str) -> None:
    """Raise ConfigError for a number that YAML reads differently than it looks."""
    text = node.value
    if node.style is not None or not isinstance(text, str):
        return
    if node.tag == f"{_TAG}int":
        if not WHOLE.fullmatch(text):
            raise ConfigError(
                f"{where}: YAML reads {text[:40]!r} as another number: write it in plain decimal "
                "digits, or in quotes"
            )
        if len(text) > 20 or abs(int(text)) > LARGEST:
            raise ConfigError(f"{where}: {text[:40]} is beyond 64 bits")
    elif node.tag == f"{_TAG}float" and not DECIMAL.fullmatch(text):
        raise ConfigError(f"{where}: {text[:40]!r} is no plain number")
    elif node.tag == f"{_TAG}timestamp":
        raise ConfigError(f"{where}: YAML reads {text[:40]!r} as a date: write it in quotes")


def _kind(node: yaml.ScalarNode) -> str:
    words = {"int": "a number", "float": "a number", "bool": "true or false", "null": "null"}
    return words.get(re.sub(r".*:", "", node.tag), "something else")
