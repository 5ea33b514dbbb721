"""The part of GraphQL that the client uses: parse a request, pick its fields from plain dicts.

A field's value is a scalar, a dict, a list of dicts, or a function of the field's arguments, whose
names it is given in Python's spelling.
"""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any, NamedTuple

Json = dict[str, Any]

# Comments, strings, spreads, numbers, names, punctuation; commas and blanks are ignored.
TOKEN = re.compile(
    r'#[^\n]*|"(?:\\.|[^"\\])*"|\.\.\.|-?\d+(?:\.\d+)?|[A-Za-z_]\w*|[!$()\[\]{}:=@|]'
)


class RefusedError(Exception):
    """An answer that is an error of GraphQL, with an HTTP status."""

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.status = status


class Field(NamedTuple):
    """``key: name(args) { inner }``; a string among ``inner`` is the name of a fragment."""

    key: str
    name: str
    args: Json
    inner: list[Field | str]


class Document:
    """One request; its variables are replaced while parsing.

    ``constants`` are the fields that are the same whatever they are asked of; those found nowhere
    are null and noted in ``unknown``.
    """

    def __init__(self, text: str, variables: Json, constants: Json) -> None:
        tokens: list[str] = TOKEN.findall(text)
        self.tokens = deque(token for token in tokens if not token.startswith("#"))
        self.variables, self.constants = dict(variables), constants
        self.fragments: dict[str, list[Field | str]] = {}
        self.selections: list[Field | str] = []
        self.name = self.kind = ""
        self.unknown: set[str] = set()
        while self.tokens:
            self.definition()

    def take(self, expected: str | None = None) -> str:
        """The next token."""
        token = self.tokens.popleft()
        assert expected in (None, token), f"expected {expected}, found {token}"
        return token

    def accept(self, token: str) -> bool:
        """Whether the next token is this one; then it is taken."""
        found = self.tokens[0] == token
        if found:
            self.tokens.popleft()
        return found

    def definition(self) -> None:
        """A query, a mutation or a fragment."""
        kind, name = self.take(), self.take()
        if kind == "fragment":
            self.take("on")
            self.take()
            self.fragments[name] = self.selection_set()
            return
        self.kind, self.name = kind, name
        if self.accept("("):
            self.defaults()
        self.selections = self.selection_set()

    def defaults(self) -> None:
        """The variables' declarations, of which only default values matter."""
        while not self.accept(")"):
            if self.take() == "$":
                name = self.take()
                while self.tokens[0] not in ("=", "$", ")"):
                    self.take()
                if self.accept("="):
                    self.variables.setdefault(name, self.value())

    def selection_set(self) -> list[Field | str]:
        """``{ key: name(args) { ... } ...fragment }``, without what directives leave out."""
        self.take("{")
        found: list[Field | str] = []
        while not self.accept("}"):
            if self.accept("..."):
                entry: Field | str = self.take()
                wanted = self.wanted()
            else:
                key = name = self.take()
                if self.accept(":"):
                    name = self.take()
                args = self.arguments()
                wanted = self.wanted()
                inner = self.selection_set() if self.tokens[0] == "{" else []
                entry = Field(key, name, args, inner)
            if wanted:
                found.append(entry)
        return found

    def arguments(self) -> Json:
        """``(name: value ...)``, or nothing."""
        return self.pairs(")") if self.accept("(") else {}

    def pairs(self, end: str) -> Json:
        """``name: value ...`` up to the token ``end``."""
        found = {}
        while not self.accept(end):
            name = self.take()
            self.take(":")
            found[name] = self.value()
        return found

    def wanted(self) -> bool:
        """Whether ``@include`` and ``@skip`` leave the field in."""
        wanted = True
        while self.accept("@"):
            directive, args = self.take(), self.arguments()
            wanted &= bool(args["if"]) is (directive == "include")
        return wanted

    def value(self) -> Any:
        """A literal, or what the variable holds."""
        token = self.take()
        if token == "$":
            return self.variables.get(self.take())
        if token == "{":
            return self.pairs("}")
        if token == "[":
            items = []
            while not self.accept("]"):
                items.append(self.value())
            return items
        if token in ("true", "false", "null") or token[0] in '-"0123456789':
            return json.loads(token)
        return token

    def answer(self, roots: Json) -> Json:
        """The data that is asked for."""
        return {"data": self.pick(roots, self.selections)}

    def pick(self, value: Any, selections: list[Field | str]) -> Any:
        """The selected fields of a dict, or of each dict of a list."""
        if value is None or not selections:
            return value
        if isinstance(value, list):
            return [self.pick(one, selections) for one in value]
        picked: Json = {}
        for one in selections:
            if isinstance(one, str):
                picked |= self.pick(value, self.fragments[one])
            else:
                picked[one.key] = self.pick(self.look_up(value, one), one.inner)
        return picked

    def look_up(self, value: Json, field: Field) -> Any:
        """One field of a dict."""
        if field.name not in value and field.name not in self.constants:
            self.unknown.add(f"{self.name}: {field.name}")
        found = value.get(field.name, self.constants.get(field.name))
        if not callable(found):
            return found
        return found(**{snake(name): given for name, given in field.args.items()})


def snake(name: str) -> str:
    """``entityName`` as ``entity_name``."""
    return re.sub("(?<=[a-z])[A-Z]", r"_\g<0>", name).lower()
