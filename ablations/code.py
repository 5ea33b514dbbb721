"""The code that a run's numbers follow from, so that half a run is not continued by other code."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from poolformer.config import ConfigError

ROOT = Path(__file__).parents[1]
# What computes: the model, the pictures, the loss, the loop. Plugins have versions of their own.
FILES = [
    *(f"poolformer/{name}.py" for name in ("config", "layers", "mixers", "metaformer")),
    "ablations/data/*.py",
    "ablations/tasks/*.py",
    *(f"ablations/{name}.py" for name in ("seeding", "ranks", "fit")),
]


@functools.cache
def versions() -> dict[str, str]:
    """File -> 12 hex digits over what it does; comments and docstrings do not count."""
    paths = sorted(path for pattern in FILES for path in ROOT.glob(pattern))
    return {path.relative_to(ROOT).as_posix(): version(path) for path in paths}


def check_same(checkpoint: Path, before: Mapping[str, str]) -> None:
    """Raise ConfigError where a checkpoint was made by other code than is here.

    Args:
        checkpoint: Its file, for the message.
        before: ``versions`` when it was made.
    """
    if changed := differing(before):
        raise ConfigError(
            f"{checkpoint} was made by other code than this ({', '.join(changed)}): finish the run "
            "with that code, or remove the file to train the run anew"
        )


def differing(before: Mapping[str, str]) -> list[str]:
    """The files whose ``versions`` were others."""
    now = versions()
    names = now.keys() | before.keys()
    return sorted(name for name in names if now.get(name) != before.get(name))


def version(file: Path) -> str:
    """12 hex digits over what a file of Python does; comments, docstrings, layout do not count.

    Raises:
        OSError: It cannot be read.
        SyntaxError: It is not Python.
        ValueError: It is not UTF-8, or has a null byte.
    """
    return _digest(file.read_text(encoding="utf-8"))


def _digest(source: str) -> str:
    return hashlib.sha256("\n".join(_words(ast.parse(source))).encode()).hexdigest()[:12]


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
