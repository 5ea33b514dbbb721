"""Plugins: modules of the user that register token mixers.

Only plugins that the user's command or sweep names are imported, never those that only a record
names.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

from ablations.config import data_sources, source_files
from ablations.errors import ConfigError

# Plugin -> its files and version at import.
_loaded: dict[str, tuple[source_files.Stamps, str]] = {}


def load_plugins(names: Sequence[str]) -> None:
    """Import plugins by name, from the working directory or the environment.

    A plugin whose code has changed since its import is imported again.

    Raises:
        ConfigError: A module does not exist, fails to import, registers no mixer, or registers an
            existing name.
    """
    here = str(Path.cwd())
    for name in names:
        if not source_files.is_module_name(name):
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
            message = " ".join(str(error).split()) or "no message"
            if not isinstance(error, ModuleNotFoundError):
                message = f"{type(error).__name__}: {message}"
            elif error.name == name:
                raise ConfigError(
                    f"plugin {name}: no such module in {here} or the environment"
                ) from error
            raise ConfigError(f"plugin {name} does not import: {message}") from error
        finally:
            sys.path.remove(here)
            sys.dont_write_bytecode = writes
        _check_registered(name)
        if file := _file(sys.modules[name]):
            files = source_files.imported_files(name, file)
            _loaded[name] = source_files.stamps(files), source_files.version(files)
    # A plugin may import files beside it later; installed modules take precedence.
    if names and here not in sys.path:
        sys.path.append(here)


def _edited(name: str) -> bool:
    """Whether a plugin's code has changed since its import. If so, remove it from sys.modules."""
    known = _loaded.get(name)
    file = _file(sys.modules[name])
    if known is None or file is None or not file.is_file():
        return False
    if known[0] == source_files.stamps(known[0]):
        return False
    files = source_files.imported_files(name, file)
    if source_files.version(files) == known[1]:
        _loaded[name] = source_files.stamps(files), known[1]
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
    return [name for name in names if name and name.split(".")[0] not in sys.stdlib_module_names]


def mixer_versions(mixers: Iterable[str]) -> dict[str, str]:
    """Mixer -> the version of its code. Mixers of this package and of notebooks have none.

    A version covers the files that define and register the mixer, and the files beside them that
    these import. It ignores comments, docstrings, formatting and code of other mixers.
    """
    return {
        name: source_files.version(_all_files(homes), name)
        for name, homes in _mixer_modules(mixers).items()
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
        whole = source_files.version(files), *(source_files.raw_version(file) for _, file in homes)
        if then in (now := source_files.version(files, name), *whole):
            continue
        old = not then.startswith((source_files.PREFIX, "unknown"))
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
        for module, file in _find_modules(name) if source_files.is_module_name(name) else ():
            files = source_files.imported_files(module, file)
            known |= {source_files.version(files, mixer) for mixer in (None, *before)}
            known.add(source_files.raw_version(file))
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
    return sorted({file for home in homes for file in source_files.imported_files(*home)})


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
