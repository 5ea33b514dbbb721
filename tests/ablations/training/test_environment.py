"""The environment in a record: the commit of the code."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ablations.training import environment


@pytest.fixture(autouse=True)
def fresh():
    environment._commit.cache_clear()
    yield
    environment._commit.cache_clear()


@pytest.mark.parametrize("user", [None, 12345])
def test_the_commit_of_a_checkout_of_any_owner(tmp_path, monkeypatch, user):
    if user and os.getuid():
        pytest.skip("only root gives files away")
    (tmp_path / "package").mkdir()
    file = shutil.copy(environment.__file__, tmp_path / "package")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    if user:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            os.chown(path, user, user)
    monkeypatch.setattr(environment, "__file__", file)
    monkeypatch.setenv("GIT_DIR", "/another/checkout")
    found = environment._commit()
    assert (len(found["commit"] or ""), found["dirty"]) == (40, False)


def test_an_installed_package_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "__file__", str(Path(tmp_path, "environment.py")))
    assert environment._commit() == {"commit": None, "dirty": None}
