"""The rooms: who may import whom, and what the front doors hand out."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import poolformer

# CONTRIBUTING.md has the same map for readers.
ROOMS = re.findall(
    r"^ {2}([\w/]+)(?:\.py|/) ", Path("CONTRIBUTING.md").read_text(), flags=re.MULTILINE
)
FILES = sorted([*Path("poolformer").rglob("*.py"), *Path("ablations").rglob("*.py")])


def room(module: str) -> str:
    """``ablations.data.folder`` -> ``ablations/data``."""
    parts = module.split(".")
    return "/".join(parts[:2])


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{item.name}" for item in node.names)
        elif isinstance(node, ast.Import):
            found.update(item.name for item in node.names)
    return {name for name in found if name.split(".")[0] in ("poolformer", "ablations")}


def name_of(path: Path) -> str:
    return room(".".join(path.with_suffix("").parts))


def test_the_map_names_every_room():
    rooms = {name_of(path) for path in FILES if path.stem != "__init__" or len(path.parts) > 2}
    assert rooms == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_imports_only_from_rooms_above_it(path):
    own = name_of(path)
    if own not in ROOMS:  # a package's front door
        return
    for module in imports(path):
        other = room(module)
        if other in ROOMS and other != own:
            assert ROOMS.index(other) < ROOMS.index(own), f"{own} imports {other}"


def test_the_model_knows_nothing_of_the_lab():
    for path in Path("poolformer").rglob("*.py"):
        assert "ablations" not in {name.split(".")[0] for name in imports(path)}


def test_the_front_door_of_the_model():
    assert poolformer.__all__ == [
        "MODELS",
        "SIZES",
        "CheckpointError",
        "ConfigError",
        "MetaFormer",
        "MetaFormerConfig",
        "PoolformerError",
        "create",
        "load_checkpoint",
        "register_mixer",
    ]
    for name in poolformer.__all__:
        assert getattr(poolformer, name)
    with pytest.raises(AttributeError, match="no attribute 'Metaformer'"):
        _ = poolformer.Metaformer


def test_configs_are_read_without_torch():
    code = "import sys, poolformer, ablations.tables as _; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_registry_or_machine_is_named_in_the_lock_file():
    lines = Path("requirements.lock").read_text().splitlines()
    for line in lines:
        assert re.match(r"#|[\w.-]+==[\w.+!-]+( ; .*)?$", line), line
