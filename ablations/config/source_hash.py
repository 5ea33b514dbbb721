"""A hash of a source file that ignores comments, docstrings and formatting."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def source_hash(file: Path, mixer: str | None = None) -> str:
    """12 hex digits of a hash over the code of a Python file, without comments and formatting.

    Args:
        file: The file.
        mixer: A token mixer. If the file registers it, code that only other mixers need is ignored.

    Raises:
        OSError: The file cannot be read.
        SyntaxError: The file is not Python.
        ValueError: The file is not UTF-8, or has a null byte.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if mixer is not None:
        tree.body = _needed_statements(tree.body, mixer)
    return tree_hash(tree)


def tree_hash(tree: ast.Module) -> str:
    """The hash of a syntax tree; docstrings do not count."""
    return hashlib.sha256("\n".join(_serialize(tree)).encode()).hexdigest()[:12]


# Names through which code can use others without spelling them.
DYNAMIC = {"eval", "exec", "globals", "locals", "vars", "getattr", "sys", "import_module"}


def _needed_statements(body: list[ast.stmt], mixer: str) -> list[ast.stmt]:
    """The statements of a module that a mixer needs; all of them if that cannot be determined."""
    body = [part for statement in body for part in _split_import(statement)]
    used = [_used_names(statement) for statement in body]
    start = {number for number, each in enumerate(body) if mixer in _registered_mixers(each)}
    if not start or any(names & DYNAMIC for names in used):
        return body
    made = [_defined_names(statement) for statement in body]
    kept = start | {number for number, names in enumerate(made) if names is None}
    while True:
        wanted = set().union(*(used[number] for number in kept))
        more = {number for number, names in enumerate(made) if names and names & wanted} - kept
        if not more:
            return [body[number] for number in sorted(kept)]
        kept |= more


def _split_import(statement: ast.stmt) -> list[ast.stmt]:
    """An import of several names as one import each."""
    if isinstance(statement, ast.Import):
        return [ast.Import([name]) for name in statement.names]
    if isinstance(statement, ast.ImportFrom):
        module, level = statement.module, statement.level
        return [ast.ImportFrom(module, [name], level) for name in statement.names]
    return [statement]


def _registered_mixers(statement: ast.stmt) -> set[str]:
    """The token mixers that a top-level statement registers by name."""
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


def _defined_names(statement: ast.stmt) -> set[str] | None:
    """The names that a statement defines, if it does nothing else; else None."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        names = {(item.asname or item.name).split(".")[0] for item in statement.names}
        return None if "*" in names else names
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
        others = len(statement.decorator_list) - len(_registered_mixers(statement))
        return None if others else {statement.name}
    if isinstance(statement, ast.Expr) and _registered_mixers(statement):
        return set()
    if isinstance(statement, ast.Assign):
        plain = all(isinstance(target, ast.Name) for target in statement.targets)
        calls = any(isinstance(node, ast.Call) for node in ast.walk(statement))
        if plain and not calls:
            return {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return None


def _used_names(statement: ast.stmt) -> set[str]:
    """The names in a statement: variables, attributes and strings."""
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(node.value.split(".")) if re.fullmatch(r"[\w.]+", node.value) else set()
    return found


def _serialize(node: Any) -> Iterator[str]:
    """A syntax tree as words that are the same in all versions of Python, without docstrings."""
    if isinstance(node, list):
        for item in node:
            yield from _serialize(item)
    elif isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if name == "body" and _has_docstring(node):
                value = value[1:]
            if value not in (None, []):
                yield name
                yield from _serialize(value)
        yield "end"
    else:
        yield repr(node)


def _has_docstring(node: ast.AST) -> bool:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None
