"""Hashes of the code that a run's numbers follow from, so that other code does not continue it.

A hash belongs to the role of a file, not to its path: moving a file does not change it, nor do
comments, docstrings, or imports from our own packages.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Mapping
from pathlib import Path

from ablations.config.source_hash import tree_hash
from ablations.errors import ConfigError

_ROOT = Path(__file__).parents[2]
# Role -> what computes: the model, the images, the loss, the loop. Each file of a pattern has the
# role with its name in place of the star. Plugins have versions of their own.
ROLES = {
    "config": "poolformer/config.py",
    "layers": "poolformer/layers.py",
    "mixers": "poolformer/mixers.py",
    "model": "poolformer/metaformer.py",
    "data.*": "ablations/data/*.py",
    "task.*": "ablations/training/tasks/*.py",
    "seeding": "ablations/config/seeding.py",
    "distributed": "ablations/training/distributed/strategy.py",
    "loop": "ablations/training/loop.py",
}


@functools.cache
def current_hashes() -> dict[str, str]:
    """Role -> 12 hex digits over what the code does."""
    return {
        role.replace("*", path.stem).removesuffix(".__init__"): _file_hash(path)
        for role, pattern in ROLES.items()
        for path in sorted(_ROOT.glob(pattern))
    }


def _file_hash(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # What an import of ours computes has a role itself; its path changes when a file moves.
    own = re.compile(r"(ablations|poolformer)\b")
    tree.body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.ImportFrom) and own.match(node.module or ""))
    ]
    return tree_hash(tree)


def check_unchanged(checkpoint: Path, before: Mapping[str, str]) -> None:
    """Raise ConfigError if a checkpoint was made by other code.

    Args:
        checkpoint: The file, for the message.
        before: The hashes when it was written.
    """
    if changed := changed_roles(before):
        raise ConfigError(
            f"{checkpoint} was made by other code than this ({', '.join(changed)}): finish the run "
            "with that code, or remove the file to train the run anew"
        )


def changed_roles(before: Mapping[str, str]) -> list[str]:
    """The roles whose hashes differ from the current ones."""
    now = current_hashes()
    return sorted(role for role in now.keys() | before.keys() if now.get(role) != before.get(role))


def is_outdated(before: Mapping[str, str]) -> bool:
    """Whether hashes name roles that this version does not have, such as paths of files."""
    return not before.keys() <= current_hashes().keys()
