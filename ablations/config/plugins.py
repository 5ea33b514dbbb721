"""Plugins: modules of the user that register token mixers.

Only plugins that the user's command or sweep names are imported, never those that only a record
names.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.machinery
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

from ablations.config import data_sources
from ablations.config.source_hash import source_hash as source_version
from ablations.errors import ConfigError

PREFIX = "ast:"  # prefix of versions that ignore comments; older records have none
OURS = ("poolformer", "ablations")  # versioned by `training.code_hash`
IMPORTERS = ("import_module", "__import__")  # functions of importlib and of Python
Stamps = dict[Path, tuple[int, int]]  # file -> (modification time, size)
_loaded: dict[str, tuple[Stamps, str]] = {}  # plugin -> its files and version at import


def load_plugins(names: Sequence[str]) -> None:
    """Import plugins by name, from the working directory or the environment.

    A plugin whose code has changed since its import is imported again.

    Raises:
        ConfigError: A module does not exist, fails to import, registers no mixer, or registers an
            existing name.
    """
    here = str(Path.cwd())
    for name in names:
        if not _is_module_name(name):
            raise ConfigError(
                f"plugin {name!r} is not a module name such as my_mixer or package.mixer"
            )
        if name in sys.modules and not _edited(name):
            _check_registered(name)
            continue
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, here)
        try:
            # Python does not notice a file that was edited within a second.
            importlib.invalidate_caches()
            importlib.import_module(name)
        except ConfigError as error:
            raise ConfigError(f"plugin {name}: {error}") from error
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            missing = isinstance(error, ModuleNotFoundError)
            kind = "" if missing else f"{type(error).__name__}: "
            problem = f" does not import: {kind}{' '.join(str(error).split()) or 'no message'}"
            if isinstance(error, ModuleNotFoundError) and error.name == name:
                problem = f": no such module in {here} or the environment"
            raise ConfigError(f"plugin {name}{problem}") from error
        finally:
            sys.path.remove(here)
            sys.dont_write_bytecode = writes
        _check_registered(name)
        if file := _file(sys.modules[name]):
            files = _sources(name, file)
            _loaded[name] = _stamps(files), _version(files)
    # A plugin may import files beside it later; installed modules take precedence.
    if names and here not in sys.path:
        sys.path.append(here)


def _is_module_name(name: object) -> bool:
    if not isinstance(name, str) or name.endswith(".py"):
        return False
    return all(part.isidentifier() for part in name.split("."))


def _edited(name: str) -> bool:
    """Whether a plugin's code has changed since its import. If so, remove it from sys.modules."""
    known = _loaded.get(name)
    file = _file(sys.modules[name])
    if known is None or file is None or not file.is_file():
        return False
    if known[0] == _stamps(known[0]):
        return False
    files = _sources(name, file)
    if _version(files) == known[1]:
        _loaded[name] = _stamps(files), known[1]
        return False
    for other, module in list(sys.modules.items()):
        if _file(module) in known[0] or _file(module) in files:
            del sys.modules[other]
    return True


def _check_registered(name: str) -> None:
    """Raise ConfigError if a module or package has registered no mixer."""
    homes = set(data_sources.REGISTERED_BY.values())
    if registry := sys.modules.get("poolformer.mixers"):
        homes |= {home for mixer in registry.REGISTERED_BY for home in _modules(registry, mixer)}
    if not any(home == name or home.startswith(f"{name}.") for home in homes):
        raise ConfigError(
            f"plugin {name} registers no token mixer (poolformer.register_mixer) and no data set "
            "(ablations.data.register_arrays)"
        )


def _modules(registry: Any, mixer: str) -> list[str]:
    """The modules that define and register a plugin's mixer."""
    if mixer not in registry.MIXERS:
        return []
    names = {getattr(registry.MIXERS[mixer], "__module__", ""), registry.REGISTERED_BY.get(mixer)}
    return [name for name in names if name and _top(name) not in sys.stdlib_module_names]


def _top(module: str) -> str:
    return module.partition(".")[0]


def mixer_versions(mixers: Iterable[str]) -> dict[str, str]:
    """Mixer -> the version of its code. Mixers of this package and of notebooks have none.

    A version covers the files that define and register the mixer, and the files beside them that
    these import. It ignores comments, docstrings, formatting and code of other mixers.
    """
    return {
        name: _version(_all_files(homes), name) for name, homes in _mixer_modules(mixers).items()
    }


def changed_mixers(before: Mapping[str, str], mixers: Iterable[str]) -> str | None:
    """A message about mixers whose code has changed since a run; None if there are none.

    Args:
        before: Their ``mixer_versions`` when the run was trained.
        mixers: The token mixers of its model.
    """
    changes = []
    for name, homes in _mixer_modules(mixers).items():
        files, then = _all_files(homes), before.get(name, "unknown")
        whole = _version(files), *(_raw_version(file) for _, file in homes)
        if then in (now := _version(files, name), *whole):
            continue
        old = not then.startswith((PREFIX, "unknown"))
        older = ", whose comments count in this old record" if old else ""
        changes.append(f"{name!r} ({then} then{older}, {now} now)")
    return f"the code of its token mixer {', '.join(changes)} has changed" if changes else None


def changed_mixers_on_disk(names: object, before: Mapping[str, str]) -> str | None:
    """As `changed_mixers`, but reads the plugins' files without importing them.

    Args:
        names: The plugins that a record names.
        before: The versions of its mixers.

    Returns:
        A message, or None if nothing has changed or the plugins are not on this machine.
    """
    known: set[str] = set()
    for name in names if isinstance(names, (list, tuple)) else ():
        for module, file in _find_modules(name) if _is_module_name(name) else ():
            files = _sources(module, file)
            known |= {_version(files, mixer) for mixer in (None, *before)} | {_raw_version(file)}
    stale = [repr(name) for name, then in before.items() if known and then not in known]
    return f"the code of its token mixer {', '.join(stale)} has changed" if stale else None


def _mixer_modules(mixers: Iterable[str]) -> dict[str, list[tuple[str, Path]]]:
    """Plugins' mixers -> the modules that define and register them, with their files."""
    registry: Any = sys.modules.get("poolformer.mixers")  # not imported: nothing is registered
    registered = registry.REGISTERED_BY if registry else ()
    found: dict[str, list[tuple[str, Path]]] = {}
    for mixer in [each for each in mixers if each in registered]:
        for name in _modules(registry, mixer):
            if file := _file(sys.modules.get(name)):
                found.setdefault(mixer, []).append((name, file))
    return found  # a mixer that a notebook defines has no file


def _all_files(homes: Iterable[tuple[str, Path]]) -> list[Path]:
    """The files of modules, and the files beside them that they import."""
    return sorted({file for home in homes for file in _sources(*home)})


def _file(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) and file.endswith(".py") else None


def _find_modules(name: str) -> Iterator[tuple[str, Path]]:
    """The modules of a plugin with their files, without importing it."""
    paths: Sequence[str] | None = [str(Path.cwd()), *sys.path]
    for part in accumulate(name.split("."), "{}.{}".format):
        spec = importlib.machinery.PathFinder.find_spec(part, paths)
        if spec is None:
            return
        paths = list(spec.submodule_search_locations or [])
    if spec and spec.origin and spec.origin.endswith(".py"):
        yield name, Path(spec.origin)
    for folder in paths or ():
        for file in sorted(Path(folder).rglob("*.py")):
            words = file.relative_to(folder).with_suffix("").parts
            yield ".".join([name, *(word for word in words if word != "__init__")]), file


def _version(files: Iterable[Path], mixer: str | None = None) -> str:
    text = "\n".join(_digest(file, mixer, *stamp) for file, stamp in _stamps(files).items())
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()[:12]


def _raw_version(file: Path) -> str:
    """The version in older records: a hash over the bytes of one file."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def _stamps(files: Iterable[Path]) -> Stamps:
    found: Stamps = {}
    for file in files:
        try:
            stat = file.stat()
            found[file] = stat.st_mtime_ns, stat.st_size
        except OSError:
            found[file] = 0, 0  # gone since
    return found


@functools.lru_cache(maxsize=1000)
def _digest(file: Path, mixer: str | None, *stamp: int) -> str:  # noqa: ARG001 - see _stamps
    try:
        return source_version(file, mixer)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return _raw_version(file)


def _sources(module: str, file: Path) -> list[Path]:
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
            found |= {name for name in given if isinstance(name, str) and _is_module_name(name)}
    return found - {""}
