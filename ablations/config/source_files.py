"""The source files of a module, those beside it that it imports, and a version of their code."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from ablations.config.source_hash import source_hash

PREFIX = "ast:"  # prefix of versions that ignore comments; older records have none
OURS = ("poolformer", "ablations")  # versioned by `training.code_hash`
IMPORTERS = ("import_module", "__import__")  # functions of importlib and of Python
Stamps = dict[Path, tuple[int, int]]  # file -> (modification time, size)


def is_module_name(name: object) -> bool:
    """Whether this is the name of a module, such as ``package.mixer``."""
    if not isinstance(name, str) or name.endswith(".py"):
        return False
    return all(part.isidentifier() for part in name.split("."))


def _top(module: str) -> str:
    return module.partition(".")[0]


def version(files: Iterable[Path], mixer: str | None = None) -> str:
    """The version of the code of files, or of the part of it that a token mixer needs."""
    text = "\n".join(_digest(file, mixer, *stamp) for file, stamp in stamps(files).items())
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:12]


def raw_version(file: Path) -> str:
    """The version in older records: a hash over the bytes of one file."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def stamps(files: Iterable[Path]) -> Stamps:
    """The modification times and sizes of files."""
    found: Stamps = {}
    for file in files:
        try:
            stat = file.stat()
            found[file] = stat.st_mtime_ns, stat.st_size
        except OSError:
            found[file] = 0, 0  # gone since
    return found


@functools.lru_cache(maxsize=1000)
def _digest(file: Path, mixer: str | None, *stamp: int) -> str:  # noqa: ARG001 - see stamps
    try:
        return source_hash(file, mixer)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return raw_version(file)


def imported_files(module: str, file: Path) -> list[Path]:
    """The file of a module, and all files beside it that it imports, directly or not.

    For an installed module, only files of its own package count.
    """
    up = module.count(".") + (file.name == "__init__.py")
    if up >= len(file.parents):
        return [file]
    root = file.parents[up]
    installed = not {"site-packages", "dist-packages"}.isdisjoint(root.parts)
    found, rest = {file}, [(module, file)]
    while rest:
        for name in _imports(*rest.pop()):
            if _top(name) in OURS or (installed and _top(name) != _top(module)):
                continue
            base = root.joinpath(*name.split("."))
            for path in (base.with_suffix(".py"), base / "__init__.py"):
                if path not in found and path.is_file():
                    found.add(path)
                    rest.append((name, path))
    return sorted(found)


def _imports(module: str, file: Path) -> set[str]:
    """The modules that a file imports, by name."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()
    found: set[str] = set()
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            found |= {".".join(filter(None, [base, item.name])) for item in node.names} | {base}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(IMPORTERS):
            given = [each.value for each in node.args[:1] if isinstance(each, ast.Constant)]
            found |= {name for name in given if isinstance(name, str) and is_module_name(name)}
    return found - {""}
