"""The version of a source file: a hash over what it does, not over its comments or layout."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def source_hash(file: Path, mixer: str | None = None) -> str:
    """12 hex digits over what a file of Python does; comments, docstrings, layout do not count.

    Args:
        file: The file.
        mixer: A token mixer; where the file registers it, what only others need does not count.

    Raises:
        OSError: It cannot be read.
        SyntaxError: It is not Python.
        ValueError: It is not UTF-8, or has a null byte.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if mixer is not None:
        tree.body = _needed(tree.body, mixer)
    return tree_hash(tree)


def tree_hash(tree: ast.Module) -> str:
    """The hash of a syntax tree; docstrings do not count."""
    return hashlib.sha256("\n".join(_words(tree)).encode()).hexdigest()[:12]


# What can read a module's names without spelling them.
UNSPELLED = {"eval", "exec", "globals", "locals", "vars", "getattr", "sys", "import_module"}


def _needed(body: list[ast.stmt], mixer: str) -> list[ast.stmt]:
    """The statements of a module that a mixer needs; all, where that cannot be read off them."""
    body = [part for statement in body for part in _apart(statement)]
    used = [_used(statement) for statement in body]
    start = {number for number, each in enumerate(body) if mixer in _registers(each)}
    if not start or any(names & UNSPELLED for names in used):
        return body
    made = [_makes(statement) for statement in body]
    kept = start | {number for number, names in enumerate(made) if names is None}
    while True:
        wanted = set().union(*(used[number] for number in kept))
        more = {number for number, names in enumerate(made) if names and names & wanted} - kept
        if not more:
            return [body[number] for number in sorted(kept)]
        kept |= more


def _apart(statement: ast.stmt) -> list[ast.stmt]:
    """An import of several names as one import each."""
    if isinstance(statement, ast.Import):
        return [ast.Import([name]) for name in statement.names]
    if isinstance(statement, ast.ImportFrom):
        module, level = statement.module, statement.level
        return [ast.ImportFrom(module, [name], level) for name in statement.names]
    return [statement]


def _registers(statement: ast.stmt) -> set[str]:
    """The token mixers that a statement at the top of a module registers by their names."""
    calls: list[ast.expr] = []
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
        calls = statement.decorator_list
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        calls = [statement.value.func]
    found = set()
    for call in calls:
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("register_mixer"):
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            found |= {str(each.value) for each in given if isinstance(each, ast.Constant)}
    return found


def _makes(statement: ast.stmt) -> set[str] | None:
    """The names that a statement makes and does nothing else; None where it may do more."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        names = {(item.asname or item.name).split(".")[0] for item in statement.names}
        return None if "*" in names else names
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
        others = len(statement.decorator_list) - len(_registers(statement))
        return None if others else {statement.name}
    if isinstance(statement, ast.Expr) and _registers(statement):
        return set()
    if isinstance(statement, ast.Assign):
        plain = all(isinstance(target, ast.Name) for target in statement.targets)
        calls = any(isinstance(node, ast.Call) for node in ast.walk(statement))
        if plain and not calls:
            return {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return None


def _used(statement: ast.stmt) -> set[str]:
    """The names that a statement spells, as such, after a dot or as a text of their own."""
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(node.value.split(".")) if re.fullmatch(r"[\w.]+", node.value) else set()
    return found


def _words(node: Any) -> Iterator[str]:
    """A syntax tree in words that do not depend on the version of Python, docstrings left out."""
    if isinstance(node, list):
        for item in node:
            yield from _words(item)
    elif isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if name == "body" and _documented(node):
                value = value[1:]
            if value not in (None, []):
                yield name
                yield from _words(value)
        yield "end"
    else:
        yield repr(node)


def _documented(node: ast.AST) -> bool:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None
