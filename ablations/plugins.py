"""Modules of the user's own, imported by name: a token mixer from outside the package."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poolformer.config import ConfigError


def load(names: Sequence[str]) -> None:
    """Import modules by name, from this folder or the environment; what they register can be used.

    Raises:
        ConfigError: A module that does not exist or import, or that registers an existing name.
    """
    here = str(Path.cwd())
    for name in names:
        if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(
                f"plugin {name!r} is no name of a module: give one such as my_mixer, with dots for "
                "folders and no .py"
            )
        if name in sys.modules:
            _check_registered(name)
            continue
        sys.path.insert(0, here)
        try:
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
        _check_registered(name)
    # A plugin may import its neighbours later; whatever is installed comes before them.
    if names and here not in sys.path:
        sys.path.append(here)


def _check_registered(name: str) -> None:
    """Raise ConfigError where a module, or the package of that name, has registered nothing."""
    registry: Any = sys.modules.get("poolformer.mixers")
    homes = {build.__module__ for build in registry.MIXERS.values()} if registry else set()
    if not any(home == name or home.startswith(f"{name}.") for home in homes):
        raise ConfigError(f"plugin {name} registers no token mixer (poolformer.register_mixer)")


def versions(mixers: Iterable[str]) -> dict[str, str]:
    """Those of the mixers that a plugin gave -> 12 hex digits over the plugin's file.

    A run's id does not cover the code of a plugin; this tells two versions of it apart.
    """
    registry: Any = sys.modules.get("poolformer.mixers")  # not loaded: nothing is registered
    found = {}
    for name in mixers if registry else ():
        module = sys.modules[registry.MIXERS[name].__module__]
        file = getattr(module, "__file__", None)  # none where a notebook defined it
        if file and module is not registry:
            found[name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]
    return found


def check_same(run_id: str, before: Mapping[str, str], mixers: Iterable[str]) -> None:
    """Raise ConfigError where a run was begun or done with other code of a mixer than is here."""
    for name, now in versions(mixers).items():
        if before.get(name, now) != now:
            raise ConfigError(
                f"run {run_id} was trained with another version of the token mixer {name!r} "
                f"({before[name]}, now {now}): give the new one a name of its own, or use another "
                "results folder"
            )
