"""The packages: which may import which, how deep the chains are, and what starts without torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import poolformer

# The map in CONTRIBUTING.md: each package imports only from packages above it.
PACKAGES = re.findall(
    r"^ {2}([\w/]+)(?:\.py|/) ", Path("CONTRIBUTING.md").read_text(), flags=re.MULTILINE
)
FILES = sorted([*Path("poolformer").rglob("*.py"), *Path("ablations").rglob("*.py")])
MAX_DEPTH = 12


def package_of(module: str) -> str:
    """``ablations.data.folder`` -> ``ablations/data``."""
    return "/".join(module.split(".")[:2])


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path) -> set[str]:
    """All modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{item.name}" for item in node.names)
        elif isinstance(node, ast.Import):
            found.update(item.name for item in node.names)
    return found


@cache
def package_graph() -> dict[str, set[str]]:
    """Package -> the packages that it imports."""
    graph: dict[str, set[str]] = {package: set() for package in PACKAGES}
    for path in FILES:
        own = package_of(module_name(path))
        if own in graph:  # not the public API in __init__.py
            imported = {package_of(module) for module in imported_modules(path)}
            graph[own] |= imported & graph.keys() - {own}
    return graph


@cache
def longest_chain(package: str) -> tuple[str, ...]:
    chains = [longest_chain(each) for each in package_graph()[package]]
    return (package, *max(chains, key=len, default=()))


def test_the_map_names_every_package():
    packages = {package_of(module_name(path)) for path in FILES}
    assert packages - {"ablations", "poolformer"} == set(PACKAGES)


def test_imports_go_one_way():
    upward = [
        f"{package} imports {imported}"
        for package, others in package_graph().items()
        for imported in others
        if PACKAGES.index(imported) > PACKAGES.index(package)
    ]
    assert not upward


def test_chains_of_imports_are_short():
    chain = max(map(longest_chain, PACKAGES), key=len)
    print(len(chain), "levels:", " -> ".join(chain))
    assert len(chain) <= MAX_DEPTH, chain


def test_poolformer_does_not_import_ablations():
    for path in Path("poolformer").rglob("*.py"):
        assert "ablations" not in {name.split(".")[0] for name in imported_modules(path)}, path


def test_no_module_is_named_like_one_of_the_standard_library():
    names = {path: module_name(path).split(".")[-1] for path in FILES}
    assert not [path for path, name in names.items() if name in sys.stdlib_module_names]


def test_tests_import_helpers_from_factories_only():
    for path in Path("tests").rglob("*.py"):
        for module in imported_modules(path):
            names = module.split(".")
            assert names[0] != "tests" or not any(n.startswith("test_") for n in names), path


def test_the_public_api_of_poolformer():
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


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("ablations", {"torch", "pandas"}),
        ("poolformer", {"torch", "pandas"}),
        ("ablations.tables", {"torch"}),
    ],
)
def test_imports_are_light(module, heavy):
    """In a process of its own, because this one may have imported anything."""
    code = f"import sys, {module}; print(*{heavy} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_the_lock_file_has_versions_and_nothing_else():
    lines = Path("requirements.lock").read_text().splitlines()
    for line in lines:
        assert re.match(r"#|[\w.-]+==[\w.+!-]+( ; .*)?$", line), line
