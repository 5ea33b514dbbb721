"""The hash of code follows what the code does, under a role that a move does not change."""

from __future__ import annotations

import pytest

from ablations.config.source_hash import source_hash
from ablations.training import code_hash
from ablations.training.code_hash import ROLES, changed_roles, current_hashes, is_outdated


@pytest.fixture
def hash_of(tmp_path):
    """``hash_of(text)``: the hash of a file with this text."""

    def make(text: str, hasher=code_hash._file_hash) -> str:
        (tmp_path / "f.py").write_text(text)
        return hasher(tmp_path / "f.py")

    return make


DOUBLE = 'def f(x):\n    """Twice."""\n    return 2 * x\n'


def test_comments_and_layout_do_not_change_the_hash(hash_of):
    assert hash_of(DOUBLE) == hash_of("# 2 times\ndef f(x):\n    return (2 * x)\n")


@pytest.mark.parametrize(
    "text", ["def f(x):\n    return 3 * x\n", "def f(y):\n    return 2 * y\n", ""]
)
def test_other_code_changes_the_hash(hash_of, text):
    assert hash_of(text) != hash_of(DOUBLE)


def test_moving_a_module_does_not_change_the_hash_of_its_importers(hash_of):
    old, new = (f"from {path} import x\n{DOUBLE}" for path in ("ablations.a", "poolformer.b.c"))
    assert hash_of(old) == hash_of(new) == hash_of(DOUBLE)
    assert hash_of(f"from torch import x\n{DOUBLE}") != hash_of(DOUBLE)


def test_the_hash_of_a_plugin_includes_all_imports(hash_of):
    text = f"from ablations.a import x\n{DOUBLE}"
    assert hash_of(text, source_hash) != hash_of(DOUBLE, source_hash)
    assert hash_of(DOUBLE, source_hash) == "ea9385e86a88"  # as in the records that exist


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_file(role):
    prefix = role.removesuffix("*")
    assert [name for name in current_hashes() if name.startswith(prefix)]


def test_hashes_of_paths_are_of_an_older_version():
    now = current_hashes()
    assert not is_outdated(now)
    assert not is_outdated({})
    assert is_outdated({"poolformer/mixers.py": "0" * 12})
    assert is_outdated(now | {"retired role": "0" * 12})
    assert changed_roles(now | {"mixers": "0" * 12}) == ["mixers"]
    assert changed_roles({}) == sorted(now)
