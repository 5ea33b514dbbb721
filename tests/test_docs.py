"""The documentation names what exists: paths of files, and every name of the public API."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ablations

PAGES = [Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").rglob("*.md"))]
FOLDERS = "ablations|poolformer|tests|sweeps|slurm|scripts|docs|notebooks"
WRITTEN_BY_THE_BUILD = {f"docs/reference/{name}.md" for name in ("commands", "config", "recipes")}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_paths_that_a_page_names_exist(page):
    named = re.findall(rf"[`(]((?:{FOLDERS})/[\w./-]+)[`)]", page.read_text())
    missing = {name for name in named if not Path(name).exists()}
    assert not missing - WRITTEN_BY_THE_BUILD


def test_the_api_page_has_every_public_name():
    page = Path("docs/reference/api.md").read_text()
    listed = set(re.findall(r"^::: ablations\.(\w+)$", page, flags=re.MULTILINE))
    in_errors = {"PoolformerError"}  # shown with its module
    assert listed == set(ablations.__all__) - in_errors
