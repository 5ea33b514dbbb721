"""Modules of the user's own, imported by name: a token mixer from outside the package.

Only what the user's own command or sweep names is imported; what a record names never is.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.machinery
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ablations.config import data_sources
from ablations.config.source_hash import source_hash as source_version
from ablations.errors import ConfigError

PREFIX = "ast:"  # of versions that ignore comments; those of older records have none
OURS = ("poolformer", "ablations")  # have versions of their own: `training.code_hash`
IMPORTERS = ("import_module", "__import__")  # of importlib and of Python
Stamps = dict[Path, tuple[int, int]]  # file -> time of its last change, and size
_loaded: dict[str, tuple[Stamps, str]] = {}  # plugin -> its files and version when it was imported


def load_plugins(names: Sequence[str]) -> None:
    """Import modules by name, from this folder or the environment; what they register can be used.

    One whose code has changed since it was imported is imported anew.

    Raises:
        ConfigError: A module that does not exist or import, or that registers an existing name.
    """
    here = str(Path.cwd())
    for name in names:
        if not _is_module_name(name):
            raise ConfigError(
                f"plugin {name!r} is no name of a module: give one such as my_mixer, with dots for "
                "folders and no .py"
            )
        if name in sys.modules and not _edited(name):
            _check_registered(name)
            continue
        writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.path.insert(0, here)
        try:
            # Python takes a file that was edited within a second for the one it has compiled.
            importlib.invalidate_caches()
            importlib.import_module(name)
        except ConfigError as error:
            raise ConfigError(f"plugin {name}: {error}") from error
        except ModuleNotFoundError as error:
            if error.name != name:
                raise ConfigError(f"plugin {name} does not import: {error}") from error
            raise ConfigError(
                f"plugin {name}: no such module in {here} or the environment"
            ) from error
        except (Exception, SystemExit) as error:  # whatever its code raises
            told = " ".join(str(error).split()) or "no message"
            raise ConfigError(
                f"plugin {name} does not import: {type(error).__name__}: {told}"
            ) from error
        finally:
            sys.path.remove(here)
            sys.dont_write_bytecode = writes
        _check_registered(name)
        if file := _file(sys.modules[name]):
            files = _sources(name, file)
            _loaded[name] = _stamps(files), _version(files)
    # A plugin may import its neighbours later; whatever is installed comes before them.
    if names and here not in sys.path:
        sys.path.append(here)


def _is_module_name(name: object) -> bool:
    if not isinstance(name, str) or name.endswith(".py"):
        return False
    return all(part.isidentifier() for part in name.split("."))


def _edited(name: str) -> bool:
    """Whether a plugin's code has changed since it was imported; if so, Python forgets it."""
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
    """Raise ConfigError where a module, or the package of that name, has registered nothing."""
    homes = set(data_sources.REGISTERED_BY.values())
    if registry := sys.modules.get("poolformer.mixers"):
        homes |= {home for mixer in registry.REGISTERED_BY for home in _modules(registry, mixer)}
    if not any(home == name or home.startswith(f"{name}.") for home in homes):
        raise ConfigError(
            f"plugin {name} registers no token mixer (poolformer.register_mixer) and no data set "
            "(ablations.data.register_arrays)"
        )


def _modules(registry: Any, mixer: str) -> list[str]:
    """The modules that define and that register a mixer from outside."""
    build = registry.MIXERS.get(mixer)
    names = [getattr(build, "__module__", None), registry.REGISTERED_BY.get(mixer)]
    found = [name for name in names if name and build is not None]
    return [name for name in dict.fromkeys(found) if not _is_standard(name)]


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def mixer_versions(mixers: Iterable[str]) -> dict[str, str]:
    """Mixer -> what tells its code from another; those of this package and of notebooks have none.

    It covers the files that define and register a mixer and the files beside them that these
    import. Comments, docstrings and layout do not count, nor does what stands in such a file for
    other mixers alone.
    """
    return {name: _version(_every(homes), name) for name, homes in _homes(mixers).items()}


def changed_mixers(before: Mapping[str, str], mixers: Iterable[str]) -> str | None:
    """Which mixers have changed since a run, in words; None where all are the same.

    Args:
        before: The ``versions`` when it was trained.
        mixers: The token mixers of its model.
    """
    told = []
    for name, homes in _homes(mixers).items():
        files, then = _every(homes), before.get(name, "unknown")
        whole = _version(files), *(_raw_version(file) for _, file in homes)
        if then in (now := _version(files, name), *whole):
            continue
        older = (
            ""
            if then.startswith((PREFIX, "unknown"))
            else ", whose comments count in this old record"
        )
        told.append(f"{name!r} ({then} then{older}, {now} now)")
    return f"the code of its token mixer {', '.join(told)} has changed" if told else None


def changed_mixers_on_disk(names: object, before: Mapping[str, str]) -> str | None:
    """As ``changed``, of a record's plugins that are not imported: their files are only read.

    Args:
        names: The plugins that the record names.
        before: The versions of its mixers.

    Returns:
        None also where the plugins are not here.
    """
    known: set[str] = set()
    for name in names if isinstance(names, (list, tuple)) else ():
        for module, file in _found(name) if _is_module_name(name) else ():
            files = _sources(module, file)
            known |= {_version(files, mixer) for mixer in (None, *before)} | {_raw_version(file)}
    odd = [repr(name) for name, then in before.items() if known and then not in known]
    return f"the code of its token mixer {', '.join(odd)} has changed" if odd else None


def _homes(mixers: Iterable[str]) -> dict[str, list[tuple[str, Path]]]:
    """Mixer -> the modules that define and register it, with files, of those from outside."""
    registry: Any = sys.modules.get("poolformer.mixers")  # without it nobody has registered
    found: dict[str, list[tuple[str, Path]]] = {}
    for mixer in mixers if registry else ():
        for name in _modules(registry, mixer) if mixer in registry.REGISTERED_BY else ():
            if (module := sys.modules.get(name)) and (file := _file(module)):
                found.setdefault(mixer, []).append((name, file))
    return found  # a mixer that a notebook defines has no file


def _every(homes: Iterable[tuple[str, Path]]) -> list[Path]:
    """The files of modules and those beside them that they import."""
    return sorted({file for home in homes for file in _sources(*home)})


def _file(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) and file.endswith(".py") else None


def _found(name: str) -> Iterator[tuple[str, Path]]:
    """The modules of a plugin with their files, found without an import."""
    paths: Sequence[str] | None = [str(Path.cwd()), *sys.path]
    spec = None
    for depth in range(name.count(".") + 1):
        part = ".".join(name.split(".")[: depth + 1])
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
    """As records had it before comments were left out: over the bytes of one file."""
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
    """The file of a module, and those beside it that it imports, at any depth.

    Of an installed module only the files of its own package: what is beside it is others'.
    """
    up = module.count(".") + (file.name == "__init__.py")
    if up >= len(file.parents):
        return [file]
    root, top = file.parents[up], module.partition(".")[0]
    installed = not {"site-packages", "dist-packages"}.isdisjoint(root.parts)
    found, rest = {file}, [(module, file)]
    while rest:
        for name in _imports(*rest.pop()):
            own = name.partition(".")[0]
            if own in OURS or (installed and own != top):
                continue
            base = root.joinpath(*name.split("."))
            for path in (base.with_suffix(".py"), base / "__init__.py"):
                if path not in found and path.is_file():
                    found.add(path)
                    rest.append((name, path))
    return sorted(found)


def _imports(module: str, file: Path) -> set[str]:
    """The modules that a file imports, by name."""
    found: set[str] = set()
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return found
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
