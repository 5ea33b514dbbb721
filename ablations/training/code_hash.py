"""The code that a run's numbers follow from, so that half a run is not continued by other code."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from ablations.config.source_hash import source_hash
from ablations.errors import ConfigError

ROOT = Path(__file__).parents[2]
# What computes: the model, the pictures, the loss, the loop. Plugins have versions of their own.
FILES = [
    *(f"poolformer/{name}.py" for name in ("config", "layers", "mixers", "metaformer")),
    "ablations/data/*.py",
    "ablations/training/tasks/*.py",
    *(f"ablations/{name}.py" for name in ("config/seeding", "training/ranks", "training/loop")),
]


@functools.cache
def current_hashes() -> dict[str, str]:
    """File -> 12 hex digits over what it does; comments and docstrings do not count."""
    paths = sorted(path for pattern in FILES for path in ROOT.glob(pattern))
    return {path.relative_to(ROOT).as_posix(): source_hash(path) for path in paths}


def check_unchanged(checkpoint: Path, before: Mapping[str, str]) -> None:
    """Raise ConfigError where a checkpoint was made by other code than is here.

    Args:
        checkpoint: Its file, for the message.
        before: ``versions`` when it was made.
    """
    if changed := changed_roles(before):
        raise ConfigError(
            f"{checkpoint} was made by other code than this ({', '.join(changed)}): finish the run "
            "with that code, or remove the file to train the run anew"
        )


def changed_roles(before: Mapping[str, str]) -> list[str]:
    """The files whose ``versions`` were others."""
    now = current_hashes()
    names = now.keys() | before.keys()
    return sorted(name for name in names if now.get(name) != before.get(name))
